"""How the time of a denoising step grows with frames and with pixels.

    python -m benchmarks.growth --models build/demo_models

A step runs the half that sees the reference, in windows of 24 frames that share 4, as the pipeline
does by default. Frames grow at the smallest size, pixels at the fewest frames. Prints a Markdown
table and draws a chart; times are shares of the first point's.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
from tqdm import tqdm

from animate_anyone.run.denoise import windowed_prediction
from animate_anyone.run.pipeline import OVAnimateAnyonePipeline
from animate_anyone.run.windows import context_schedule
from benchmarks.charts import RESULTS, plain_ticks, save
from benchmarks.common import median_seconds, prepared, table

CHART = RESULTS / "growth.png"


def step_of(pipe: OVAnimateAnyonePipeline, side: int, frames: int):
    """A function that runs one step on noise, at side×side pixels."""
    denoiser, latents = prepared(pipe, (side, side), frames)
    windows = context_schedule("open", frames)
    return lambda: windowed_prediction(denoiser, latents, 500.0, windows, guidance_scale=1.0)


def measure(models: Path, frames: list[int], sides: list[int], repeats: int) -> dict:
    """{(side, frames): seconds}."""
    pipe = OVAnimateAnyonePipeline.from_pretrained(models)
    points = [(sides[0], count) for count in frames] + [(side, frames[0]) for side in sides[1:]]
    return {
        point: median_seconds(step_of(pipe, *point), repeats)
        for point in tqdm(points, desc="Measuring", unit="size")
    }


def as_table(seconds: dict) -> str:
    """Markdown, one row per size."""
    first = next(iter(seconds.values()))
    rows = [
        (f"{side}×{side}", frames, f"{value:.2f}", f"{value / first:.2f}")
        for (side, frames), value in seconds.items()
    ]
    return table(["pixels", "frames", "seconds", "to the first"], rows)


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
