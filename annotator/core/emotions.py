"""The emotions: the eight of FER+ (Barsoum et al., ICMI 2016) and two labels that are no emotion.

The order is FER+'s and is the order of every vote vector, probability vector and CSV column.
Every emotion has a name, a key, a letter and a shape, so that colour never stands alone.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Emotion:
    """One label.

    Attributes:
        name: the stable name, used in files, in the API and in the database.
        key: the key that gives it in focus mode.
        letter: a second key, the same for every keyboard that has Latin letters.
        shape: the id of its symbol in ``static/img/shapes.svg``.
    """

    name: str
    key: str
    letter: str
    shape: str


EMOTIONS: tuple[Emotion, ...] = (
    Emotion("neutral", "1", "n", "circle"),
    Emotion("happiness", "2", "h", "triangle-up"),
    Emotion("surprise", "3", "r", "diamond"),
    Emotion("sadness", "4", "d", "triangle-down"),
    Emotion("anger", "5", "a", "square"),
    Emotion("disgust", "6", "g", "hexagon"),
    Emotion("fear", "7", "e", "star"),
    Emotion("contempt", "8", "c", "cross"),
)
UNKNOWN = Emotion("unknown", "0", "o", "question")
NOT_A_FACE = Emotion("not_a_face", "x", "x", "slash")

LABELS: tuple[Emotion, ...] = (*EMOTIONS, UNKNOWN, NOT_A_FACE)
EMOTION_NAMES: tuple[str, ...] = tuple(emotion.name for emotion in EMOTIONS)
LABEL_NAMES: tuple[str, ...] = tuple(label.name for label in LABELS)
