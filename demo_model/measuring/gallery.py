"""Animate several held-out characters in several held-out motions: makes `animate-anyone.gif`.

python -m demo_model.measuring.gallery --characters 3 8 --motions slow_dance mixture_102
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from animate_anyone.convert.convert import convert_models
from animate_anyone.media.images import side_by_side
from animate_anyone.media.write import write_gif
from animate_anyone.run.pipeline import OVAnimateAnyonePipeline
from demo_model.drawing.motion import HELD_OUT_MOTIONS
from demo_model.drawing.performance import FPS, Performance
from demo_model.files import HOME, MODELS, WEIGHTS

OUTPUT = HOME.parent / "animate-anyone.gif"


def gallery(pipe: OVAnimateAnyonePipeline, characters: list[int], motions: list[str], frames: int):
    """One picture per frame: a row per motion, in it reference, pose and result per character."""
    rows = []
    for motion in motions:
        cells = []
        for index in characters:
            show = Performance.of(index, motion, frames)
            result = [Image.fromarray(frame) for frame in show.animate(pipe)]
            cells.append(list(side_by_side(Image.fromarray(show.reference), show.maps, result)))
        rows.append(cells)
    return [
        Image.fromarray(np.vstack([np.hstack([cell[k] for cell in row]) for row in rows]))
        for k in range(frames)
    ]


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--characters", type=int, nargs="+", default=[0, 1], help="which of the held-out ones")
    add("--motions", nargs="+", choices=HELD_OUT_MOTIONS, default=["slow_dance", "mixture_100"])
    add("--frames", type=int, default=24)
    add("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    pipe = OVAnimateAnyonePipeline.from_pretrained(convert_models(WEIGHTS, MODELS))
    pictures = gallery(pipe, options.characters, options.motions, options.frames)
    print(write_gif(pictures, options.output, FPS))


if __name__ == "__main__":
    main()
