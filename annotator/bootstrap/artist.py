"""The artist port, filled: draws with OpenCV from averaged faces."""

from collections.abc import Sequence

from annotator.domain.ports import Detection, Imaging


class DrawingArtist:
    """See ``annotator.domain.ports.Artist``."""

    def __init__(self, imaging: Imaging) -> None:
        self._imaging = imaging

    @property
    def people(self) -> int:
        """How many people can be drawn."""
        from annotator.imaging import scenes  # noqa: PLC0415

        return scenes.count_people()

    def emotions_of(self, person: int) -> Sequence[str]:
        """The emotions that a person can show."""
        from annotator.imaging import scenes  # noqa: PLC0415

        return scenes.list_emotions(person)

    def draw_crop(self, person: int, emotion: str, *, seed: int) -> bytes:
        """The face alone, in the frame that the classifier knows."""
        from annotator.imaging import scenes  # noqa: PLC0415

        pixels, boxes = scenes.draw_scene([(person, emotion)], seed=seed, size=scenes.PORTRAIT)
        face = Detection(boxes[0], (), 1.0)
        return self._imaging.encode(self._imaging.crop(pixels, face))

    def draw_portrait(self, person: int, emotion: str, *, seed: int) -> bytes:
        """One person, as a photographer would show them."""
        from annotator.imaging import scenes  # noqa: PLC0415

        return self._imaging.encode(scenes.draw_portrait(person, emotion, seed=seed))

    def draw_scene(self, people: Sequence[tuple[int, str]], *, seed: int) -> bytes:
        """Several people."""
        from annotator.imaging import scenes  # noqa: PLC0415

        pixels, _ = scenes.draw_scene(people, seed=seed)
        return self._imaging.encode(pixels)
