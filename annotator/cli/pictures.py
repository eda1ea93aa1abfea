"""What the instruments see in pictures, without an installation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click

from annotator.bootstrap.imaging import LazyImaging
from annotator.bootstrap.learning import LazyLearning
from annotator.cli.tools import answer, open_settings, open_tools, tell
from annotator.core.emotions import EMOTION_NAMES
from annotator.core.errors import AnnotatorError
from annotator.domain import consent, prediction, training
from annotator.domain.ports import Detection, Pixels

NO_CONTEXT = (
    "No installation says what these pictures are for. At work and in education the European "
    "Union forbids inferring emotions (AI Act, Article 5(1)(f)), and people must be told of it."
)
paths_argument = click.argument(
    "paths", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
detector_option = click.option(
    "--detector",
    type=click.Choice(["centerface", "haar", "yunet"]),
    default="centerface",
    help="Haar is for comparison only and never decides what is covered.",
)
weights_option = click.option(
    "--weights",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YuNet's ONNX file, which you supply.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


@click.command()
@paths_argument
@detector_option
@weights_option
@click.option("--careful", is_flag=True, help="As for redaction: everything that may be a face.")
@json_option
def faces(
    paths: tuple[Path, ...],
    *,
    detector: str,
    weights: Path | None,
    careful: bool,
    as_json: bool,
) -> int:
    """Finds the faces in pictures."""
    imaging = LazyImaging(detector, weights)
    purpose: Literal["subject", "redaction"] = "redaction" if careful else "subject"

    def look(path: Path, pixels: Pixels) -> None:
        found = [
            {
                "box": _round(face.box),
                "landmarks": [_round(point) for point in face.landmarks],
                "score": round(face.score, 4),
                "quality": _round_all(imaging.describe(pixels, face)),
            }
            for face in imaging.detect(pixels, purpose)
        ]
        counted = "1 face" if len(found) == 1 else f"{len(found)} faces"
        answer({"file": str(path), "faces": found}, as_json=as_json, text=f"{path}: {counted}")

    return _each(imaging, paths, look)


@click.command()
@paths_argument
@click.option("--cropped", is_flag=True, help="Each picture is a face crop already.")
@click.option("--model", help="A model of this installation; the bundled one when omitted.")
@json_option
def classify(paths: tuple[Path, ...], *, cropped: bool, model: str | None, as_json: bool) -> int:
    """Says which emotion the model sees on each face.

    Refused where the installation is used at work or in education. Without an installation nobody
    has said what the pictures are for, so the law is told on stderr.
    """
    _ask_context()
    imaging = LazyImaging()
    learning = LazyLearning(imaging)
    weights = _weights(model) if model else None

    def look(path: Path, pixels: Pixels) -> None:
        width, height = imaging.size(pixels)
        whole = Detection((0.0, 0.0, float(width), float(height)), (), 1.0)
        found = [whole] if cropped else imaging.detect(pixels, "subject")
        crops = [imaging.encode(pixels if cropped else imaging.crop(pixels, f)) for f in found]
        for face, guess in zip(found, learning.guess(weights, crops), strict=True):
            row = {
                "file": str(path),
                "box": _round(face.box),
                "label": guess.label,
                "probabilities": dict(zip(EMOTION_NAMES, guess.probabilities, strict=True)),
                "model": model or prediction.BUNDLED,
            }
            text = f"{path}: {guess.label} {guess.probability:.2f}"
            answer(row, as_json=as_json, text=text)

    return _each(imaging, paths, look)


@click.command()
@click.argument("image", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--keep", required=True, help="Box of the face that stays: X,Y,W,H in pixels.")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path))
@detector_option
@weights_option
def redact(image: Path, keep: str, out: Path, *, detector: str, weights: Path | None) -> None:
    """Covers everything in IMAGE but one face, as intake would store it."""
    imaging = LazyImaging(detector, weights)
    try:
        x, y, width, height = (float(part) for part in keep.split(","))
    except ValueError as error:
        raise click.BadParameter("four numbers: X,Y,W,H.", param_hint="--keep") from error
    pixels = imaging.decode(imaging.read(image))
    others = [face.box for face in imaging.detect(pixels, "redaction")]
    out.write_bytes(imaging.encode(imaging.redact(pixels, (x, y, width, height), others)))
    tell(f"{out} shows the one face and covers everything else.")


def _each(
    imaging: LazyImaging, paths: tuple[Path, ...], look: Callable[[Path, Pixels], None]
) -> int:
    """One bad picture stops no other; the exit code tells."""
    failed = 0
    for path in paths:
        try:
            look(path, imaging.decode(imaging.read(path)))
        except AnnotatorError as error:
            failed = 1
            tell(f"{path}: {error.message}")
    return failed


def _ask_context() -> None:
    """Asks the installation in the data folder, if there is one, whether a model may look.

    Raises:
        Conflict: it is used where inferring emotions is forbidden.
    """
    if not (open_settings().data / "keys").is_dir():
        tell(NO_CONTEXT)
        return
    with open_tools().sessions() as session:
        consent.require_inference(session)


def _weights(name: str) -> bytes | None:
    tools = open_tools()
    with tools.sessions() as session:
        blob = training.find_model(session, name=name).sealed_blob
    return prediction.open_weights(tools.vault, blob)


def _round(values: Any) -> list[float]:
    return [round(float(value), 1) for value in values]


def _round_all(figures: Any) -> Any:
    """Rounds every number of a small tree of figures."""
    if isinstance(figures, dict):
        return {name: _round_all(figure) for name, figure in figures.items()}
    return round(figures, 3) if isinstance(figures, float) else figures


COMMANDS = (faces, classify, redact)
