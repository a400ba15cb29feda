"""What 8-bit arithmetic costs in quality, one kind of layer at a time.

    python -m benchmarks.int8 --characters 4

The denoising UNet of the small model is quantised with `animate_anyone.quantize`, calibrated on a
character that it was trained on, and animates held-out ones at its recommended settings. The first
row has 8-bit weights only. *change* is how near the frames are to those of the first row, in dB;
the time is that of the UNet alone, as a share of the first row's, in turns. Prints a Markdown
table.
"""

import argparse
import re
import statistics
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import openvino as ov
from PIL import Image
from tqdm import tqdm

from animate_anyone.base.config import reference_feature_names
from animate_anyone.calibrate import CALIBRATION_FRAMES, PipelineCalibration
from animate_anyone.convert.checkpoints import load_part
from animate_anyone.convert.convert import convert_models
from animate_anyone.convert.export import to_openvino
from animate_anyone.convert.quantize import KEPT, quantize, split_layers
from animate_anyone.run.pipeline import OVAnimateAnyonePipeline
from animate_anyone.runtime import OVPart
from benchmarks.common import table
from demo_model.drawing.character import random_character
from demo_model.drawing.performance import FPS, Performance
from demo_model.drawing.skeleton import pose_at
from demo_model.files import MODELS, WEIGHTS
from demo_model.measuring.measures import measure, psnr

KINDS = {  # the first pattern that is found in a layer's path decides
    "timestep embedding": r"time_emb",
    "first and last convolution": r"conv_in|conv_out",
    "down- and upsampling": r"samplers",
    "shortcuts": r"conv_shortcut",
    "residual blocks": r"resnets",
    "motion: attention": r"motion_modules.*(to_[qkv]|to_out)",
    "motion: the rest": r"motion_modules",
    "reference attention": r"attn1",
    "image attention": r"attn2",
    "feed-forward": r"\.ff[./]",
    "in and out of blocks": r"attentions\.\d+/",
}


@dataclass
class Variant:
    """A way to quantise, and what came of it, character by character."""

    name: str
    kept: tuple[str, ...]
    layers: int = 0
    pipe: OVAnimateAnyonePipeline | None = None
    results: list[np.ndarray] = field(default_factory=list)
    scores: list[dict] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def mean(self, name: str) -> float:
        """Mean of a measure over the characters."""
        return statistics.mean(score[name] for score in self.scores)


def kind_of(layer: str) -> str:
    """Which of `KINDS` a layer is, by its path."""
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, layer)), "others")


def calibration() -> PipelineCalibration:
    """On a character of the training set in one of its motions."""
    times = [k / FPS for k in range(CALIBRATION_FRAMES)]
    character = random_character(0)
    show = Performance(character, [pose_at(character, "dance", time) for time in times])
    return PipelineCalibration(Image.fromarray(show.reference), show.maps)


def make_variants(folder: Path, sweep: bool) -> list[Variant]:
    """All but `quantize.KEPT` in 8 bits; before that, in a sweep, every kind alone and all
    together.
    """
    models = convert_models(WEIGHTS, MODELS)
    inputs = calibration().record(models)
    module = load_part("denoising_unet", WEIGHTS)
    model = to_openvino("denoising_unet", module)
    layers, _ = split_layers(model, ())
    kinds = {name: kind_of(name) for name in layers}
    found = [Variant("8-bit weights only", ())]
    for kind in dict.fromkeys(kinds.values()) if sweep else ():
        others = tuple(f"^{re.escape(name)}$" for name in layers if kinds[name] != kind)
        found.append(Variant(f"only {kind}", others))
    found += [Variant("all", ())] * sweep + [Variant("all but those kept", KEPT)]
    for index, variant in enumerate(tqdm(found, desc="Quantising")):
        variant.pipe = OVAnimateAnyonePipeline.from_pretrained(models)
        if index:
            path = folder / f"{index}.xml"
            variant.layers = len(split_layers(model, variant.kept)[0])
            ov.save_model(quantize(model.clone(), inputs, variant.kept), path)
            dynamic = {name: 1 for name in reference_feature_names(variant.pipe.config.unet)}
            variant.pipe.parts["denoising_unet"] = OVPart(ov.Core(), path, "CPU", {}, dynamic)
    return found


def measure_all(found: list[Variant], characters: int) -> None:
    """Let the variants take turns on each character."""
    for variant in found:
        Performance.held_out(0).animate(variant.pipe)  # compiles
    for index in tqdm(range(characters), desc="Measuring", unit="character"):
        show = Performance.held_out(index)
        for variant in found:
            part = variant.pipe.parts["denoising_unet"]
            before = part.seconds
            variant.results.append(show.animate(variant.pipe))
            variant.seconds.append(part.seconds - before)
            variant.scores.append(measure(show, variant.results[-1]))


def as_table(found: list[Variant]) -> str:
    """Markdown, one row per variant."""
    first, rows = found[0], []
    for variant in found:
        pairs = zip(variant.results, first.results)
        change = "" if variant is first else f"{statistics.mean(psnr(a, b) for a, b in pairs):.1f}"
        time = statistics.median(a / b for a, b in zip(variant.seconds, first.seconds))
        scores = f"{variant.mean('PSNR'):.2f}", f"{variant.mean('SSIM'):.3f}"
        rows.append((variant.name, variant.layers, *scores, change, f"{time:.2f}"))
    return table(["8-bit arithmetic in", "layers", "PSNR", "SSIM", "change", "time"], rows)


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--characters", type=int, default=4)
    parser.add_argument("--no-sweep", action="store_true", help="only what `convert` makes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = make_variants(Path(folder), not options.no_sweep)
        measure_all(found, options.characters)
    print(as_table(found))


if __name__ == "__main__":
    main()
