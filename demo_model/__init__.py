"""The small model's world: random 2D characters, their motions, and pictures of both.

A character is a function of a seed, a pose of character, motion and time, a picture of character
and pose, so the truth is known exactly for every frame. What the small model must never
see in training is held out here: the characters of HELD_OUT_SEEDS, and HELD_OUT_MOTIONS, which are
eight mixtures with seeds of their own and two named motions at another speed and phase.
"""

from demo_model.drawing.character import HELD_OUT_SEEDS, TRAIN_SEEDS, Character, random_character
from demo_model.drawing.motion import HELD_OUT_MOTIONS, MOTIONS, TRAIN_MOTIONS, Motion
from demo_model.drawing.render import pose_map, render, render_clip
from demo_model.drawing.skeleton import pose_at

__all__ = [
    "HELD_OUT_MOTIONS",
    "HELD_OUT_SEEDS",
    "MOTIONS",
    "TRAIN_MOTIONS",
    "TRAIN_SEEDS",
    "Character",
    "Motion",
    "pose_at",
    "pose_map",
    "random_character",
    "render",
    "render_clip",
]
