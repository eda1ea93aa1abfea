"""What works on pictures alone, without an installation."""

import json
import tracemalloc
from pathlib import Path

import pytest

from annotator.bootstrap.artist import DrawingArtist
from annotator.bootstrap.imaging import LazyImaging
from annotator.cli import main
from annotator.core.emotions import EMOTION_NAMES


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "portrait.png"
    path.write_bytes(DrawingArtist(LazyImaging()).draw_portrait(0, "happiness", seed=1))
    return path


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_faces_tells_boxes_landmarks_and_scores(
    portrait: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["faces", str(portrait), "--json"]) == 0
    (row,) = lines(capsys.readouterr().out)
    assert row["file"] == str(portrait)
    (face,) = row["faces"]  # type: ignore[misc]
    assert len(face["box"]) == 4
    assert len(face["landmarks"]) == 5
    assert 0 < face["score"] <= 1
    assert set(face["quality"]) == {"size", "blur", "exposure", "contrast", "pose"}
    assert abs(face["quality"]["pose"]["roll"]) < 10


def test_classify_tells_eight_probabilities(
    portrait: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["classify", str(portrait), "--json"]) == 0
    (row,) = lines(capsys.readouterr().out)
    assert row["label"] == "happiness"
    probabilities = row["probabilities"]
    assert isinstance(probabilities, dict)
    assert tuple(probabilities) == EMOTION_NAMES
    assert sum(probabilities.values()) == pytest.approx(1, abs=0.01)
    assert row["model"] == "bundled"


def test_classify_takes_a_cropped_picture_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crop = tmp_path / "crop.png"
    crop.write_bytes(DrawingArtist(LazyImaging()).draw_crop(3, "surprise", seed=1))
    assert main(["classify", str(crop), "--cropped", "--json"]) == 0
    (row,) = lines(capsys.readouterr().out)
    assert row["box"] == [0, 0, 224, 224]


def test_redact_covers_everything_but_the_face(portrait: Path, tmp_path: Path) -> None:
    imaging = LazyImaging()
    x, y, width, height = imaging.detect(imaging.decode(portrait.read_bytes()), "subject")[0].box
    out = tmp_path / "out.png"
    keep = f"{x},{y},{width},{height}"
    assert main(["redact", str(portrait), "--keep", keep, "--out", str(out)]) == 0
    pixels = imaging.decode(out.read_bytes())
    assert (pixels[:5] == 128).all()
    middle = pixels[int(y + height / 2), int(x + width / 2)]
    assert (middle != 128).any()


@pytest.mark.parametrize("keep", ["1,2,3", "a,b,c,d", ""])
def test_redact_wants_four_numbers(
    portrait: Path, tmp_path: Path, keep: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["redact", str(portrait), "--keep", keep, "--out", str(tmp_path / "o.png")])
    assert code == 2
    assert "four numbers" in capsys.readouterr().err


def test_one_bad_picture_stops_no_other(
    portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("<html>")
    assert main(["faces", str(bad), str(portrait), "--json"]) == 1
    captured = capsys.readouterr()
    assert len(lines(captured.out)) == 1
    assert str(bad) in captured.err


def test_a_missing_file_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faces", "/nowhere.png"]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for name in ("demo", "init", "run", "import", "export", "verify", "train", "models"):
        assert name in out


def test_careful_finds_at_least_the_same_face(
    portrait: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["faces", str(portrait), "--careful", "--json"]) == 0
    (row,) = lines(capsys.readouterr().out)
    assert row["faces"]


def test_the_detector_can_be_chosen(portrait: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faces", str(portrait), "--detector", "haar", "--json"]) == 0
    (row,) = lines(capsys.readouterr().out)
    faces = row["faces"]
    assert isinstance(faces, list)
    assert faces
    assert all(face["landmarks"] == [] and face["quality"]["pose"] is None for face in faces)


def test_haar_may_not_decide_what_is_covered(
    portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.png"
    command = ["redact", str(portrait), "--keep", "1,1,9,9", "--out", str(out)]
    assert main([*command, "--detector", "haar"]) == 1
    assert "misses too many faces" in capsys.readouterr().err
    assert not out.exists()


def test_yunet_wants_its_file(
    portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["faces", str(portrait), "--detector", "yunet"]) == 1
    assert "needs the path of its weights" in capsys.readouterr().err
    wrong = tmp_path / "yunet.onnx"
    wrong.write_bytes(b"no network")
    command = ["faces", str(portrait), "--detector", "yunet", "--weights", str(wrong)]
    assert main(command) == 1
    assert "holds no YuNet" in capsys.readouterr().err


@pytest.mark.parametrize("head", [b"", b"\xff\xd8\xff\xe0"])
def test_a_sparse_file_of_four_gigabytes_is_refused_before_it_is_read(
    head: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sparse = tmp_path / "large.jpg"
    with sparse.open("wb") as file:
        file.write(head)
        file.truncate(4 << 30)
    tracemalloc.start()
    assert main(["faces", str(sparse)]) == 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200 << 20
    assert ("larger than 64 MiB" if head else "no picture") in capsys.readouterr().err
