import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.core.errors import InvalidInput
from annotator.domain import imports
from annotator.imaging import sniff
from annotator.models import Annotation, AuditEntry, Dataset, Face, Image, Subject
from annotator.vault import create_vault
from tests.factories import grey_png, make_dataset, make_subject
from tests.fakes import FakeVault

HEADER = "code,name,purposes,expression,expires"
TERMS = "store label,ticked,2029-01-31"


class Sniffing:
    """As much of the imaging port as receiving needs."""

    sniff = staticmethod(sniff.sniff)


@pytest.fixture
def dataset(session: Session) -> Dataset:
    return make_dataset(session)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two people's folders, and something that is no picture."""
    root = tmp_path / "pictures"
    for number, name in enumerate(("P-1/a.png", "P-1/b.PNG", "P-2/c.png", "P-2/readme.txt")):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(grey_png(number))
    return root


@pytest.fixture
def packed(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "pictures.ZIP"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(folder.rglob("*")):
            archive.write(name, name.relative_to(folder).as_posix())
    return path


def table(*lines: str, header: str = HEADER) -> bytes:
    return "\n".join([header, *lines, ""]).encode()


def receive(
    session: Session, vault: Any, dataset: Dataset, source: imports.Source, plan: imports.Plan
) -> tuple[list[tuple[imports.Planned, Image]], list[imports.Refused]]:
    if plan.people:
        imports.record_people(session, vault=vault, dataset=dataset, rows=plan.people)
    return imports.receive_pictures(
        session,
        vault=vault,
        imaging=Sniffing(),  # type: ignore[arg-type]
        dataset=dataset,
        source=source,
        pictures=plan.pictures,
        cropped=True,
    )


def zip_of(path: Path, members: dict[str, bytes], pack: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", pack) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("kind", ["folder", "packed"])
def test_a_folder_and_a_zip_of_it_are_the_same(
    session: Session,
    vault: FakeVault,
    dataset: Dataset,
    request: pytest.FixtureRequest,
    kind: str,
) -> None:
    make_subject(session, vault, dataset, code="P-1")
    source = imports.Source(request.getfixturevalue(kind))
    plan = imports.plan_import(session, dataset=dataset, source=source)
    assert plan.pictures == [
        imports.Planned("P-1/a.png", "P-1"),
        imports.Planned("P-1/b.PNG", "P-1"),
    ]
    assert [refused.name for refused in plan.refused] == ["P-2/c.png"]
    assert "no person 'P-2'" in plan.refused[0].reason
    taken, refused = receive(session, vault, dataset, source, plan)
    assert [image.state for _, image in taken] == ["received"] * 2
    assert refused == []


def test_a_plan_changes_nothing(session: Session, dataset: Dataset, folder: Path) -> None:
    before = session.scalar(select(func.count(AuditEntry.id)))
    imports.plan_import(
        session,
        dataset=dataset,
        source=imports.Source(folder),
        subjects=table(f"P-1,Any Body,{TERMS}", f"P-2,,{TERMS}"),
    )
    assert session.scalars(select(Subject)).all() == []
    assert session.scalar(select(func.count(AuditEntry.id))) == before


def test_an_import_twice_is_one(
    session: Session, vault: FakeVault, dataset: Dataset, folder: Path
) -> None:
    people = table(f"P-1,Any Body,{TERMS}", f"P-2,,{TERMS}")
    votes = table("P-1/a.png,2,1", header="file,neutral,fear")
    images: list[list[int]] = []
    for _ in range(2):
        source = imports.Source(folder)
        plan = imports.plan_import(
            session, dataset=dataset, source=source, subjects=people, votes=votes
        )
        assert plan.refused == []
        taken, refused = receive(session, vault, dataset, source, plan)
        assert refused == []
        images.append([image.id for _, image in taken])
    assert images[0] == images[1]
    assert session.scalar(select(func.count(Image.id))) == 3
    assert session.scalar(select(func.count(Subject.id))) == 2


def test_a_pictures_folder_names_its_person_unless_the_table_does(
    session: Session, dataset: Dataset, folder: Path
) -> None:
    people = table(
        f"P-1,,{TERMS},P-2/c.png",
        "P-1,,,,,P-1/b.PNG",  # the second picture of the same person
        f"P-9,,{TERMS},",
        header=f"{HEADER},file",
    )
    plan = imports.plan_import(
        session, dataset=dataset, source=imports.Source(folder), subjects=people
    )
    assert [row.code for row in plan.people] == ["P-1", "P-9"]
    assert {picture.name: picture.code for picture in plan.pictures} == {
        "P-1/a.png": "P-1",
        "P-1/b.PNG": "P-1",
        "P-2/c.png": "P-1",
    }
    assert plan.refused == []


def test_a_picture_of_nobody_asks_whose_it_is(
    session: Session, dataset: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "loose.png").write_bytes(grey_png(1))
    plan = imports.plan_import(session, dataset=dataset, source=imports.Source(tmp_path))
    assert [refused.name for refused in plan.refused] == ["loose.png"]
    assert plan.refused[0].reason.startswith("Whose picture is it?")


def test_a_person_who_is_known_is_passed_over_and_lines_keep_their_numbers(
    session: Session, vault: FakeVault, dataset: Dataset, folder: Path
) -> None:
    make_subject(session, vault, dataset, code="P-1")
    people = table(
        f'P-1,"Any\nBody",{TERMS}',  # lines 2 and 3
        f"P-2,,{TERMS}",
        "P-3,,store,ticked,tomorrow",
    )
    plan = imports.plan_import(
        session, dataset=dataset, source=imports.Source(folder), subjects=people
    )
    assert [row.code for row in plan.people] == ["P-2"]
    assert [refused.name for refused in plan.refused] == ["line 5 (P-3)"]
    assert "'tomorrow'" in plan.refused[0].reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f",Any Body,{TERMS}", "code is missing"),
        (f"P-1,Body, Any,{TERMS}", "more or fewer cells"),
        ("P-1,Any Body", "more or fewer cells"),
        ("P-1,,store fly,ticked,2029-01-31", "no purpose 'fly'"),
        ("P-2,,store,ticked,2029-01-31", "twice in the table"),
    ],
)
def test_a_line_that_cannot_be_kept_is_refused(
    session: Session, dataset: Dataset, folder: Path, line: str, reason: str
) -> None:
    plan = imports.plan_import(
        session,
        dataset=dataset,
        source=imports.Source(folder),
        subjects=table(f"P-2,,{TERMS}", line, f"P-3,,{TERMS}"),
    )
    assert [row.code for row in plan.people] == ["P-2", "P-3"]
    refused = plan.refused[0]
    assert refused.name.startswith("line 3")
    assert reason in refused.reason


def test_the_names_of_columns_may_be_written_in_any_case(
    session: Session, dataset: Dataset, folder: Path
) -> None:
    people = "Code; Purposes;Expression;Expires\nP-1;store;ticked;2029-01-31\n"
    people += "P-2;store;ticked;2029-01-31\n"
    plan = imports.plan_import(
        session, dataset=dataset, source=imports.Source(folder), subjects=people.encode()
    )
    assert [row.code for row in plan.people] == ["P-1", "P-2"]


def test_a_file_cannot_be_two_peoples(session: Session, dataset: Dataset, folder: Path) -> None:
    people = table(f"P-1,,{TERMS},P-1/a.png", f"P-2,,{TERMS},P-1/a.png", header=f"{HEADER},file")
    with pytest.raises(InvalidInput, match="Line 3"):
        imports.plan_import(
            session, dataset=dataset, source=imports.Source(folder), subjects=people
        )


@pytest.mark.parametrize("data", [b"\xff\xfe", b"", b"code\nP-1\n", b'code,"a\rb\rc\n"', b"a\rb"])
def test_no_table_at_all(session: Session, dataset: Dataset, folder: Path, data: bytes) -> None:
    with pytest.raises(InvalidInput):
        imports.plan_import(session, dataset=dataset, source=imports.Source(folder), subjects=data)


def test_votes_are_read_in_both_forms() -> None:
    counts = table("a.png,2,0,1", "b.png,,1,", header="file,neutral,fear,not_a_face")
    assert imports.read_votes(counts) == {
        "a.png": ("neutral", "neutral", "not_a_face"),
        "b.png": ("fear",),
    }
    single = table("a.png;neutral;;fear", header="file;vote_1;vote_2;vote_3")
    assert imports.read_votes(single) == {"a.png": ("neutral", "", "fear")}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (table("a.png,1", header="picture,neutral"), "needs a column 'file'"),
        (table("a.png,1", header="file,joy"), "needs a column 'file'"),
        (table("a.png,1", "b.png,-1", header="file,neutral"), "Line 3 .*'neutral'.* whole number"),
        (table("a.png,1", "b.png,11", header="file,neutral"), "Line 3"),
        (table("a.png,9999999999", header="file,neutral"), "Line 2"),
        (table("a.png,neutral", "b.png,joy", header="file,vote_1"), "Line 3"),
        (b"\xff\xfe", "not UTF-8"),
        (b"", "needs a column 'file'"),
        (b"file,vote_1\na.png,neutral\nb\rc,fear\n", "Line 3"),
        (b'file,vote_1\na.png,"' + b"n" * 200_000 + b'"\n', "Line 2"),
    ],
)
def test_a_bad_table_of_votes_is_refused_by_its_line(data: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        imports.read_votes(data)


def test_votes_find_their_faces_once(
    session: Session, vault: FakeVault, dataset: Dataset, folder: Path
) -> None:
    make_subject(session, vault, dataset, code="P-1")
    source = imports.Source(folder)
    votes = table("P-1/a.png,2,1", header="file,neutral,fear")
    plan = imports.plan_import(session, dataset=dataset, source=source, votes=votes)
    taken, _ = receive(session, vault, dataset, source, plan)
    pairs = [(image.id, planned.votes) for planned, image in taken]
    assert imports.record_votes(session, dataset=dataset, votes=pairs) == 0  # no face yet
    image = taken[0][1]
    face = Face(
        dataset_id=dataset.id,
        subject_id=image.subject_id,
        image_id=image.id,
        box=[0, 0, 8, 8],
        crop_blob="0" * 32,
    )
    session.add(face)
    session.flush()
    assert imports.record_votes(session, dataset=dataset, votes=pairs) == 3
    assert imports.record_votes(session, dataset=dataset, votes=pairs) == 0
    assert sorted(session.scalars(select(Annotation.label))) == ["fear", "neutral", "neutral"]


def test_a_bad_picture_and_a_missing_consent_stop_no_other(
    session: Session, vault: FakeVault, dataset: Dataset, folder: Path
) -> None:
    make_subject(session, vault, dataset, code="P-1")
    make_subject(session, vault, dataset, code="P-2", purposes=["label"])
    (folder / "P-1" / "a.png").write_bytes(b"GIF89a")
    source = imports.Source(folder)
    plan = imports.plan_import(session, dataset=dataset, source=source)
    taken, refused = receive(session, vault, dataset, source, plan)
    assert [planned.name for planned, _ in taken] == ["P-1/b.PNG"]
    assert [item.name for item in refused] == ["P-1/a.png", "P-2/c.png"]
    assert "a GIF" in refused[0].reason
    assert "does not agree to keeping their pictures" in refused[1].reason


def test_a_picture_that_is_gone_by_then_is_refused(
    session: Session, vault: FakeVault, dataset: Dataset, folder: Path
) -> None:
    make_subject(session, vault, dataset, code="P-1")
    source = imports.Source(folder)
    plan = imports.plan_import(session, dataset=dataset, source=source)
    (folder / "P-1" / "a.png").unlink()
    taken, refused = receive(session, vault, dataset, source, plan)
    assert len(taken) == 1
    assert refused[0].reason == "The file cannot be read."


def test_links_are_passed_over(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(grey_png(9))
    (folder / "P-1" / "link.png").symlink_to(outside / "secret.png")
    (folder / "P-3").symlink_to(outside, target_is_directory=True)
    os.mkfifo(folder / "P-1" / "pipe.png")
    names = list(imports.Source(folder).names())
    assert names == ["P-1/a.png", "P-1/b.PNG", "P-2/c.png", "P-2/readme.txt"]


def test_what_is_neither_folder_nor_zip(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_bytes(b"no archive")
    (tmp_path / "a.tar").write_bytes(b"")
    for name in ("text.zip", "a.tar", "missing.zip"):
        with pytest.raises(InvalidInput):
            imports.Source(tmp_path / name)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    source = imports.Source(zip_of(tmp_path / "bomb.zip", {"P-1/a.png": bytes(10**6)}))
    with pytest.raises(InvalidInput, match="bomb"):
        source.read("P-1/a.png")


def test_a_large_file_is_not_read(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = zip_of(tmp_path / "large.zip", {"a.png": grey_png(1)}, zipfile.ZIP_STORED)
    monkeypatch.setattr(imports, "MOST_BYTES", 20)
    with pytest.raises(InvalidInput, match="too large"):
        imports.Source(packed).read("a.png")
    with pytest.raises(InvalidInput, match="larger"):
        imports.Source(folder).read("P-1/a.png")


def test_a_zip_that_lies_about_its_sizes_is_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "lie.zip", {"a.png": os.urandom(5000)})
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = (100).to_bytes(4, "little")  # the size after unpacking
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match="damaged"):
        imports.Source(path).read("a.png")


def test_a_password_is_told(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "locked.zip", {"a.png": grey_png(1)})
    data = bytearray(path.read_bytes())
    for magic, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + flags] |= 1
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match="password"):
        imports.Source(path).read("a.png")


@pytest.mark.parametrize(
    "pack", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
@pytest.mark.parametrize("cut", [0, 60, 600])
def test_a_damaged_member_is_told(tmp_path: Path, pack: int, cut: int) -> None:
    text = " ".join(str(number * 7919 % 10_007) for number in range(2000)).encode()
    path = zip_of(tmp_path / "damaged.zip", {"a.png": text}, pack)
    data = bytearray(path.read_bytes())
    start = 30 + len("a.png") + cut
    data[start : start + 12] = bytes(byte ^ 0xFF for byte in data[start : start + 12])
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match="damaged"):
        imports.Source(path).read("a.png")


def test_every_cut_of_a_zip_is_told(packed: Path, tmp_path: Path) -> None:
    data = packed.read_bytes()
    cut = tmp_path / "cut.zip"
    for size in range(0, len(data), 7):
        cut.write_bytes(data[:size])
        with pytest.raises(InvalidInput):
            imports.Source(cut)


def test_a_name_that_is_not_text_is_told(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "name.zip", {"ä.png": grey_png(1)})
    path.write_bytes(path.read_bytes().replace("ä".encode(), b"\xff\xff"))
    with pytest.raises(InvalidInput, match="not a ZIP file that can be read"):
        imports.Source(path)


def test_names_that_would_leave_the_folder_write_nothing(
    session: Session, vault: FakeVault, dataset: Dataset, tmp_path: Path
) -> None:
    names = ["../../P-1/a.png", "/P-1/b.png", "P-1/\x1b[2Jc.png", "P-1/..\\d.png"]
    inside = tmp_path / "inside"
    inside.mkdir()
    path = zip_of(
        inside / "hostile.zip", {name: grey_png(number) for number, name in enumerate(names)}
    )
    make_subject(session, vault, dataset, code="P-1")
    source = imports.Source(path)
    plan = imports.plan_import(session, dataset=dataset, source=source)
    before = sorted(tmp_path.rglob("*"))
    taken, refused = receive(session, vault, dataset, source, plan)
    assert (len(taken), refused) == (4, [])
    assert sorted(tmp_path.rglob("*")) == before


def test_a_name_in_another_encoding_is_taken(
    session: Session, dataset: Dataset, tmp_path: Path
) -> None:
    vault, _ = create_vault(tmp_path / "vault", key_file=tmp_path / "unlock.key")
    make_subject(session, vault, dataset, code="P-1")
    folder = tmp_path / "old"
    (folder / "P-1").mkdir(parents=True)
    Path(os.fsdecode(os.fsencode(folder / "P-1") + b"/caf\xe9.png")).write_bytes(grey_png(1))
    source = imports.Source(folder)
    plan = imports.plan_import(session, dataset=dataset, source=source)
    taken, refused = receive(session, vault, dataset, source, plan)
    assert (len(taken), refused) == (1, [])


def test_one_import_has_an_end(
    session: Session, dataset: Dataset, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "MOST_FILES", 3)
    with pytest.raises(InvalidInput, match="split this one"):
        imports.plan_import(session, dataset=dataset, source=imports.Source(folder))


def test_what_failed_is_listed(
    session: Session, vault: FakeVault, dataset: Dataset, folder: Path
) -> None:
    make_subject(session, vault, dataset, code="P-1")
    source = imports.Source(folder)
    plan = imports.plan_import(session, dataset=dataset, source=source)
    images = [image for _, image in receive(session, vault, dataset, source, plan)[0]]
    for image in images:
        image.state = "failed"
    session.flush()
    assert imports.list_failed(session, images=[images[1].id]) == [images[1]]
