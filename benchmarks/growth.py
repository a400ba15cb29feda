"""How the time of a denoising step grows with frames and with pixels.

    python benchmarks/growth.py --models build/demo_models

A step runs the half that sees the reference, in windows of 24 frames that share 4, as the pipeline does by
default. Frames grow at the smallest size, pixels at the fewest frames. Prints a Markdown table and
draws a chart; times are shares of the first point's.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from animate_anyone.context import context_windows
from animate_anyone.denoise import windowed_prediction
from animate_anyone.pipeline import OVAnimateAnyonePipeline
from benchmarks.charts import RESULTS, plain_ticks, save

CHART = RESULTS / "growth.png"


def step_of(pipe: OVAnimateAnyonePipeline, side: int, frames: int):
    """A function that runs one step on noise, at side×side pixels."""
    noise = np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)
    picture = Image.fromarray(noise)
    embedding = pipe.encode_image(picture)
    features = pipe.reference_features(picture, embedding, side, side)
    poses = pipe.pose_features([picture] * frames, side, side)
    for name in ("image_encoder", "vae_encoder", "reference_unet"):
        pipe.parts[name].release()
    denoiser, windows = pipe.denoiser(embedding, features, poses), context_windows(frames)
    latents = pipe.prepare_latents(frames, side, side, None)
    return lambda: windowed_prediction(denoiser, latents, 500.0, windows, guidance_scale=1.0)


def seconds_of(step, repeats: int) -> float:
    """Median time; the first call compiles and does not count."""
    step()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def measure(models: Path, frames: list[int], sides: list[int], repeats: int) -> dict:
    """{(side, frames): seconds}."""
    pipe = OVAnimateAnyonePipeline.from_pretrained(models)
    points = [(sides[0], count) for count in frames] + [(side, frames[0]) for side in sides[1:]]
    return {
        point: seconds_of(step_of(pipe, *point), repeats)
        for point in tqdm(points, desc="Measuring", unit="size")
    }


def as_table(seconds: dict) -> str:
    """Markdown, one row per size."""
    first = next(iter(seconds.values()))
    lines = ["| pixels | frames | seconds | to the first |", "|---|---|---|---|"]
    for (side, frames), value in seconds.items():
        lines.append(f"| {side}×{side} | {frames} | {value:.2f} | {value / first:.2f} |")
    return "\n".join(lines)


def draw(seconds: dict, path: Path) -> Path:
    """One line over frames, one over pixels, beside what proportional growth would be."""
    (side, frames), first = next(iter(seconds.items()))
    lines = {
        f"frames, at {side}×{side}": {f / frames: s for (a, f), s in seconds.items() if a == side},
        f"pixels, at {frames} frames": {
            a**2 / side**2: s for (a, f), s in seconds.items() if f == frames
        },
    }
    figure, panel = plt.subplots(figsize=(5, 4), layout="constrained")
    for label, line in lines.items():
        panel.loglog(list(line), [value / first for value in line.values()], "-o", label=label)
    most = max(factor for line in lines.values() for factor in line)
    panel.loglog([1, most], [1, most], "--", color="grey", label="proportional")
    panel.set(xlabel="how many times more", ylabel="how many times slower")
    plain_ticks(panel.xaxis, panel.yaxis)
    panel.grid(True, which="both", alpha=0.3)
    panel.legend(fontsize="small")
    return save(figure, path)


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--frames", type=int, nargs="+", default=[8, 16, 24, 48, 96])
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 384, 512], help="pixels")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--chart", type=Path, default=CHART)
    options = parser.parse_args()
    frames, sides = sorted(options.frames), sorted(options.sides)
    seconds = measure(options.models, frames, sides, options.repeats)
    print(as_table(seconds))
    draw(seconds, options.chart)


if __name__ == "__main__":
    main()
