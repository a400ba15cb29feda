"""Tops: in trunk lengths, origin at the neck point, hips at y = 1."""

from collections.abc import Callable

import numpy as np

from demo_model.drawing.character import Character, shaded, tinted
from demo_model.drawing.patches import Patch, Sprite, inked
from demo_model.drawing.shapes import Outline, arc, ellipse, ribbon, smooth

EDGE = 0.055  # width of the outline
HEM = 1.08  # where the top ends

Profile = Callable[[np.ndarray], np.ndarray]  # half a width as a function of the height


def trunk_sprite(character: Character) -> Sprite:
    """The top with its pattern, and what is worn over it."""
    width = half_width(character)
    shape = band(width, -0.1, HEM)
    patches = inked([shape], character.top, EDGE) + pattern(character, width)
    if character.bottom_kind == "overalls":
        patches += bib(character, width)
    return Sprite([*patches, *collar(character)])


def half_width(character: Character) -> Profile:
    """Half the width of the trunk as a function of the height, in trunk lengths."""
    build = character.build
    shoulder = (build.shoulder + 0.25 * build.arm_radius) / build.trunk
    hip = (build.hip + 1.0 * build.leg_radius) / build.trunk

    def width(y: np.ndarray) -> np.ndarray:
        rounding = np.sqrt(np.clip((y + 0.14) / 0.3, 0, 1) * np.clip((HEM + 0.05 - y) / 0.12, 0, 1))
        return rounding * (shoulder + (hip - shoulder) * np.clip(y, 0, 1))

    return width


def band(width: Profile, top: float, bottom: float, steps: int = 12) -> Outline:
    """The part of the trunk between two heights, with more points where it is rounded."""
    y = top + (bottom - top) * (1 - np.cos(np.linspace(0, np.pi, steps))) / 2
    right = np.stack([width(y), y], axis=1)
    return np.concatenate([right, (right * [-1, 1])[::-1]])


def pattern(character: Character, width: Profile) -> list[Patch]:
    accent = character.accent
    if character.pattern == "stripes":
        return [Patch(band(width, y, y + 0.15), accent) for y in (0.2, 0.5, 0.8)]
    if character.pattern == "band":
        return [Patch(band(width, 0.42, 0.74), accent)]
    if character.pattern == "halves":
        half = band(width, -0.1, HEM)
        return [Patch(np.clip(half, [0, -1], None), accent)]
    if character.pattern == "dots":
        places = [(-0.24, 0.3), (0.24, 0.3), (0, 0.56), (-0.25, 0.84), (0.25, 0.84)]
        return [Patch(ellipse(x, y, 0.1, 0.1), accent) for x, y in places]
    emblems = {
        "heart": [heart()],
        "star": [star()],
        "buttons": [ellipse(0, y, 0.07, 0.07) for y in (0.36, 0.62, 0.88)],
    }
    return [Patch(outline, accent) for outline in emblems.get(character.pattern, [])]


def heart() -> Outline:
    return smooth(
        [
            (0, 0.46),
            (0.14, 0.36),
            (0.27, 0.46),
            (0.2, 0.66),
            (0, 0.84),
            (-0.2, 0.66),
            (-0.27, 0.46),
            (-0.14, 0.36),
        ]
    )


def star() -> Outline:
    tips, notches = arc(0, 0.6, 0.3, 0.3, -90, 198, 5), arc(0, 0.6, 0.14, 0.14, -54, 234, 5)
    return np.stack([tips, notches], axis=1).reshape(-1, 2)


def bib(character: Character, width: Profile) -> list[Patch]:
    def narrow(y: np.ndarray) -> np.ndarray:
        return 0.68 * width(y)

    straps = [ribbon(np.array([(side * 0.22, 0.4), (side * 0.28, 0.02)]), 0.12) for side in (-1, 1)]
    parts = [*straps, band(narrow, 0.36, 0.8, 6), band(width, 0.72, HEM, 6)]
    pocket = smooth([(-0.16, 0.55), (0.16, 0.55), (0.13, 0.76), (-0.13, 0.76)])
    return [Patch(part, character.bottom) for part in parts] + [
        Patch(pocket, tinted(character.bottom, 0.3))
    ]


def collar(character: Character) -> list[Patch]:
    return [Patch(arc(0, 0.0, 0.24, 0.2, 0, 180, 12), shaded(character.skin, 0.85))]
