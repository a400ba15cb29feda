"""Hats and what else is worn on the head, in head radii about the centre of the head."""

import numpy as np

from demo_model.drawing.character import Character, shaded
from demo_model.drawing.patches import EDGE, Patch, inked
from demo_model.drawing.shapes import Outline, arc, ellipse, smooth

GOLD, YOLK, PINK = (252, 200, 72), (255, 214, 90), (250, 160, 170)


def hat(character: Character) -> list[Patch]:
    return HATS[character.hat](character)


def cap(character: Character) -> list[Patch]:
    peak = [(-0.9, -0.5), (0, -0.62), (0.9, -0.5), (0.75, -0.22), (0, -0.3), (-0.75, -0.22)]
    crown = inked([dome()], character.hat_colour, EDGE)
    return crown + inked([smooth(peak)], character.accent, EDGE)


def beanie(character: Character) -> list[Patch]:
    brim = [(-1.2, -0.5), (0, -0.66), (1.2, -0.5), (1.16, -0.26), (0, -0.4), (-1.16, -0.26)]
    pompom = inked([ellipse(0, -1.3, 0.27, 0.25)], character.accent, EDGE)
    wool = inked([dome()], character.hat_colour, EDGE)
    return pompom + wool + inked([smooth(brim)], character.accent, EDGE)


def cone(character: Character) -> list[Patch]:
    paper = np.array([(-0.48, -0.82), (0, -1.72), (0.48, -0.82)])
    stripe = np.array([(-0.36, -1.04), (-0.24, -1.27), (0.24, -1.27), (0.36, -1.04)])
    tip = inked([ellipse(0, -1.68, 0.15, 0.15)], character.accent, EDGE)
    return [*inked([paper], character.hat_colour, EDGE), Patch(stripe, character.accent), *tip]


def bow(character: Character) -> list[Patch]:
    loop = smooth([(0, 0), (0.26, -0.28), (0.46, -0.2), (0.46, 0.2), (0.26, 0.28)])
    place = 0.62, -0.82
    loops = inked([loop + place, loop * (-1, 1) + place], character.hat_colour, EDGE)
    return loops + inked([ellipse(*place, 0.15, 0.15)], shaded(character.hat_colour), EDGE)


def flower(character: Character) -> list[Patch]:
    x, y = -0.68, -0.62
    petals = [ellipse(*centre, 0.18, 0.18) for centre in arc(x, y, 0.24, 0.24, 0, 288, 5)]
    return [*inked(petals, character.hat_colour, EDGE), Patch(ellipse(x, y, 0.15, 0.15), YOLK)]


def crown(character: Character) -> list[Patch]:
    x = (-0.6, -0.7, -0.34, 0, 0.34, 0.7, 0.6)
    y = (-0.74, -1.34, -1.06, -1.42, -1.06, -1.34, -0.74)
    jewel = Patch(ellipse(0, -0.98, 0.13, 0.13), character.hat_colour)
    return [*inked([np.stack([x, y], axis=1)], GOLD, EDGE), jewel]


def ears(character: Character) -> list[Patch]:
    """A cat's."""
    right = np.array([(0.36, -0.86), (0.84, -1.36), (0.98, -0.5)])
    inside = 0.55 * right + (0.3, -0.44)
    outer = inked([right, right * (-1, 1)], character.hair, EDGE)
    return [*outer, Patch(inside, PINK), Patch(inside * (-1, 1), PINK)]


def bare(character: Character) -> list[Patch]:
    return []


def dome() -> Outline:
    return arc(0, -0.42, 1.12, 0.84, 180, 360, 24)


HATS = {
    "none": bare,
    "cap": cap,
    "beanie": beanie,
    "cone": cone,
    "bow": bow,
    "flower": flower,
    "crown": crown,
    "ears": ears,
}
