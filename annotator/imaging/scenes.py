"""Draw portraits and scenes of people who do not exist, for the demo and for tests.

The faces are the averages of ``annotator.imaging.averages``, so nobody's; all else is drawn.
Everything follows from the person's number, the emotion and the seed.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from annotator.core.errors import InvalidInput
from annotator.imaging.decode import UInt8Array
from annotator.imaging.faces import Box
from annotator.imaging.figures import Colour, Floats, Pose, load_people, paint

PORTRAIT = (640, 800)
"""Width and height of a portrait, in pixels."""

MOST_PEOPLE = 8
"""The most people in one scene."""

_WALLS: tuple[Colour, ...] = (
    (206, 212, 214),
    (214, 204, 190),
    (188, 202, 196),
    (196, 190, 206),
    (150, 168, 182),
    (222, 214, 202),
    (168, 160, 152),
)
_PER_ROW = 4
# The detector's box in a face's frame.
_BOX_WIDTH, _BOX_HEIGHT, _BOX_DROP = 0.77, 0.94, 0.03


def list_emotions(person: int) -> tuple[str, ...]:
    """List the emotions that a person has a face for, in the order of ``EMOTION_NAMES``."""
    return tuple(load_people()[person].faces)


def count_people() -> int:
    """Count the invented people; their numbers start at 0."""
    return len(load_people())


def draw_portrait(person: int, emotion: str, *, seed: int) -> UInt8Array:
    """Draw one person before a plain wall.

    Args:
        person: 0 to ``count_people()`` - 1.
        emotion: one of ``list_emotions(person)``.
        seed: varies the place, the turn, the light and the wall.

    Returns:
        uint8 (800, 640, 3) RGB.

    Raises:
        NotFound: there is no such person, or no such face of them.
    """
    rng = np.random.default_rng([seed, person, 1])
    width, height = PORTRAIT
    canvas = _draw_wall(width, height, rng)
    centre = (width * rng.uniform(0.46, 0.54), height * rng.uniform(0.40, 0.46))
    pose = Pose(centre, width * rng.uniform(0.48, 0.60), rng.uniform(-7, 7))
    paint(canvas, person, emotion, pose, rng)
    return _expose(canvas, rng)


def draw_scene(
    people: Sequence[tuple[int, str]], *, seed: int, size: tuple[int, int] = (1280, 960)
) -> tuple[UInt8Array, list[Box]]:
    """Draw several people in a room.

    Args:
        people: one to eight pairs of person and emotion.
        seed: varies the places, the light and the room.
        size: width and height, in pixels.

    Returns:
        uint8 (height, width, 3) RGB, and every face's box in the order of ``people``.

    Raises:
        InvalidInput: nobody, or too many.
        NotFound: there is no such person, or no such face of them.
    """
    if not 1 <= len(people) <= MOST_PEOPLE:
        raise InvalidInput(f"A scene holds one to {MOST_PEOPLE} people.")
    rng = np.random.default_rng([seed, len(people), 2])
    canvas = _draw_room(*size, rng)
    poses = _place(len(people), *size, rng)
    # Those further back are smaller and are painted first.
    for place in sorted(range(len(people)), key=lambda place: poses[place].centre[1]):
        paint(canvas, *people[place], poses[place], rng)
    return _expose(canvas, rng), [_outline(pose) for pose in poses]


def _place(count: int, width: int, height: int, rng: np.random.Generator) -> list[Pose]:
    """Place people in one row, or in two with those at the back between those in front."""
    back = 0 if count <= _PER_ROW else count // 2
    front = count - back
    side = min(height * (0.27 if back else 0.36), width / (front + 0.4) * 0.62)
    poses: list[Pose] = []
    for number, level, share in ((front, 0.58 if back else 0.42, 1.0), (back, 0.24, 0.88)):
        gap = width / (number + 0.4)
        for place in range(number):
            x = width / 2 + (place - (number - 1) / 2) * gap + rng.normal(0, gap * 0.03)
            y = height * level + rng.normal(0, side * 0.06)
            poses.append(Pose((x, y), side * share * rng.uniform(0.92, 1.05), rng.uniform(-8, 8)))
    return poses


def _outline(pose: Pose) -> Box:
    width, height = pose.side * _BOX_WIDTH, pose.side * _BOX_HEIGHT
    level = pose.centre[1] + pose.side * _BOX_DROP
    return pose.centre[0] - width / 2, level - height / 2, width, height


def _draw_wall(width: int, height: int, rng: np.random.Generator) -> Floats:
    """A wall that is lighter on one side, with soft uneven patches."""
    base = np.array(_WALLS[rng.integers(len(_WALLS))], np.float32)
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
    lean = rng.uniform(-0.08, 0.08, 2)
    patches = cv2.resize(
        rng.normal(0, 6, (6, 6)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    canvas = base * (1 + lean[0] * across + lean[1] * down) + patches[..., None]
    return np.ascontiguousarray(canvas, np.float32)


def _draw_room(width: int, height: int, rng: np.random.Generator) -> Floats:
    """A wall with a few framed panes, out of focus, and a darker floor."""
    canvas = _draw_wall(width, height, rng)
    for left in np.cumsum(rng.uniform(0.12, 0.34, 4)):
        pane = rng.uniform(0.08, 0.16) * width
        corner = (int(left * width - pane), int(height * rng.uniform(0.04, 0.14)))
        other = (int(left * width), int(height * rng.uniform(0.30, 0.5)))
        colour = (rng.uniform(130, 215) + rng.uniform(-25, 25, 3)).tolist()
        cv2.rectangle(canvas, corner, other, colour, cv2.FILLED)
        cv2.rectangle(canvas, corner, other, [rng.uniform(70, 110)] * 3, 9)
    floor = int(height * 0.78)
    canvas[floor:] *= 0.72
    return np.asarray(cv2.GaussianBlur(canvas, (0, 0), width / 160))


def _expose(canvas: Floats, rng: np.random.Generator) -> UInt8Array:
    """Take the picture: a little more or less light, and the grain of a camera."""
    noise = rng.standard_normal(canvas.shape[:2], np.float32)[..., None] * 2.0
    return np.asarray(np.clip(canvas * rng.uniform(0.92, 1.06) + noise, 0, 255), np.uint8)
