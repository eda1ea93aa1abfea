import os
from pathlib import Path

import numpy as np
import pytest

from annotator.core.errors import InvalidInput
from annotator.imaging.detectors import DETECTORS, CenterFace, Haar, YuNet, open_detector
from annotator.imaging.faces import detect_faces
from annotator.imaging.passes import scale_to
from annotator.imaging.redaction import overlap
from annotator.imaging.scenes import draw_portrait

PORTRAIT = draw_portrait(7, "happiness", seed=3)
YUNET = os.environ.get("ANNOTATOR_TEST_YUNET")


def test_centerface_is_the_default_and_answers_for_both_purposes() -> None:
    detector = open_detector()
    assert isinstance(detector, CenterFace)
    assert open_detector("haar") is open_detector("haar")
    assert detector.private
    (face,) = detector.detect(PORTRAIT, "subject")
    assert face == detect_faces(PORTRAIT)[0]
    assert len(face.landmarks) == 5


def test_haar_finds_a_frontal_face_and_tells_no_landmarks() -> None:
    faces = open_detector("haar").detect(PORTRAIT, "subject")
    expected = detect_faces(PORTRAIT)[0].box
    assert max(overlap(face.box, expected) for face in faces) > 0.4
    assert all(face.landmarks == () for face in faces)
    assert all(0 <= face.score <= 1 for face in faces)
    assert Haar().detect(np.full((90, 90, 3), 9, np.uint8), "subject") == []


def test_haar_never_says_what_is_covered() -> None:
    detector = open_detector("haar")
    assert not detector.private
    with pytest.raises(InvalidInput, match="misses too many faces"):
        detector.detect(PORTRAIT, "redaction")


@pytest.mark.parametrize(
    ("name", "weights", "sentence"),
    [
        ("yunet", None, "needs the path"),
        ("yunet", Path("/nowhere/yunet.onnx"), "cannot be read"),
        ("haar", Path("/nowhere/haar.xml"), "brings its own"),
        ("mtcnn", None, "centerface, haar, yunet"),
    ],
)
def test_a_wrong_choice_is_a_sentence(name: str, weights: Path | None, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        open_detector(name, weights)


@pytest.mark.parametrize("content", [b"", b"no network", bytes(4096)])
def test_a_file_without_a_detector_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "yunet.onnx"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"The file yunet\.onnx holds no YuNet"):
        YuNet(path)


@pytest.mark.skipif(not YUNET, reason="ANNOTATOR_TEST_YUNET names no file of YuNet")
@pytest.mark.parametrize("ratio", [0.4, 1.0, 2.1])
def test_yunet_finds_the_face_with_its_landmarks(ratio: float) -> None:
    assert YUNET is not None
    picture = scale_to(PORTRAIT, ratio)
    face = open_detector("yunet", Path(YUNET)).detect(picture, "redaction")[0]
    expected = detect_faces(picture)[0]
    assert overlap(face.box, expected.box) > 0.4
    errors = np.hypot(*(np.array(face.landmarks) - np.array(expected.landmarks)).T)
    assert errors.max() < expected.box[3] * 0.2


def test_every_detector_has_a_name_and_a_port() -> None:
    assert DETECTORS == ("centerface", "haar", "yunet")
