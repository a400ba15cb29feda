"""Clips of the small model, longer and shorter than a window: each way to lay windows against the
true video.

    python -m benchmarks.clips --frames 1 4 8 12 48 240

PSNR is in dB, mean over characters and frames. The drift is the distance between the mean colours
of a character's first 24 frames and of its last 24, less that of the true video, in RGB steps of
1/255.
"""

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

from animate_anyone.convert.convert import convert_models
from animate_anyone.run.pipeline import OVAnimateAnyonePipeline
from benchmarks.common import table
from demo_model.drawing.performance import Performance
from demo_model.files import MODELS, WEIGHTS
from demo_model.measuring.measures import psnr

SCHEDULES = "uniform", "open"
WINDOW = 24


def drift(result: np.ndarray, truth: np.ndarray) -> float:
    """How far mean colours move beyond what they move in truth; frames are (f, H, W, 3)."""

    def moved(frames: np.ndarray) -> np.ndarray:
        return frames[-WINDOW:].mean(axis=(0, 1, 2)) - frames[:WINDOW].mean(axis=(0, 1, 2))

    return float(np.linalg.norm(moved(result) - moved(truth)))


def measure(pipe, frames: int, characters: int, steps: int) -> tuple:
    """A row: PSNR of both schedules, their difference, drift of both."""
    scores = []
    for index in tqdm(range(characters), desc=f"{frames} frames", unit="character"):
        show = Performance.held_out(index, frames)
        settings = {"num_inference_steps": steps, "guidance_scale": 1.0}
        results = [show.animate(pipe, context_schedule=way, **settings) for way in SCHEDULES]
        scores.append(
            [*(psnr(r, show.truth) for r in results), *(drift(r, show.truth) for r in results)]
        )
    old, new, *drifts = np.mean(scores, axis=0)
    drifts = [f"{value:.2f}" if frames > WINDOW else "" for value in drifts]
    return frames, f"{old:.2f}", f"{new:.2f}", f"{new - old:+.2f}", *drifts


def main() -> None:
    """Command line; prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--frames", type=int, nargs="+", default=[1, 4, 8, 12, 48, 240])
    parser.add_argument("--characters", type=int, default=2)
    parser.add_argument("--steps", type=int, default=4)
    options = parser.parse_args()
    pipe = OVAnimateAnyonePipeline.from_pretrained(convert_models(WEIGHTS, options.models))
    rows = []
    for frames in options.frames:
        rows.append(measure(pipe, frames, options.characters, options.steps))
        print(rows[-1], flush=True)
    heads = ["frames", *SCHEDULES, "difference", *(f"drift, {way}" for way in SCHEDULES)]
    print(table(heads, rows, numbers_from=0))


if __name__ == "__main__":
    main()
