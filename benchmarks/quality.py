"""Quality over time: schedulers, steps, guidance and caching on held-out characters of the small
model.

    python -m benchmarks.quality --characters 4

The first row is the yardstick: the plain conversion (`plain.py`) with 30 steps of DDIM and guidance
in all of them. The presets take their shares of 30 steps. Ways take turns on each character, so
that a noisy machine is noisy for all; times are those of a whole clip of 24 frames, from reference
to pictures, compiled beforehand. Prints a Markdown table and draws a chart.
"""

import argparse
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

import diffusers
import matplotlib.pyplot as plt
import numpy as np
import openvino as ov
import torch
from tqdm import tqdm

from animate_anyone.base.config import DEFAULT_SCHEDULER, GenerationConfig
from animate_anyone.convert.convert import convert_models
from animate_anyone.run.pipeline import OVAnimateAnyonePipeline
from animate_anyone.run.presets import PRESETS
from animate_anyone.runtime import OVPart
from benchmarks.charts import RESULTS, plain_ticks, save
from benchmarks.common import table
from benchmarks.plain import convert as convert_plain
from demo_model.drawing.performance import Performance
from demo_model.files import MODELS, WEIGHTS
from demo_model.measuring.measures import measure

CHART = RESULTS / "quality.png"
STEPS = (7, 10, 15, 20, 30)
SCHEDULERS = {
    "DDIM": diffusers.DDIMScheduler,
    "UniPC": diffusers.UniPCMultistepScheduler,  # its default is bh2
    "DPM++ 2M": diffusers.DPMSolverMultistepScheduler,
}


@dataclass
class Recipe:
    """One recipe to sample, and what it cost and gave, character by character."""

    name: str
    family: str
    settings: dict
    seconds: list[float] = field(default_factory=list)
    scores: list[dict] = field(default_factory=list)

    def mean(self, measure: str) -> float:
        """Mean of a measure over the characters."""
        return statistics.mean(score[measure] for score in self.scores)


class PlainPipeline(OVAnimateAnyonePipeline):
    """The same pipeline around the plain conversion, which answers for both halves at once."""

    plain: OVPart

    def prepare(self, reference_image, pose_images, size, fit="crop", *, keep_deep_features=False):
        """See `OVAnimateAnyonePipeline.prepare`; the unconditional half is asked for second."""
        embedding = self.encode_image(reference_image)
        features = self.reference_features(reference_image, embedding, *size, fit)
        pose_features = self.pose_features(pose_images, *size, fit)
        embeddings = np.concatenate([np.zeros_like(embedding), embedding])
        unconditional = None

        def predict(sample, timestep, frames, *, conditional, last_layer_only=False):
            nonlocal unconditional
            if not conditional:
                return unconditional
            answer = self.plain(
                sample=torch.cat([sample, sample]).numpy(),
                timestep=np.array([timestep], np.float32),
                encoder_hidden_states=embeddings,
                pose_features=np.repeat(pose_features(frames), 2, axis=0),
                **features,
            )["noise_pred"]
            unconditional, answer = torch.from_numpy(answer).chunk(2)
            return answer

        return predict


def recipes(guidance: float) -> list[Recipe]:
    """The yardstick, every scheduler with every number of steps, the options, the presets."""
    full = {"guidance_scale": guidance, "num_inference_steps": 30}
    found = [Recipe("plain conversion, DDIM 30", "plain", full)]
    schedulers = {name: kind.from_config(DEFAULT_SCHEDULER) for name, kind in SCHEDULERS.items()}
    for name, scheduler in schedulers.items():
        for steps in STEPS:
            settings = full | {"num_inference_steps": steps, "scheduler": scheduler}
            found.append(Recipe(f"{name} {steps}", name, settings))
    ddim = full | {"scheduler": schedulers["DDIM"]}
    for interval in (2, 3):
        settings = ddim | {"cache_interval": interval}
        found.append(Recipe(f"DDIM 30, cache_interval={interval}", "cache", settings))
    for interval in (2, 3, 5):
        settings = ddim | {"deep_cache_interval": interval}
        found.append(Recipe(f"DDIM 30, deep_cache_interval={interval}", "deep cache", settings))
    unipc = full | {"scheduler": schedulers["UniPC"]}
    settings = unipc | {"num_inference_steps": 15, "deep_cache_interval": 2}
    found.append(Recipe("UniPC 15, deep_cache_interval=2", "deep cache", settings))
    for name, steps, base in (("DDIM", 30, ddim), ("UniPC", 15, unipc), ("UniPC", 7, unipc)):
        for end in (0.4, 0.5, 0.7):
            settings = base | {"num_inference_steps": steps, "guidance_interval": (0.0, end)}
            found.append(Recipe(f"{name} {steps}, guidance until {end:.0%}", "interval", settings))
    for preset in PRESETS:
        settings = {"preset": preset, "guidance_scale": guidance}
        found.append(Recipe(f"preset={preset!r}", "preset", settings))
    return found


def measure_all(found: list[Recipe], characters: int) -> None:
    """Let the recipes take turns on each character; fills in their seconds and scores."""
    models = convert_models(WEIGHTS, MODELS)
    path = convert_plain(WEIGHTS, models)
    pipes = {
        kind: kind.from_pretrained(models) for kind in (PlainPipeline, OVAnimateAnyonePipeline)
    }
    pipes[PlainPipeline].plain = OVPart(ov.Core(), path, "CPU", {})
    warm_up = Performance.held_out(0)
    for pipe in pipes.values():
        pipe.generation_config = GenerationConfig(30, width=128, height=128)
        warm_up.animate(pipe, num_inference_steps=1, guidance_scale=2.0)
    warm_up.animate(
        pipes[OVAnimateAnyonePipeline], num_inference_steps=2, deep_cache_interval=2
    )  # compiles the last layer
    for index in tqdm(range(characters), desc="Measuring", unit="character"):
        show = Performance.held_out(index)
        show.maps, show.reference  # noqa: B018 - drawn before the clock starts
        for recipe in found:
            pipe = pipes[PlainPipeline if recipe.family == "plain" else OVAnimateAnyonePipeline]
            start = time.perf_counter()
            result = show.animate(pipe, **recipe.settings)
            recipe.seconds.append(time.perf_counter() - start)
            recipe.scores.append(measure(show, result))


def speed_up(recipe: Recipe, yardstick: Recipe) -> float:
    """How many times faster, the median over characters of ratios taken side by side."""
    return statistics.median(a / b for a, b in zip(yardstick.seconds, recipe.seconds))


def as_table(found: list[Recipe]) -> str:
    """Markdown, one row per recipe."""
    rows = [
        (
            recipe.name,
            f"{speed_up(recipe, found[0]):.1f}",
            f"{recipe.mean('PSNR'):.2f}",
            f"{recipe.mean('SSIM'):.3f}",
            f"{recipe.mean('temporal'):.1f}",
        )
        for recipe in found
    ]
    return table(["recipe", "times faster", "PSNR", "SSIM", "temporal"], rows)


def draw(found: list[Recipe], path: Path) -> Path:
    """PSNR and SSIM over the time of a clip, as shares of the yardstick's."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for panel, score in zip(panels, ("PSNR", "SSIM")):
        for family in dict.fromkeys(recipe.family for recipe in found):
            some = [recipe for recipe in found if recipe.family == family]
            times = [1 / speed_up(recipe, found[0]) for recipe in some]
            joined = "-o" if family in SCHEDULERS else "D"
            panel.plot(times, [recipe.mean(score) for recipe in some], joined, label=family, ms=5)
        panel.set(xlabel="time, plain conversion = 1", ylabel=score, xscale="log")
        plain_ticks(panel.xaxis)
        panel.grid(True, which="both", alpha=0.3)
    panels[0].legend(fontsize="small")
    return save(figure, path)


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--characters", type=int, default=4)
    parser.add_argument("--guidance", type=float, default=1.5, help="strength in all recipes")
    parser.add_argument("--chart", type=Path, default=CHART)
    options = parser.parse_args()
    found = recipes(options.guidance)
    measure_all(found, options.characters)
    print(as_table(found))
    draw(found, options.chart)


if __name__ == "__main__":
    main()
