"""Paint one invented person into a picture: averaged face, drawn head, hair, neck and shoulders.

Shapes are functions of a frame that moves with the face: (0, 0) to (1, 1) is the square that the
averages fill, hairline to chin, and a picture may turn and scale it. So everything is painted at
the picture's own resolution, with soft edges, in one go.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from annotator.core.emotions import EMOTION_NAMES
from annotator.core.errors import NotFound
from annotator.imaging.decode import UInt8Array

Floats = npt.NDArray[np.float32]
Colour = tuple[float, float, float]

SKINS: tuple[Colour, ...] = (
    (238, 204, 184),
    (230, 190, 162),
    (217, 172, 140),
    (198, 150, 116),
    (176, 124, 92),
    (152, 104, 78),
)
HAIRS: tuple[Colour, ...] = (
    (38, 30, 28),
    (62, 44, 34),
    (96, 64, 42),
    (140, 100, 60),
    (186, 150, 98),
    (120, 60, 36),
    (128, 124, 122),
)
CLOTHES: tuple[Colour, ...] = (
    (64, 92, 128),
    (120, 62, 70),
    (74, 112, 92),
    (196, 186, 168),
    (58, 58, 66),
    (158, 122, 74),
    (110, 96, 140),
    (72, 128, 140),
)
# Where the paint of the average fades into the drawn head.
_FACE_RADII = (0.335, 0.47)
_LONG, _BOB, _SHORT = "long", "bob", "short"


class Pose(NamedTuple):
    """Where a figure stands in a picture.

    Attributes:
        centre: x and y of the middle of the face, in pixels.
        side: of the face's frame, in pixels.
        turn: degrees, clockwise.
    """

    centre: tuple[float, float]
    side: float
    turn: float


@dataclass(frozen=True, slots=True)
class Looks:
    """What a person always looks like.

    Attributes:
        faces: emotion to uint8 (side, side), grey.
        skin: RGB of the evenly lit skin.
        hair: RGB.
        style: "long", "bob" or "short".
        clothes: RGB.
        parting: where the hair parts, -1 to 1.
    """

    faces: Mapping[str, UInt8Array]
    skin: Colour
    hair: Colour
    style: str
    clothes: Colour
    parting: float


@cache
def load_people() -> tuple[Looks, ...]:
    """Load the invented people."""
    with (files("annotator.imaging") / "assets" / "faces.npz").open("rb") as stream:
        data = np.load(stream)
        faces, people, emotions = data["faces"], data["people"], data["emotions"]
    sides = [faces[people == person, 55:, :8].mean() for person in np.unique(people)]
    longish = np.argsort(np.argsort(sides)) < len(sides) / 2  # dark beside the chin: long hair
    return tuple(
        _invent(
            person,
            {EMOTION_NAMES[emotions[row]]: faces[row] for row in np.flatnonzero(people == person)},
            longish=bool(longish[person]),
        )
        for person in range(len(sides))
    )


def _invent(person: int, faces: Mapping[str, UInt8Array], *, longish: bool) -> Looks:
    rng = np.random.default_rng([person, 4])
    skin = rng.integers(len(SKINS))
    tint = rng.normal(0, 5, 3)
    # Very light hair on very dark skin and the like is rarer than chance would have it.
    hair = HAIRS[rng.integers(len(HAIRS) if skin < len(SKINS) // 2 else len(HAIRS) // 2)]
    red, green, blue = np.array(SKINS[skin]) + tint
    return Looks(
        faces=faces,
        skin=(red, green, blue),
        hair=hair,
        style=str(rng.choice([_LONG, _BOB])) if longish else _SHORT,
        clothes=CLOTHES[rng.integers(len(CLOTHES))],
        parting=float(rng.uniform(-1, 1)),
    )


def paint(canvas: Floats, person: int, emotion: str, pose: Pose, rng: np.random.Generator) -> None:
    """Paint a person into a picture, over what is there.

    Args:
        canvas: float32 (height, width, 3) RGB, 0 to 255; changed.
        person: an index into ``load_people()``.
        emotion: one of the person's.
        pose: where.
        rng: chooses the light.

    Raises:
        NotFound: there is no such person, or no such face of them.
    """
    people = load_people()
    if not 0 <= person < len(people) or emotion not in people[person].faces:
        raise NotFound("There is no drawn face for this person and emotion.")
    looks = people[person]
    body, head = _Brush(canvas, pose, 1.2, 4.0), _Brush(canvas, pose, 0.75, 1.25)
    _paint_hair_behind(head, looks)
    _paint_body(body, looks)
    _paint_head(head, looks, looks.faces[emotion], light=float(rng.uniform(-0.1, 0.1)))
    _paint_hair(head, looks)


class _Brush:
    """The part of a canvas around a person, seen in the coordinates of the face's frame.

    Args:
        canvas: the whole picture; ``lay`` changes it.
        pose: where the face is.
        aside: how far the part reaches to both sides and upwards from the face's middle, in frames.
        down: how far it reaches down, in frames.
    """

    def __init__(self, canvas: Floats, pose: Pose, aside: float, down: float) -> None:
        (middle, level), side = pose.centre, pose.side
        left, top = (max(0, int(place - aside * side)) for place in pose.centre)
        self.canvas = canvas[
            top : max(top, int(level + down * side)), left : max(left, int(middle + aside * side))
        ]
        height, width = self.canvas.shape[:2]
        right = np.arange(left, left + width, dtype=np.float32)[None] - np.float32(middle)
        below = np.arange(top, top + height, dtype=np.float32)[:, None] - np.float32(level)
        angle = math.radians(pose.turn)
        along, across = math.cos(angle) / side, math.sin(angle) / side
        self.x = np.asarray(along * right + across * below + 0.5, np.float32)
        self.y = np.asarray(along * below - across * right + 0.5, np.float32)

    def ellipse(self, centre: tuple[float, float], radii: tuple[float, float]) -> Floats:
        """Give the distance from the centre in radii: 1 on the ellipse."""
        return _measure((self.x - centre[0]) / radii[0], (self.y - centre[1]) / radii[1])

    def lay(self, colour: Floats, cover: Floats) -> None:
        """Lay a colour, (3,) or (height, width, 3), over the canvas where ``cover`` says so."""
        self.canvas += (colour - self.canvas) * cover[..., None]


def _measure(across: npt.NDArray[np.floating], down: npt.NDArray[np.floating]) -> Floats:
    return np.asarray(cv2.magnitude(across, down), np.float32)


def soften(distance: Floats, softness: float = 0.03, edge: float = 1.0) -> Floats:
    """Give 1 well inside an edge, 0 well outside, and a soft step between."""
    step = np.clip((edge - distance) / softness + 0.5, 0, 1)
    return np.asarray(step * step * (3 - 2 * step), np.float32)


def _colour_skin(light: Floats, skin: Colour) -> Floats:
    """Turn brightness (0 to 1) into skin: shadows are warm and dark, highlights pale."""
    base = np.array(skin)
    stops = np.stack([base * 0.14, base * (0.55, 0.48, 0.46), base, base * 0.45 + 140])
    stops = np.minimum(stops, 252)
    steps = np.linspace(0, 1, 512)
    channels = [np.interp(steps, (0.0, 0.3, 0.62, 1.0), channel) for channel in stops.T]
    table = np.stack(channels, axis=-1).astype(np.float32)
    return np.asarray(table[np.clip(light * 511, 0, 511).astype(np.intp)])


def _paint_body(brush: _Brush, looks: Looks) -> None:
    shade = 0.58 - 0.16 * soften(brush.ellipse((0.5, 0.86), (0.36, 0.30)), 0.5)
    neck = soften(np.abs(brush.x - 0.5) / (0.20 + 0.10 * np.clip(brush.y - 1.1, 0, 1)), 0.06)
    neck *= soften(np.abs(brush.y - 1.1), 0.04, 0.35)
    clothes = np.array(looks.clothes, np.float32) * (1.1 - 0.15 * np.minimum(brush.y, 3)[..., None])
    level: Floats = np.minimum(brush.y, 2.2).astype(np.float32)  # below, the arms go straight down
    shoulders = soften(_measure((brush.x - 0.5) / 0.98, (level - 2.2) / 1.02), 0.02)
    collar = soften(brush.ellipse((0.5, 1.17), (0.28, 0.15)), 0.08)
    brush.lay(_colour_skin(shade, looks.skin), np.maximum(neck, collar * shoulders))
    brush.lay(np.clip(clothes, 0, 255), shoulders * (1 - collar))


def _paint_head(brush: _Brush, looks: Looks, face: UInt8Array, *, light: float) -> None:
    if looks.style == _SHORT:
        for side in (0.07, 0.93):
            ear = soften(brush.ellipse((side, 0.50), (0.065, 0.12)), 0.15)
            brush.lay(_colour_skin(np.full_like(brush.x, 0.5), looks.skin), ear)
    distance = brush.ellipse((0.5, 0.49), (0.415, 0.545))
    brightness = _sample(_blend_out(face), brush)
    brightness *= 1 - 0.22 * np.clip(distance, 0, 1.1) ** 4
    brightness += light * (brush.x - 0.5)
    skin = _colour_skin(brightness, looks.skin)
    lips = soften(brush.ellipse((0.5, 0.765), (0.20, 0.09)), 0.8)
    skin *= 1 - lips[..., None] * np.array((-0.02, 0.10, 0.08), np.float32)
    brush.lay(np.clip(skin, 0, 255), soften(distance, 0.035))


def _blend_out(face: UInt8Array) -> Floats:
    """Fade the average into a smooth skin around it: float32, brightness 0 to 1."""
    side = len(face)
    rows, columns = (np.mgrid[0:side, 0:side].astype(np.float32) + 0.5) / side
    distance = np.hypot((columns - 0.5) / _FACE_RADII[0], (rows - 0.52) / _FACE_RADII[1])
    inner = soften(np.asarray(distance, np.float32), 0.30, 0.95)
    picture = face.astype(np.float32) / 255
    wide = (0, 0), side / 9
    # What is skin just inside the edge is carried outwards: weigh it, blur, divide by the weight.
    rim = inner * (distance > 0.5) * (picture > 0.35)  # noqa: PLR2004  (brows and eyes stay out)
    skin = (cv2.GaussianBlur(picture * rim, *wide) + 0.0055) / (
        cv2.GaussianBlur(rim.astype(np.float32), *wide) + 0.01
    )
    return np.asarray(picture * inner + skin * (1 - inner), np.float32)


def _sample(texture: Floats, brush: _Brush) -> Floats:
    side = len(texture)
    return np.asarray(
        cv2.remap(
            texture,
            brush.x * side - 0.5,
            brush.y * side - 0.5,
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )
    )


def _colour_hair(brush: _Brush, looks: Looks) -> Floats:
    """Streaks that run from the parting, and a sheen: (height, width, 3)."""
    root = 0.5 + 0.14 * looks.parting
    turns = cv2.phase(brush.x - root, brush.y - 0.05)
    steps = np.linspace(0, 2 * np.pi, 4096)
    table = sum(np.sin(steps * rate + rate * rate) / rate**0.5 for rate in (17, 31, 53, 89))
    waves = np.asarray(table, np.float32)[
        np.minimum(turns * (4096 / (2 * np.pi)), 4095).astype(int)
    ]
    sheen = np.exp(-(((brush.ellipse((root, 0.45), (0.5, 0.6)) - 0.86) / 0.10) ** 2))
    shade = 0.92 + 0.16 * waves + 0.22 * sheen
    colour = np.array(looks.hair, np.float32) * shade[..., None] + 10 * sheen[..., None]
    return np.asarray(np.clip(colour, 0, 255), np.float32)


def _paint_hair_behind(brush: _Brush, looks: Looks) -> None:
    if looks.style == _SHORT:
        cap = soften(brush.ellipse((0.5, 0.44), (0.445, 0.60)), 0.05) * soften(brush.y, 0.2, 0.45)
        brush.lay(_colour_hair(brush, looks) * 0.8, cap)
        return
    end = 1.35 if looks.style == _LONG else 0.90
    below = np.clip(brush.y - 0.44, 0, 1)
    sides = np.abs(brush.x - 0.5) / (
        0.505 + 0.07 * below - 0.3 * np.clip(brush.y - end + 0.3, 0, 1) ** 2
    )
    strands = soften(sides, 0.05) * soften(brush.y, 0.12, end) * (below > 0)
    cap = soften(brush.ellipse((0.5, 0.44), (0.505, 0.62)), 0.05)
    brush.lay(_colour_hair(brush, looks) * 0.8, np.maximum(strands, cap))


def _paint_hair(brush: _Brush, looks: Looks) -> None:
    """The cap of hair, open where the face is."""
    is_short = looks.style == _SHORT
    outer = soften(brush.ellipse((0.5, 0.41), (0.455 if is_short else 0.50, 0.57)), 0.06)
    middle = 0.5 + 0.07 * looks.parting
    opening = brush.ellipse((middle, 0.62), (0.41 if is_short else 0.385, 0.56))
    end = {_SHORT: 0.44, _BOB: 0.90, _LONG: 1.15}[looks.style]
    cover = outer * (1 - soften(opening, 0.10)) * soften(brush.y, 0.16, end)
    brush.lay(_colour_hair(brush, looks), cover)
