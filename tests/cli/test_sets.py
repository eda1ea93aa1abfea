"""Import, export and verify on the command line."""

import json
from pathlib import Path

import pytest

from annotator.bootstrap import Toolbox
from annotator.core.config import Settings
from tests.factories import grey_png, make_dataset
from tests.installation import Installation


@pytest.fixture
def pictures(installation: Installation, tmp_path: Path) -> Path:
    tools = Toolbox(Settings.load(installation.environ))
    with tools.transaction() as session:
        make_dataset(session, name="Pilot", votes_per_face=2)
    tools.engine.dispose()
    folder = tmp_path / "faces"
    folder.mkdir()
    people = ["file,code,purposes,expression,expires"]
    votes = ["file,vote_1,vote_2"]
    granted = "store label train export_pseudonymised"
    for number in range(40):
        (folder / f"{number}.png").write_bytes(grey_png(number, side=48))
        people.append(f"{number}.png,F-{number},{granted},imported,2029-01-01")
        label = "neutral" if number % 2 else "happiness"
        votes.append(f"{number}.png,{label},{label}")
    (folder / "notes.txt").write_text("passed over")
    (tmp_path / "people.csv").write_text("\n".join(people))
    (tmp_path / "votes.csv").write_text("\n".join(votes))
    return folder


def tables(pictures: Path) -> list[str]:
    parent = pictures.parent
    return ["--subjects", f"{parent}/people.csv", "--votes", f"{parent}/votes.csv", "--cropped"]


def test_in_and_out_and_checked(installation: Installation, pictures: Path) -> None:
    arguments = ["import", "Pilot", str(pictures), *tables(pictures), "--json"]
    dry = json.loads(installation.run(*arguments, "--dry-run").stdout)
    assert (dry["dry_run"], dry["pictures"], dry["people"], dry["votes"]) == (True, 40, 40, 0)
    first = json.loads(installation.run(*arguments).stdout)
    assert (first["pictures"], first["people"], first["votes"], first["refused"]) == (40, 40, 80, 0)
    second = json.loads(installation.run(*arguments).stdout)
    assert (second["pictures"], second["people"], second["votes"]) == (40, 0, 0)

    out = pictures.parent / "out"
    told = json.loads(installation.run("export", "Pilot", out, "--json").stdout)
    assert told["out"] == str(out)
    assert json.loads(installation.run("verify", out, "--json").stdout)["ok"]
    again = installation.run("export", "Pilot", out, ok=False)
    assert (again.returncode, "not an empty folder" in again.stderr) == (1, True)

    picture = next((out / "images").rglob("*.png"))
    picture.write_bytes(picture.read_bytes() + b"x")
    broken = installation.run("verify", out, ok=False)
    assert broken.returncode == 1
    assert picture.name in broken.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["import", "Nope", "{faces}"], "no dataset 'Nope'"),
        (["import", "Pilot", "/nowhere"], "neither a folder nor a ZIP"),
        (["import", "Pilot", "{faces}"], "Whose picture is it"),
        (["export", "Pilot", "{out}"], "no faces in this dataset"),
        (["export", "Pilot", "{out}", "--tier", "T2"], "not available in this version"),
        (["export", "Pilot", "{out}", "--format", "parquet"], "not available in this version"),
        (["train", "99"], "no export '99'"),
        (["models", "promote", "nope"], "no model 'nope'"),
        (["models", "rollback"], "no earlier model"),
        (["predict", "Nope"], "no dataset 'Nope'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    installation: Installation, pictures: Path, arguments: list[str], sentence: str
) -> None:
    places = {"faces": str(pictures), "out": str(pictures.parent / "out")}
    done = installation.run(*(argument.format(**places) for argument in arguments), ok=False)
    assert done.returncode == 1
    assert sentence in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
