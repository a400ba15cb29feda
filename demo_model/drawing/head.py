"""Heads and faces, in head radii about the centre of the head."""

import numpy as np

from demo_model.drawing.character import Character, Colour, ink, mixed, shaded
from demo_model.drawing.hair import back_hair, front_hair
from demo_model.drawing.hats import hat
from demo_model.drawing.patches import EDGE, Patch, Sprite, inked
from demo_model.drawing.shapes import arc, ellipse, mirrored, ribbon
from demo_model.drawing.skeleton import EYE, MOUTH

SIDES = (-1, 1)
DARK, WHITE, ROUGE, TONGUE = (52, 36, 56), (255, 255, 255), (172, 44, 66), (240, 112, 120)
BLUSH = (250, 90, 90)


def head_sprites(character: Character) -> dict[str, Sprite]:
    """`back` goes behind the body; `skull`, `face` and `front` over it. `face` moves in a turn."""
    return {
        "back": Sprite(back_hair(character)),
        "skull": Sprite(skull(character)),
        "face": Sprite(face(character)),
        "front": Sprite(front_hair(character) + hat(character)),
    }


def skull(character: Character) -> list[Patch]:
    cheeky = mirrored([(0, -0.95), (0.7, -0.7), (1, -0.05), (0.94, 0.42), (0.55, 0.83), (0, 0.94)])
    ears = [ellipse(side * 0.98, 0.16, 0.17, 0.2) for side in SIDES]
    return inked([cheeky, *ears], character.skin, EDGE)


def face(character: Character) -> list[Patch]:
    blush = mixed(BLUSH, character.skin, 0.66)
    cheeks = [Patch(ellipse(side * 0.6, 0.5, 0.17, 0.11), blush) for side in SIDES]
    eyes = [patch for side in SIDES for patch in eye(character, side * EYE[0], EYE[1])]
    nose = [Patch(ellipse(0, 0.35, 0.07, 0.05), shaded(character.skin, 0.8))]
    glasses = spectacles(character.hat_colour) if character.glasses else []
    return cheeks + brows(character.hair) + eyes + nose + mouth(character.mouth) + glasses


def brows(hair: Colour) -> list[Patch]:
    bows = [arc(side * EYE[0], -0.08, 0.2, 0.12, 215, 325, 8) for side in SIDES]
    return [Patch(ribbon(path, 0.08), ink(hair)) for path in bows]


def eye(character: Character, x: float, y: float) -> list[Patch]:
    glint = Patch(ellipse(x - 0.05, y - 0.09, 0.08, 0.09), WHITE)
    spark = Patch(ellipse(x + 0.08, y + 0.11, 0.05, 0.05), WHITE)
    if character.eyes == "oval":
        return [Patch(ellipse(x, y, 0.15, 0.22), DARK), glint]
    if character.eyes == "round":
        return [Patch(ellipse(x, y, 0.2, 0.21), DARK), glint, spark]
    iris = Patch(ellipse(x, y + 0.07, 0.14, 0.15), character.iris)
    return [Patch(ellipse(x, y, 0.19, 0.25), DARK), iris, glint, spark]


def mouth(kind: str) -> list[Patch]:
    x, y = MOUTH
    if kind == "open":
        bowl = arc(x, y, 0.26, 0.27, 0, 180, 16)
        return [Patch(bowl, ROUGE), Patch(ellipse(x, y + 0.19, 0.13, 0.07), TONGUE)]
    if kind == "grin":
        bowl = arc(x, y, 0.27, 0.2, 0, 180, 16)
        return [Patch(bowl, DARK), Patch(arc(x, y + 0.02, 0.21, 0.13, 0, 180, 16), WHITE)]
    if kind == "cat":
        arcs = [arc(x + side * 0.11, y + 0.02, 0.11, 0.12, 10, 170, 10) for side in SIDES]
        return [Patch(ribbon(path, 0.075), DARK) for path in arcs]
    return [Patch(ribbon(arc(x, y - 0.06, 0.23, 0.2, 20, 160, 14), 0.085), DARK)]


def spectacles(colour: Colour) -> list[Patch]:
    rims = [ribbon(arc(side * 0.4, 0.17, 0.32, 0.31, 0, 360, 30), 0.085) for side in SIDES]
    bridge = ribbon(np.array([(-0.12, 0.12), (0.12, 0.12)]), 0.085)
    return [Patch(rim, shaded(colour, 0.8)) for rim in [*rims, bridge]]
