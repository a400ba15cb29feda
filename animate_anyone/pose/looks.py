"""Tells pose videos from films by a few of their frames, and skeletons in swapped colours.

A pose video shows thin lines in pure colours on black. Measured on the longer side of 256 pixels:
published ones and ours, also compressed strongly, with grey instead of black, or shrunk to 96
pixels, are black for 92 % or more, and 21 % or more of what is bright is pure; a film in which
black bars or darkness cover most has 3 % (`tests/test_pose_film.py` has their kinds).
"""

import logging
from itertools import islice

import numpy as np
from PIL import Image

from ..media.read import open_film

logger = logging.getLogger(__name__)

SIDE = 256  # pixels
FRAMES = range(0, 21, 4)  # that are looked at
BLACK, BRIGHT = 48, 96  # highest channel of what is black, of what is drawn
WHITE, PURE = 190, 0.35  # lowest channel of white; lowest over highest channel of a pure colour
LEAST_BLACK, LEAST_PURE = 0.5, 0.1  # shares of a frame that may be a pose frame
MOST_BLACK = 0.85  # share of black from which other colours do, too
SURE_BLACK, SURE_PURE = 0.8, 0.5  # of one that is nothing else
WARM, COOL = (20, 70), (170, 220)  # degrees of hue: of the arms; of the left side of the trunk
LEAST_COLOURED = 20  # pixels of a hue that tell where it is


def check_is_poses(path) -> None:
    """Raises ValueError where a video is a film; warns of a skeleton whose red and blue are
    swapped.
    """
    frames = some_frames(path)
    if look_filmed(frames):
        raise ValueError(
            f"{path} must be a video of skeletons on black, it looks like a film: pass it as"
            " --video, which finds the poses in it"
        )
    if frames and np.mean([is_swapped(frame) for frame in frames]) > 0.5:
        logger.warning("%s shows skeletons whose red and blue are swapped", path)


def check_is_film(path) -> None:
    """Raises ValueError where a video shows skeletons."""
    frames = some_frames(path)
    if frames and all(must_be_poses(frame) for frame in frames):
        raise ValueError(
            f"{path} must be a film of somebody, it looks like a video of skeletons: pass it as"
            " --pose"
        )


def is_film(path) -> bool:
    """Whether a video is rather a film than a pose video."""
    return look_filmed(some_frames(path))


def look_filmed(frames: list[np.ndarray]) -> bool:
    """Whether most frames cannot be pose frames."""
    return bool(frames) and bool(np.mean([may_be_poses(frame) for frame in frames]) < 0.5)


def some_frames(path) -> list[np.ndarray]:
    """A few frames from the beginning of a video, small; without those that are black."""
    with open_film(path) as film:
        chosen = islice(film.frames, FRAMES.start, FRAMES.stop, FRAMES.step)
        return [pixels for pixels in map(small, chosen) if not is_black(pixels)]


def small(frame: Image.Image) -> np.ndarray:
    """A frame as numbers (H, W, 3), at most SIDE pixels long."""
    frame = frame.convert("RGB")
    frame.thumbnail((SIDE, SIDE))
    return np.asarray(frame).astype(int)


def is_black(pixels: np.ndarray) -> bool:
    """Whether nothing is drawn."""
    return bool((pixels.max(axis=2) > BRIGHT).mean() < 0.001)


def may_be_poses(pixels: np.ndarray) -> bool:
    """Whether a frame that shows something could be a pose frame, also one in other colours."""
    black, pure = shares(pixels)
    return (black >= LEAST_BLACK and pure >= LEAST_PURE) or black >= MOST_BLACK


def must_be_poses(pixels: np.ndarray) -> bool:
    """Whether a frame that shows something is hardly anything else."""
    black, pure = shares(pixels)
    return black >= SURE_BLACK and pure >= SURE_PURE


def shares(pixels: np.ndarray) -> tuple[float, float]:
    """Of black in a frame, and of pure colours and white in what is bright."""
    highest, lowest = pixels.max(axis=2), pixels.min(axis=2)
    bright = highest > BRIGHT
    pure = (lowest < PURE * highest) | (lowest > WHITE)
    return float((highest <= BLACK).mean()), float(pure[bright].mean()) if bright.any() else 0.0


def is_swapped(pixels: np.ndarray) -> bool:
    """Whether the hues of a skeleton run from its feet up instead of down.

    Limbs are drawn in a rainbow: arms from orange to lime, the right leg green, the left one cyan
    and blue. Swapping red and blue turns it round.
    """
    highest = pixels.max(axis=2)
    spread = highest - pixels.min(axis=2)
    drawn = spread > 0.6 * np.maximum(highest, BRIGHT)
    red, green, blue = np.moveaxis(pixels, 2, 0)
    hue = np.degrees(np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue)) % 360
    rows = np.arange(len(pixels))[:, None] + np.zeros_like(hue)
    heights = []
    for low, high in (WARM, COOL):
        there = drawn & (hue > low) & (hue < high)
        if there.sum() < LEAST_COLOURED:
            return False
        heights.append(rows[there].mean())
    return bool(heights[0] > heights[1])
