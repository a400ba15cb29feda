"""Who is in the picture: a description drawn at random from a seed.

Lengths are fractions of the picture's side; colours are RGB in 0..255.
"""

import colorsys
from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]

TRAIN_SEEDS = range(100_000)  # what the small model learns from
HELD_OUT_SEEDS = range(900_000, 901_000)  # what it is shown with: characters it has never seen

GROUND = 0.945  # height of the soles in the picture, from its top
STANDING_HEIGHT = 0.88  # from the soles to the top of hair or hat

HAIR_STYLES = ("short", "bob", "long", "spiky", "pigtails", "buns", "bun", "curly", "ponytail")
FRINGES = ("straight", "swept", "parted", "zigzag")
MOUTHS = ("smile", "open", "cat", "grin")
EYES = ("oval", "round", "sparkle")
PATTERNS = ("plain", "stripes", "dots", "band", "heart", "star", "halves", "buttons")
BOTTOMS = ("trousers", "shorts", "skirt", "dress", "overalls")
HATS = ("none", "none", "none", "none", "cap", "beanie", "cone", "bow", "flower", "crown", "ears")
BACKDROPS = (
    "plain",
    "gradient",
    "window",
    "plant",
    "hills",
    "sun",
    "night",
    "beach",
    "dots",
    "city",
)

SKINS = (
    *((255, 224, 196), (250, 208, 172), (240, 188, 146)),
    *((214, 154, 110), (172, 114, 78), (124, 80, 58)),
)
HAIRS = (
    *((58, 44, 52), (98, 62, 48), (156, 92, 52), (222, 132, 58), (246, 200, 92), (214, 78, 66)),
    *((238, 128, 158), (104, 120, 206), (76, 164, 156), (150, 104, 184), (226, 222, 232)),
)
CLOTHES = (
    *((232, 76, 84), (246, 130, 70), (250, 190, 64), (122, 188, 88), (48, 162, 138)),
    *((60, 160, 214), (72, 104, 196), (134, 96, 190), (224, 98, 158), (250, 244, 232)),
    *((58, 64, 96), (250, 160, 160), (140, 210, 220), (150, 98, 72)),
)
SHADOW = (60, 30, 80)
PASTELS = (
    *((255, 226, 208), (255, 240, 196), (214, 240, 208), (200, 236, 236), (206, 224, 252)),
    *((228, 214, 248), (252, 214, 228), (240, 232, 220), (190, 226, 206), (250, 206, 182)),
)


@dataclass(frozen=True)
class Build:
    """Lengths of the bones and widths of the limbs."""

    head: float  # radius
    neck: float  # from the neck point up to the centre of the head
    trunk: float  # from the neck point down to the middle of the hips
    shoulder: float  # half the width
    hip: float  # half the width
    upper_arm: float
    forearm: float
    thigh: float
    shin: float
    foot: float  # from the ankle down to the sole
    arm_radius: float
    leg_radius: float

    @property
    def leg(self) -> float:
        return self.thigh + self.shin


@dataclass(frozen=True)
class Character:
    """Everything that makes a figure and its backdrop; equal characters make equal pictures."""

    seed: int
    build: Build
    skin: Colour
    hair_style: str
    fringe: str
    hair: Colour
    eyes: str
    iris: Colour
    mouth: str
    glasses: bool
    hat: str
    hat_colour: Colour
    pattern: str
    top: Colour
    accent: Colour
    long_sleeves: bool
    bottom_kind: str
    bottom: Colour
    shoes: Colour
    backdrop: str
    wall: Colour
    floor: Colour


def random_character(seed: int) -> Character:
    """The character of a seed; the same seed always gives the same character."""
    rng = np.random.default_rng([seed, 0xC4A2])
    hat, hair_style = pick(rng, HATS), pick(rng, HAIR_STYLES)
    if hat in ("cap", "beanie") and hair_style in ("bun", "buns", "spiky", "curly"):
        hair_style = "bob"  # nothing that would stand up through the hat
    skin = jittered(rng, pick(rng, SKINS), 0.006)
    hair = jittered(rng, distinct(rng, HAIRS, [skin]))
    top = jittered(rng, distinct(rng, CLOTHES[:-1], [skin]))
    bottom = jittered(rng, distinct(rng, CLOTHES, [top, skin]))
    wall = jittered(rng, distinct(rng, PASTELS, [top, bottom, skin, hair]))
    return Character(
        seed=seed,
        build=random_build(rng, headroom(hat, hair_style)),
        skin=skin,
        hair_style=hair_style,
        fringe=pick(rng, FRINGES),
        hair=hair,
        eyes=pick(rng, EYES),
        iris=pick(rng, ((70, 110, 190), (80, 140, 90), (140, 84, 50), (110, 80, 160))),
        mouth=pick(rng, MOUTHS),
        glasses=bool(rng.random() < 0.18),
        hat=hat,
        hat_colour=jittered(rng, distinct(rng, CLOTHES, [hair, wall, skin])),
        pattern=pick(rng, PATTERNS),
        top=top,
        accent=jittered(rng, distinct(rng, CLOTHES[:10], [top, bottom])),
        long_sleeves=bool(rng.random() < 0.5),
        bottom_kind=pick(rng, BOTTOMS),
        bottom=bottom,
        shoes=jittered(rng, distinct(rng, CLOTHES, [bottom, skin, wall])),
        backdrop=pick(rng, BACKDROPS),
        wall=wall,
        floor=jittered(rng, distinct(rng, PASTELS, [wall])),
    )


def random_build(rng: np.random.Generator, headroom: float) -> Build:
    """Childlike proportions, scaled so that every figure stands equally tall."""
    head, trunk, leg = rng.uniform(0.175, 0.2), rng.uniform(0.21, 0.25), rng.uniform(0.24, 0.29)
    arm, stout = rng.uniform(0.23, 0.255), rng.uniform(0.9, 1.15)
    foot = 0.035
    height = foot + leg + trunk + 0.95 * head + (1 + headroom) * head
    lengths = {
        "head": head,
        "neck": 0.95 * head,
        "trunk": trunk,
        "shoulder": 0.088 * stout,
        "hip": 0.05 * stout,
        "upper_arm": 0.5 * arm,
        "forearm": 0.5 * arm,
        "thigh": 0.5 * leg,
        "shin": 0.5 * leg,
        "foot": foot,
        "arm_radius": 0.031 * stout,
        "leg_radius": 0.04 * stout,
    }
    scale = STANDING_HEIGHT / height
    return Build(**{name: float(scale * length) for name, length in lengths.items()})


def headroom(hat: str, hair_style: str) -> float:
    """How far hair or hat rises above the head, in head radii, outline included."""
    hats = {"cap": 0.34, "beanie": 0.63, "cone": 0.9, "crown": 0.5, "ears": 0.44}
    hairs = {"bun": 0.62, "buns": 0.34, "curly": 0.47, "spiky": 0.49}
    return max(hats.get(hat, 0), hairs.get(hair_style, 0.22))


def pick(rng: np.random.Generator, choices: tuple):
    return choices[rng.integers(len(choices))]


def distinct(rng: np.random.Generator, palette: tuple, others: list[Colour]) -> Colour:
    """A colour of the palette that stands out against the others."""
    clear = [c for c in palette if all(distance(c, other) > 95 for other in others)]
    return pick(rng, tuple(clear) or palette)


def distance(one: Colour, other: Colour) -> float:
    return float(np.linalg.norm(np.subtract(one, other)))


def jittered(rng: np.random.Generator, colour: Colour, hue: float = 0.02) -> Colour:
    """A near neighbour of a colour, so that no two characters wear quite the same."""
    h, s, v = colorsys.rgb_to_hsv(*np.divide(colour, 255))
    h, s, v = h + rng.uniform(-hue, hue), s * rng.uniform(0.9, 1.08), v * rng.uniform(0.95, 1.03)
    rgb = colorsys.hsv_to_rgb(h % 1, min(s, 1), min(v, 1))
    return tuple(round(255 * channel) for channel in rgb)


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    """From one colour (share 0) to another (share 1)."""
    return tuple(round(a + (b - a) * share) for a, b in zip(one, other))


def shaded(colour: Colour, light: float = 0.86) -> Colour:
    """The colour in shadow, which leans towards violet."""
    return mixed(SHADOW, colour, light)


def tinted(colour: Colour, amount: float = 0.35) -> Colour:
    """The colour in light."""
    return mixed(colour, (255, 255, 255), amount)


def ink(colour: Colour) -> Colour:
    """The outline that goes with a colour."""
    return shaded(mixed((0, 0, 0), colour, 0.62), 0.8)
