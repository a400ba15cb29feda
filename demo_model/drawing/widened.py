"""Other builds of the characters: longer, shorter, wider, smaller, elsewhere in the picture.

Characters are built nearly alike. Films of other bodies are what the fit of poses is for.
"""

from dataclasses import fields, replace

import numpy as np

from animate_anyone.pose import Pose
from demo_model.drawing.character import STANDING_HEIGHT, Build, Character

# Smallest and largest factor of each length.
RANGES = {
    **dict.fromkeys(("upper_arm", "forearm", "thigh", "shin"), (0.65, 1.5)),
    "trunk": (0.8, 1.3),
    **dict.fromkeys(("shoulder", "hip"), (0.7, 1.4)),
    "neck": (0.8, 1.2),
}

# Two bodies that are unlike the characters', and unlike each other.
BODIES = {
    "lanky": {
        **dict.fromkeys(("upper_arm", "forearm"), 1.35),
        **dict.fromkeys(("thigh", "shin"), 1.5),
        "trunk": 1.1,
        "shoulder": 1.15,
        "hip": 1.1,
        "neck": 1.1,
    },
    "stocky": {
        **dict.fromkeys(("upper_arm", "forearm"), 0.85),
        **dict.fromkeys(("thigh", "shin"), 0.7),
        "trunk": 1.15,
        "shoulder": 1.4,
        "hip": 1.3,
        "neck": 0.9,
    },
}


def changed(build: Build, factors: dict[str, float]) -> Build:
    """The build with some lengths multiplied, scaled down where it would stand too tall."""
    lengths = {name: getattr(build, name) * factor for name, factor in factors.items()}
    return fitting(replace(build, **lengths))


def embodied(character: Character, body: str, size: float) -> Character:
    """The character with one of the `BODIES`, larger or smaller in the picture."""
    return replace(character, build=scaled(changed(character.build, BODIES[body]), size))


def widened(build: Build, rng: np.random.Generator) -> Build:
    """The build with each of its lengths drawn anew around what it is."""
    factors = {name: rng.uniform(*limits) for name, limits in RANGES.items()}
    return replace(build, **{name: getattr(build, name) * f for name, f in factors.items()})


def scaled(build: Build, factor: float) -> Build:
    """The build, larger or smaller in the picture."""
    lengths = {field.name: factor * getattr(build, field.name) for field in fields(build)}
    return Build(**lengths)


def fitting(build: Build) -> Build:
    """The build, scaled down where it would stand taller than the characters do."""
    height = build.foot + build.leg + build.trunk + build.neck + 1.3 * build.head
    return scaled(build, min(1.0, STANDING_HEIGHT / height))


def shifted(pose: Pose, by) -> Pose:
    """A pose elsewhere: moved by (x, y), fractions of the picture."""
    return replace(pose, body=pose.body + by, hands=pose.hands + by, face=pose.face + by)
