"""How near a result is to the truth. Pictures are uint8 (f, H, W, 3), masks bool (f, H, W)."""

from dataclasses import replace

import cv2
import numpy as np
from skimage.metrics import structural_similarity

from animate_anyone.pose import Pose
from demo_model.drawing.character import Character
from demo_model.drawing.performance import Performance
from demo_model.drawing.render import render
from demo_model.drawing.scenery import backdrop

REGIONS = ("hair", "top", "bottom")  # colours of a character that a result must keep
JOINTS = {"hands": (4, 7), "feet": (10, 13), "elbows": (3, 6), "knees": (9, 12), "head": (0,)}
PATCH, REACH = 7, 12  # pixels: half a joint's patch, and how far it is looked for


def measure(performance: Performance, result: np.ndarray) -> dict[str, float]:
    """All measures of a result (f, H, W, 3) by name."""
    character, poses, truth = performance.character, performance.poses, performance.truth
    figure = figure_mask(character, np.stack([*truth, performance.reference]))
    masks = region_masks(character, poses, truth.shape[1])
    colours = {f"{name} colour": colour_error(result, truth, mask) for name, mask in masks.items()}
    joints = joint_error(result, truth, poses)
    return {
        "PSNR": psnr(result, truth),
        "SSIM": ssim(result, truth),
        "figure PSNR": psnr(result, truth, figure[:-1] | figure[-1:]),
        **colours,
        **{f"{name} px": error for name, error in joints.items()},
        "temporal": temporal_error(result, truth),
        "flicker": background_flicker(result, figure),
    }


def psnr(result: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB, mean over frames; of the masked pixels if a mask is
    given.
    """
    errors = np.square(result.astype(np.float64) - truth).mean(axis=-1)  # f H W
    if mask is None:
        mask = np.ones(errors.shape, bool)
    per_frame = [error[inside].mean() for error, inside in zip(errors, mask)]
    return float(np.mean(10 * np.log10(255**2 / np.maximum(per_frame, 1e-9))))


def ssim(result: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity, mean over frames (Wang et al. 2004, their Gaussian window)."""
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(
        np.mean(
            [
                structural_similarity(a, b, channel_axis=-1, data_range=255, **settings)
                for a, b in zip(result, truth)
            ]
        )
    )


def figure_mask(character: Character, pictures: np.ndarray) -> np.ndarray:
    """Where a character, or its shadow, covers the backdrop."""
    size = pictures.shape[1]
    empty = np.asarray(backdrop(character, 4 * size).reduce(4), np.int16)
    return np.abs(pictures - empty).max(axis=-1) > 8


def region_masks(character: Character, poses: list[Pose], size: int) -> dict[str, np.ndarray]:
    """Where hair, top and bottom are seen: the pixels that change as their colour does."""
    truth = [render(character, pose, size, size).astype(np.int16) for pose in poses]
    masks = {}
    for region in REGIONS:
        colour = getattr(character, region)
        other = replace(character, **{region: tuple((value + 128) % 256 for value in colour)})
        changed = [render(other, pose, size, size) for pose in poses]
        masks[region] = np.abs(np.subtract(changed, truth)).max(axis=-1) > 60
    return masks


def colour_error(result: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Distance between a region's mean colours, in RGB steps of 1/255, mean over frames."""
    seen = [(a[m].mean(0), b[m].mean(0)) for a, b, m in zip(result, truth, mask) if m.sum() > 8]
    return float(np.mean([np.linalg.norm(a - b) for a, b in seen])) if seen else np.nan


def joint_error(result: np.ndarray, truth: np.ndarray, poses: list[Pose]) -> dict[str, float]:
    """How many pixels joints are away from where they belong, mean over frames.

    A joint is found where its patch of the true picture fits the result best (least squared
    error), looked for within `REACH` pixels around the true place.
    """
    size, margin = truth.shape[1], PATCH + REACH
    errors = {}
    for name, joints in JOINTS.items():
        distances = []
        for a, b, pose in zip(result, truth, poses):
            for joint in joints:
                x, y = np.clip((pose.body[joint] * size).astype(int), 0, size - 1) + margin
                wide, narrow = (_around(p, x, y, r) for p, r in ((a, margin), (b, PATCH)))
                fit = cv2.matchTemplate(wide, narrow, cv2.TM_SQDIFF)
                row, column = np.unravel_index(fit.argmin(), fit.shape)
                distances.append(np.hypot(row - REACH, column - REACH))
        errors[name] = float(np.mean(distances))
    return errors


def temporal_error(result: np.ndarray, truth: np.ndarray) -> float:
    """Mean absolute error of the differences between neighbouring frames, in steps of 1/255."""
    moves = (np.diff(pictures.astype(np.float64), axis=0) for pictures in (result, truth))
    return float(np.abs(np.subtract(*moves)).mean())


def background_flicker(result: np.ndarray, figure: np.ndarray) -> float:
    """Standard deviation over time of pixels that no frame's figure touches, in steps of 1/255."""
    still = ~figure.any(axis=0)
    return float(result[:, still].std(axis=0).mean())


def _around(picture: np.ndarray, x: int, y: int, reach: int) -> np.ndarray:
    """The square about (x, y), which are counted from the edge of a border of the widest square."""
    border = PATCH + REACH
    framed = cv2.copyMakeBorder(picture, *(border,) * 4, cv2.BORDER_REPLICATE)
    return framed[y - reach : y + reach + 1, x - reach : x + reach + 1]
