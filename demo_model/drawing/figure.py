"""Figures: a character laid over its backdrop from back to front, in a fixed order.

The hair behind the head comes first, then the left arm, the left leg, the right leg, the trunk
with its skirt, the right arm and the head. The 18 body points alone say where everything goes, so
a picture is a function of character and pose: what the small model has to learn.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from demo_model.drawing.character import GROUND, Character, Colour, ink, shaded
from demo_model.drawing.clothes import trunk_sprite
from demo_model.drawing.head import head_sprites
from demo_model.drawing.patches import Sprite
from demo_model.drawing.shapes import Outline, arc, capsule, direction, ellipse, grown, smooth
from demo_model.drawing.skeleton import EAR, FACE_TURN, LEFT, NOSE, PALM, RIGHT, turned

EDGE = 0.011  # width of the limbs' outlines, as a fraction of the picture's side
NEAR, FAR = 1.0, 0.88  # brightness of the right and of the left limbs
SLEEVE, SHORTS, SKIRT = 0.72, 0.8, 0.75  # where they end, as a share of upper arm or thigh


def draw_figure(picture: Image.Image, character: Character, body: np.ndarray) -> None:
    """Draw a character onto a square picture, its body points (18, 2) in fractions of the side."""
    figure = Figure(character, body, ImageDraw.Draw(picture), picture.width)
    figure.draw_shadow(picture)
    figure.draw_head("back")
    figure.draw_arm(5, FAR)
    figure.draw_leg(11, FAR)
    figure.draw_leg(8, NEAR)
    figure.draw_trunk()
    figure.draw_arm(2, NEAR)
    figure.draw_head("skull", "face", "front")


@lru_cache(maxsize=256)
def sprites(character: Character) -> dict[str, Sprite]:
    return {**head_sprites(character), "trunk": trunk_sprite(character)}


@dataclass
class Figure:
    """One character in one pose; the methods draw its parts."""

    character: Character
    body: np.ndarray  # (18, 2), fractions of the side
    draw: ImageDraw.ImageDraw
    side: int  # of the picture, in pixels

    def draw_shadow(self, picture: Image.Image) -> None:
        """On the ground below the feet that stand on it, smaller when both are off it."""
        x, y = self.body[[10, 13]].T
        load = np.exp((y - y.max()) / 0.03)
        height = GROUND - self.character.build.foot - y.max()
        reach = 0.11 + 0.4 * abs(x[0] - x[1]) * load.min() - height
        x = (x * load).sum() / load.sum()
        ground = picture.getpixel((int(np.clip(x, 0, 0.99) * self.side), int(0.97 * self.side)))
        self.fill(ellipse(x, GROUND - 0.005, reach, 0.028), shaded(ground, 0.8))

    def draw_arm(self, first: int, light: float) -> None:
        """Shoulder, elbow, wrist: a mitten of a hand, the bare arm, a sleeve over it."""
        person, r = self.character, self.character.build.arm_radius
        shoulder, elbow, wrist = self.body[first : first + 3]
        hand = capsule(wrist, wrist + PALM * r * direction(elbow, wrist), 0.9 * r, 1.2 * r)
        bare = [capsule(elbow, wrist, r, 0.9 * r), capsule(shoulder, elbow, r, r)]
        cuff = shoulder + SLEEVE * (elbow - shoulder)
        sleeve = [capsule(shoulder, cuff, 1.15 * r, 1.25 * r)]
        if person.long_sleeves:
            upper = capsule(shoulder, elbow, 1.15 * r, 1.08 * r)
            bare, sleeve = [], [upper, capsule(elbow, wrist, 1.08 * r, 1.1 * r)]
        self.ink_and_fill([hand, *bare], person.skin, light)
        self.ink_and_fill(sleeve, person.top, light)

    def draw_leg(self, first: int, light: float) -> None:
        """Hip, knee, ankle: skin or trousers, and a shoe."""
        person, r = self.character, self.character.build.leg_radius
        hip, knee, ankle = self.body[first : first + 3]
        covered = person.bottom_kind in ("trousers", "overalls")
        leg = [capsule(hip, knee, 1.15 * r, r), capsule(knee, ankle, r, 0.85 * r)]
        self.ink_and_fill(leg, person.bottom if covered else person.skin, light)
        if person.bottom_kind == "shorts":
            end = hip + SHORTS * (knee - hip)
            self.ink_and_fill([capsule(hip, end, 1.2 * r, 1.25 * r)], person.bottom, light)
        self.draw_shoe(knee, ankle, RIGHT if first == 8 else LEFT, light)

    def draw_shoe(self, knee: np.ndarray, ankle: np.ndarray, side: int, light: float) -> None:
        """Toes point outwards; the foot follows the shin only in part, and keeps its sole down."""
        build = self.character.build
        along = direction(knee, ankle)
        tilt = -0.5 * np.degrees(np.arctan2(along[0], max(along[1], 0.3)))
        length, height = 1.5 * build.leg_radius, build.foot + 0.35 * build.leg_radius
        dome = arc(side * 0.45 * length, build.foot - 0.008, length, height, 165, 375, 14)
        shape = np.minimum(dome, (np.inf, build.foot))
        self.ink_and_fill([ankle + turned(shape, tilt)], self.character.shoes, light)

    def draw_trunk(self) -> None:
        """The top, over the seat of the trousers or a skirt; a dress is a skirt over the top."""
        person, radius = self.character, 1.15 * self.character.build.leg_radius
        if person.bottom_kind == "skirt":
            self.ink_and_fill([self.skirt(-0.3)], person.bottom)
        elif person.bottom_kind != "dress":
            self.fill(capsule(self.body[8], self.body[11], radius, radius), person.bottom)
        neck, hips = self.body[1], (self.body[8] + self.body[11]) / 2
        down = person.build.trunk * direction(neck, hips)
        self.draw_sprite("trunk", neck, np.array([[down[1], -down[0]], down]))
        if person.bottom_kind == "dress":
            self.ink_and_fill([self.skirt(-0.08)], person.top)

    def skirt(self, waist: float) -> Outline:
        """From a height in trunk lengths about the hips to a rounded hem that hides both thighs."""
        build, hips = self.character.build, (self.body[8] + self.body[11]) / 2
        down = direction(self.body[1], hips)
        across = np.array([down[1], -down[0]])
        ends = [self.body[k] + SKIRT * (self.body[k + 1] - self.body[k]) for k in (8, 11)]
        offsets = np.array([(end - hips) @ across for end in ends])
        wide = 1.7 * build.leg_radius
        rest = build.hip + 1.4 * build.leg_radius
        left, right = min(offsets.min() - wide, -rest), max(offsets.max() + wide, rest)
        long = 0.6 * SKIRT * build.thigh + 0.4 * max((end - hips) @ down for end in ends) + 0.012
        slim, top = build.hip + 0.75 * build.leg_radius, waist * build.trunk
        corners = [(-slim, top), (slim, top), (right, 0.85 * long), (0.6 * right, long)]
        corners += [(0.6 * left, long), (left, 0.85 * long)]
        return hips + np.array(smooth(corners)) @ np.array([across, down])

    def draw_head(self, *names: str) -> None:
        """The ears say where the head is and how it tilts, the nose how far the face has turned."""
        nose, right_ear, left_ear = self.body[[0, 16, 17]]
        across = self.character.build.head * direction(right_ear, left_ear)
        axes = np.array([across, [-across[1], across[0]]])
        centre = (right_ear + left_ear) / 2 - EAR[1] * axes[1]
        shift = ((nose - centre) @ axes.T / self.character.build.head**2)[0] - NOSE[0]
        for name in names:
            turn = np.clip(shift, -FACE_TURN, FACE_TURN) if name == "face" else 0
            self.draw_sprite(name, centre + turn * axes[0], axes)

    def draw_sprite(self, name: str, origin: np.ndarray, axes: np.ndarray) -> None:
        sprites(self.character)[name].draw(self.draw, self.side * origin, self.side * axes)

    def ink_and_fill(self, outlines: list[Outline], colour: Colour, light: float = NEAR) -> None:
        """Shapes of one colour that join, with one outline around them."""
        colour = colour if light == NEAR else shaded(colour, light)
        for outline in outlines:
            self.fill(grown(outline, EDGE), ink(colour))
        for outline in outlines:
            self.fill(outline, colour)

    def fill(self, outline: Outline, colour: Colour) -> None:
        self.draw.polygon((self.side * outline).ravel().tolist(), fill=colour)
