"""How the character moves: every motion is a periodic function from phase to joint angles.

Angles are degrees. Arms and legs: 0 hangs straight down, positive turns outwards, away from the
body's middle line; elbow and knee add to the angle of the bone above. Phase is counted in cycles.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Joints:
    """One posture; the defaults stand at ease."""

    lean: float = 0  # of the trunk, positive to the picture's right
    tilt: float = 0  # of the head against the trunk, positive to the picture's right
    turn: float = 0  # of the face, -1 (picture's left) .. 1 (right)
    sway: float = 0  # of the hips to the picture's right, in leg lengths
    hop: float = 0  # of the lower foot above the ground, in leg lengths
    right_arm: float = 24
    right_elbow: float = -8
    left_arm: float = 24
    left_elbow: float = -8
    right_leg: float = 4
    right_knee: float = 0
    left_leg: float = 4
    left_knee: float = 0


@dataclass(frozen=True)
class Motion:
    period: float  # seconds a cycle takes
    posture: Callable[[float], Joints]  # of the phase, in cycles
    phase: float = 0  # where the cycle begins

    def joints(self, seconds: float) -> Joints:
        return self.posture((seconds / self.period + self.phase) % 1)


def walk(p: float) -> Joints:
    """On the spot, towards the picture's right: a positive left and a negative right is forward."""
    step = wave(p)
    return Joints(
        lean=3,
        tilt=2 * wave(2 * p),
        turn=0.6,
        right_arm=12 + 30 * step,
        right_elbow=-18 + 8 * step,
        left_arm=12 + 30 * step,
        left_elbow=18 + 8 * step,
        right_leg=-9 - 26 * step,
        right_knee=48 * pulse(p + 0.5) ** 2,
        left_leg=-9 - 26 * step,
        left_knee=-48 * pulse(p) ** 2,
    )


def wave_hand(p: float) -> Joints:
    side = wave(2 * p)
    posture = Joints(
        tilt=-6 + 3 * wave(p),
        turn=-0.15,
        right_arm=102 + 4 * side,
        right_elbow=32 + 25 * side,
        left_arm=30,
        left_elbow=-34,
    )
    return hips_moved(posture, 0.04 * wave(p))


def jumping_jack(p: float) -> Joints:
    out = eased(pulse(p))
    posture = both_arms(Joints(hop=0.16 * pulse(2 * p) ** 1.5), 14 + 112 * out, 2 + 10 * out)
    return replace(posture, right_leg=3 + 28 * out, left_leg=3 + 28 * out)


def dance(p: float) -> Joints:
    side, up = wave(p), eased(pulse(p + 0.25))
    posture = Joints(
        lean=9 * side,
        tilt=-14 * side,
        turn=0.4 * side,
        right_arm=46 + 72 * (1 - up),
        right_elbow=26 + 30 * up,
        left_arm=46 + 72 * up,
        left_elbow=56 - 30 * up,
    )
    return hips_moved(knees_bent(posture, 24 * pulse(2 * p)), 0.2 * side)


def squat(p: float) -> Joints:
    down = eased(pulse(p))
    posture = both_arms(Joints(), 20 + 66 * down, -8 + 20 * down)
    posture = replace(posture, right_leg=10, left_leg=10)
    return knees_bent(posture, 54 * down)


def sway(p: float) -> Joints:
    side = wave(p)
    posture = Joints(
        lean=-7 * side,
        tilt=12 * side,
        turn=0.75 * side,
        right_arm=34 - 26 * side,
        right_elbow=-14,
        left_arm=34 + 26 * side,
        left_elbow=-14,
    )
    return hips_moved(posture, 0.18 * side)


def kick(p: float) -> Joints:
    """The left leg swings back and then high to the picture's right."""
    back, out = bump(p, 0.25, 0.2), bump(p, 0.58, 0.26)
    posture = Joints(
        lean=5 * back - 15 * out,
        tilt=4 * out,
        turn=0.45,
        right_arm=30 + 46 * out - 10 * back,
        right_elbow=10,
        left_arm=30 + 30 * back + 46 * out,
        left_elbow=14,
        right_leg=4 - 4 * out,
    )
    posture = hips_moved(posture, -0.1 * out)
    return replace(posture, left_leg=4 - 22 * back + 84 * out, left_knee=-62 * back - 6 * out)


def bow(p: float) -> Joints:
    down = eased(eased(pulse(p)))
    posture = Joints(
        lean=46 * down,
        tilt=4 * down,
        turn=0.35 + 0.35 * down,
        right_arm=24 - 40 * down,
        right_elbow=-8 - 76 * down,
        left_arm=24 - 50 * down,
        left_elbow=-8 - 10 * down,
    )
    return hips_moved(posture, -0.36 * down)


def cheer(p: float) -> Joints:
    up = eased(pulse(2 * p))
    posture = both_arms(Joints(hop=0.12 * up, tilt=7 * wave(p)), 92 + 28 * up, 44 - 24 * up)
    return knees_bent(posture, 26 * (1 - up))


def mixture(seed: int) -> Motion:
    """A motion nobody named: smooth random curves through natural ranges of every joint."""
    rng = np.random.default_rng([seed, 0x3017])

    def curve(low: float, high: float) -> Callable[[float], float]:
        """A random part of a range, crossed once and, less far, twice a cycle."""
        span = rng.uniform(0.4, 1) * (high - low)
        middle = rng.uniform(low + span / 2, high - span / 2)
        first, second = rng.uniform(0, 1, 2)
        return lambda p: middle + span * (0.36 * wave(p + first) + 0.14 * wave(2 * p + second))

    channels = {name: curve(*NATURAL[name]) for name in NATURAL}
    hips, knees = curve(-0.2, 0.2), curve(0, 40)

    def posture(p: float) -> Joints:
        joints = Joints(**{name: channel(p) for name, channel in channels.items()})
        return hips_moved(knees_bent(joints, knees(p)), hips(p))

    return Motion(period=rng.uniform(1.4, 2.6), posture=posture)


NATURAL = {
    "lean": (-12, 12),
    "tilt": (-14, 14),
    "turn": (-0.7, 0.7),
    "right_arm": (4, 140),
    "right_elbow": (-60, 70),
    "left_arm": (4, 140),
    "left_elbow": (-60, 70),
    "right_leg": (-2, 26),
    "left_leg": (-2, 26),
}


def wave(p: float) -> float:
    """-1..1, from 0 upwards."""
    return float(np.sin(2 * np.pi * p))


def pulse(p: float) -> float:
    """0..1..0 over one cycle."""
    return (1 - float(np.cos(2 * np.pi * p))) / 2


def bump(p: float, centre: float, half_width: float) -> float:
    """0 but for a smooth 0..1..0 about a phase."""
    return pulse(float(np.clip((p - centre) / half_width, -1, 1)) / 2 + 0.5)


def eased(u: float) -> float:
    """0..1 with a rest at either end (smoothstep)."""
    return u * u * (3 - 2 * u)


def both_arms(joints: Joints, arm: float, elbow: float) -> Joints:
    return replace(joints, right_arm=arm, left_arm=arm, right_elbow=elbow, left_elbow=elbow)


def knees_bent(joints: Joints, angle: float) -> Joints:
    """Knees apart, feet hardly moved: thigh and shin are equally long."""
    bent = {"right_knee": joints.right_knee - 2 * angle, "left_knee": joints.left_knee - 2 * angle}
    return replace(
        joints, right_leg=joints.right_leg + angle, left_leg=joints.left_leg + angle, **bent
    )


def hips_moved(joints: Joints, sway: float) -> Joints:
    """Hips aside by some leg lengths while the feet stay where they were."""
    angle = float(np.degrees(np.arcsin(sway)))
    return replace(
        joints,
        sway=joints.sway + sway,
        right_leg=joints.right_leg + angle,
        left_leg=joints.left_leg - angle,
    )


TRAIN_MOTIONS: dict[str, Motion] = {
    "walk": Motion(1.1, walk),
    "wave": Motion(1.6, wave_hand),
    "jumping_jack": Motion(1.2, jumping_jack),
    "dance": Motion(1.5, dance),
    "squat": Motion(1.8, squat),
    "sway": Motion(2.0, sway),
    "kick": Motion(1.6, kick),
    "bow": Motion(2.6, bow),
    "cheer": Motion(1.4, cheer),
} | {f"mixture_{seed:02d}": mixture(seed) for seed in range(64)}

# Never trained on: other mixtures, and two named motions at another speed and phase.
HELD_OUT_MOTIONS: dict[str, Motion] = {
    f"mixture_{seed}": mixture(seed) for seed in range(100, 108)
} | {"slow_dance": Motion(2.3, dance, phase=0.37), "fast_wave": Motion(1.1, wave_hand, phase=0.19)}

MOTIONS: dict[str, Motion] = TRAIN_MOTIONS | HELD_OUT_MOTIONS
