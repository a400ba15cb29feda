"""Hair, in head radii about the centre of the head: what hangs behind, and the fringe before."""

import numpy as np

from demo_model.drawing.character import Character, shaded, tinted
from demo_model.drawing.patches import EDGE, Patch, inked
from demo_model.drawing.shapes import Outline, arc, ellipse, mirrored, ribbon, smooth


def back_hair(character: Character) -> list[Patch]:
    """The back of the head and the style; it lies behind the whole figure."""
    cap = ellipse(0, -0.1, 1.13, 1.04)
    return inked([cap, *STYLES[character.hair_style]()], shaded(character.hair, 0.9), EDGE)


def front_hair(character: Character) -> list[Patch]:
    """The dome over the brow, its lower edge cut as a fringe, and a band of light."""
    dome = arc(0, -0.06, 1.09, 1.02, 180, 360, 24)
    cut = np.concatenate([dome, FRINGES[character.fringe]])
    light = ribbon(arc(0, 0, 0.82, 0.8, 222, 285, 12), 0.12)
    return [*inked([cut], character.hair, EDGE), Patch(light, tinted(character.hair, 0.3))]


def bob() -> list[Outline]:
    return [mirrored([(0, -1.1), (0.9, -0.8), (1.2, 0), (1.24, 0.62), (0.85, 0.95), (0, 0.85)])]


def long() -> list[Outline]:
    fall = [(1.2, 0), (1.2, 1), (1.12, 1.75), (0.6, 2), (0, 1.85)]
    return [mirrored([(0, -1.1), (0.9, -0.8), *fall])]


def pigtails() -> list[Outline]:
    right = tail(1.0, 0.35, 1.5, 1.15)
    return [right, right * (-1, 1)]


def ponytail() -> list[Outline]:
    return [tail(0.9, -0.35, 1.55, 0.85)]


def bun() -> list[Outline]:
    return [ellipse(0, -1.14, 0.43, 0.4)]


def buns() -> list[Outline]:
    return [ellipse(x, -0.86, 0.4, 0.4) for x in (-0.74, 0.74)]


def curly() -> list[Outline]:
    return [ellipse(x, y, 0.34, 0.34) for x, y in arc(0, -0.12, 1.0, 0.93, 150, 390, 9)]


def spiky() -> list[Outline]:
    """A crown of points that lean a little aside."""
    crown = np.empty((17, 2))
    crown[::2] = arc(0, -0.05, 0.98, 0.9, 155, 385, 9)
    crown[1::2] = arc(0.02, -0.05, 1.42, 1.36, 172, 380, 8)
    return [crown]


def tail(x: float, y: float, x_end: float, y_end: float) -> Outline:
    """A drop of hair from its root at the head to its rounded end."""
    outside = [(x, y), (x + 0.4, y - 0.1), (x_end + 0.12, (y + y_end) / 2), (x_end, y_end)]
    inside = [(x_end - 0.35, y_end - 0.05), (x + 0.05, (y + y_end) / 2 + 0.05)]
    return smooth(outside + inside)


def rounded_edge(corners: list) -> Outline:
    """A smooth lower edge through some corners; the last one only guides the curve."""
    return smooth([*corners, (0, -1.6)])[: 5 * len(corners) - 5]


SWEPT = [(1.04, 0.24), (0.9, -0.12), (0.62, -0.5), (0.2, -0.42), (-0.3, -0.24), (-0.8, -0.1)]
PARTED = [(1.04, 0.3), (0.88, -0.08), (0.5, -0.36), (0.12, -0.72), (-0.26, -0.42), (-0.86, -0.1)]
STRAIGHT = [(1.02, 0.2), (0.86, -0.2), (0.6, -0.26), (0, -0.28), (-0.6, -0.26), (-0.86, -0.2)]
ZIGZAG_X = (1.02, 0.84, 0.6, 0.36, 0.06, -0.22, -0.5, -0.8, -1.02)
ZIGZAG_Y = (0.24, -0.34, -0.12, -0.4, -0.14, -0.42, -0.12, -0.36, 0.24)

# From the right temple to the left.
FRINGES = {
    "straight": rounded_edge([*STRAIGHT, (-1.02, 0.2)]),
    "swept": rounded_edge([*SWEPT, (-1.04, 0.24)]),
    "parted": rounded_edge([*PARTED, (-1.04, 0.3)]),
    "zigzag": np.stack([ZIGZAG_X, ZIGZAG_Y], axis=1),
}

STYLES = {
    "short": list,
    "bob": bob,
    "long": long,
    "pigtails": pigtails,
    "ponytail": ponytail,
    "bun": bun,
    "buns": buns,
    "curly": curly,
    "spiky": spiky,
}
