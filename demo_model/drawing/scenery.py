"""Backdrops: a still scene behind the figure, drawn in fractions of the picture's side."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from demo_model.drawing.character import Character, mixed, shaded, tinted
from demo_model.drawing.patches import Patch, Sprite
from demo_model.drawing.shapes import Outline, arc, ellipse, mirrored, smooth

HORIZON = 0.8  # where the floor begins, from the top of the picture
WHITE, SUN, GREEN, LEAF, WOOD = (
    *((255, 255, 255), (255, 206, 92)),
    *((132, 196, 120), (72, 160, 104), (206, 156, 112)),
)


@lru_cache(maxsize=64)
def backdrop(character: Character, side: int) -> Image.Image:
    """The scene of a character (side, side), RGB. The picture is shared: copy it to draw on it."""
    picture = Image.new("RGB", (side, side), character.wall)
    draw = ImageDraw.Draw(picture)
    patches = SCENES[character.backdrop](character, np.random.default_rng(character.seed))
    Sprite(patches).draw(draw, np.zeros(2), side * np.eye(2))
    return picture


def plain(character: Character, rng: np.random.Generator) -> list[Patch]:
    return [floor(character)]


def gradient(character: Character, rng: np.random.Generator) -> list[Patch]:
    """The wall's colour fading into light, in steps finer than the eye can see."""
    steps = 48
    light = tinted(character.wall, 0.75)
    return [
        Patch(box(0, k / steps, 1, (k + 1) / steps + 0.01), mixed(character.wall, light, k / steps))
        for k in range(steps)
    ] + [Patch(ellipse(0.5, 0.95, 0.46, 0.1, 40), shaded(character.wall, 0.9))]


def window(character: Character, rng: np.random.Generator) -> list[Patch]:
    x = side_place(rng)
    frame, sky = box(x - 0.15, 0.12, x + 0.15, 0.52), box(x - 0.12, 0.15, x + 0.12, 0.49)
    bars = box(x - 0.013, 0.15, x + 0.013, 0.49), box(x - 0.12, 0.31, x + 0.12, 0.335)
    cloud = [
        ellipse(x + dx, 0.25 + dy, 0.05, 0.03)
        for dx, dy in ((-0.04, 0), (0.02, -0.02), (0.06, 0.005))
    ]
    return [
        floor(character),
        Patch(frame, WHITE),
        Patch(sky, (150, 208, 244)),
        *(Patch(puff, WHITE) for puff in cloud),
        *(Patch(bar, WHITE) for bar in bars),
        Patch(box(x - 0.17, 0.52, x + 0.17, 0.55), shaded(WHITE, 0.9)),
    ]


def plant(character: Character, rng: np.random.Generator) -> list[Patch]:
    x = side_place(rng)
    leaves = [leaf(x, 0.68, angle, 0.27 - 0.0011 * abs(angle)) for angle in (-62, 62, -30, 30, 0)]
    greens = (shaded(LEAF, 0.9), LEAF, tinted(LEAF, 0.15), LEAF, tinted(LEAF, 0.25))
    pot = np.array([(x - 0.085, 0.68), (x + 0.085, 0.68), (x + 0.06, 0.86), (x - 0.06, 0.86)])
    return [
        floor(character),
        *(Patch(outline, green) for outline, green in zip(leaves, greens)),
        Patch(pot, (226, 122, 92)),
        Patch(box(x - 0.1, 0.66, x + 0.1, 0.715), (240, 146, 112)),
    ]


def hills(character: Character, rng: np.random.Generator) -> list[Patch]:
    left, right = rng.uniform(0.05, 0.35), rng.uniform(0.65, 0.95)
    cloud_x = side_place(rng)
    return [
        Patch(box(0, 0, 1, 1), (186, 228, 250)),
        *(Patch(puff, WHITE) for puff in clouds(cloud_x, 0.17)),
        Patch(ellipse(left, 0.95, 0.5, 0.36, 60), tinted(GREEN, 0.35)),
        Patch(ellipse(right, 1.0, 0.55, 0.36, 60), tinted(GREEN, 0.15)),
        Patch(box(0, 0.84, 1, 1), GREEN),
    ]


def sun(character: Character, rng: np.random.Generator) -> list[Patch]:
    x = side_place(rng)
    rays = [Patch(ray(x, 0.2, angle), tinted(SUN, 0.4)) for angle in range(0, 360, 45)]
    return [floor(character), *rays, Patch(ellipse(x, 0.2, 0.1, 0.1), SUN)]


def night(character: Character, rng: np.random.Generator) -> list[Patch]:
    x = side_place(rng)
    sky = (62, 70, 128)
    places = np.stack([rng.uniform(0.04, 0.96, 9), rng.uniform(0.04, 0.7, 9)], axis=1)
    stars = [Patch(twinkle(*place, rng.uniform(0.018, 0.032)), (255, 236, 170)) for place in places]
    moon = [
        Patch(ellipse(x, 0.2, 0.1, 0.1), (255, 238, 176)),
        Patch(ellipse(x + 0.045, 0.18, 0.085, 0.085), sky),
    ]
    return [
        Patch(box(0, 0, 1, 1), sky),
        *stars,
        *moon,
        Patch(box(0, HORIZON, 1, 1), (104, 112, 172)),
    ]


def beach(character: Character, rng: np.random.Generator) -> list[Patch]:
    x = side_place(rng)
    return [
        Patch(box(0, 0, 1, 1), (255, 232, 200)),
        Patch(ellipse(x, 0.55, 0.15, 0.15), (255, 184, 120)),
        Patch(box(0, 0.55, 1, 0.8), (96, 190, 208)),
        Patch(box(x - 0.12, 0.6, x + 0.12, 0.625), (170, 226, 230)),
        Patch(box(x - 0.08, 0.66, x + 0.1, 0.685), (170, 226, 230)),
        Patch(
            smooth([(-0.1, 0.8), (0.3, 0.77), (0.7, 0.8), (1.1, 0.77), (1.1, 1.1), (-0.1, 1.1)]),
            (250, 222, 164),
        ),
    ]


def dots(character: Character, rng: np.random.Generator) -> list[Patch]:
    colour = tinted(character.wall, 0.5)
    places = [(0.09 + 0.164 * k, 0.08 + 0.15 * row) for row in range(5) for k in range(6)]
    spots = [ellipse(x + 0.08 * (round(y / 0.15) % 2), y, 0.036, 0.036, 16) for x, y in places]
    return [*(Patch(spot, colour) for spot in spots), floor(character)]


def city(character: Character, rng: np.random.Generator) -> list[Patch]:
    patches, x = [], -0.02
    while x < 1:
        width, top = rng.uniform(0.14, 0.22), rng.uniform(0.25, 0.55)
        tone = shaded(character.wall, rng.uniform(0.8, 0.9))
        patches.append(Patch(box(x, top, x + width, 0.85), tone))
        for y in np.arange(top + 0.05, 0.75, 0.1):
            patches += [
                Patch(box(x + dx * width, y, x + (dx + 0.24) * width, y + 0.05), tinted(tone, 0.55))
                for dx in (0.18, 0.58)
            ]
        x += width
    return [*patches, floor(character)]


def floor(character: Character) -> Patch:
    return Patch(box(0, HORIZON, 1, 1), shaded(character.floor, 0.95))


def box(left: float, top: float, right: float, bottom: float) -> Outline:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def side_place(rng: np.random.Generator) -> float:
    """A place to the left or right, where the figure does not hide it."""
    return float(rng.choice([rng.uniform(0.14, 0.2), rng.uniform(0.8, 0.86)]))


def clouds(x: float, y: float) -> list[Outline]:
    puffs = ((-0.07, 0.01, 0.06), (0, -0.02, 0.08), (0.08, 0.01, 0.06))
    return [ellipse(x + dx, y + dy, r, 0.6 * r) for dx, dy, r in puffs]


def leaf(x: float, y: float, angle: float, length: float) -> Outline:
    shape = mirrored(
        [(0, -length), (0.22 * length, -0.6 * length), (0.12 * length, -0.1 * length), (0, 0)]
    )
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return shape @ np.array([[c, s], [-s, c]]) + [x, y]


def ray(x: float, y: float, angle: float) -> Outline:
    inner, outer = (
        arc(x, y, 0.12, 0.12, angle - 8, angle + 8, 2),
        arc(x, y, 0.18, 0.18, angle - 5, angle + 5, 2),
    )
    return np.concatenate([inner, outer[::-1]])


def twinkle(x: float, y: float, size: float) -> Outline:
    tips, waists = arc(x, y, size, size, 0, 270, 4), arc(x, y, 0.4 * size, 0.4 * size, 45, 315, 4)
    return np.stack([tips, waists], axis=1).reshape(-1, 2)


SCENES = {
    "plain": plain,
    "gradient": gradient,
    "window": window,
    "plant": plant,
    "hills": hills,
    "sun": sun,
    "night": night,
    "beach": beach,
    "dots": dots,
    "city": city,
}
