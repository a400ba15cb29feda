"""Let films of two bodies drive two characters: makes `animate-anyone.gif`.

python -m demo_model.measuring.gallery --characters curly crown --films lanky stocky
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from animate_anyone.convert.convert import convert_models
from animate_anyone.convert.poses import convert_pose_models
from animate_anyone.inputs import read_inputs
from animate_anyone.jobs import make_latents
from animate_anyone.media.images import row
from animate_anyone.media.read import read_video
from animate_anyone.media.write import write_gif
from animate_anyone.run.pipeline import OVAnimateAnyonePipeline
from animate_anyone.settings import AnimationSettings, Output
from demo_model.drawing.performance import FPS
from demo_model.examples import CHARACTERS, FILMS, FOLDER
from demo_model.files import HOME, MODELS, WEIGHTS

OUTPUT = HOME.parent / "animate-anyone.gif"


def panels(pipe: OVAnimateAnyonePipeline, character: str, film: str) -> Iterator[Image.Image]:
    """Film, fitted skeleton and result beside each other, one picture per frame."""
    settings = AnimationSettings(
        reference=str(FOLDER / f"{character}.png"),
        video=str(FOLDER / f"{film}.mp4"),
        outputs=(Output(str(OUTPUT)),),
    )
    inputs = read_inputs(pipe, settings)
    results = pipe.decode_frames(make_latents(pipe, inputs, settings))
    for frame, pose, result in zip(read_video(settings.video).frames, inputs.poses, results):
        yield row([frame.resize(result.size, Image.Resampling.LANCZOS), pose, result])


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--characters", nargs="+", choices=CHARACTERS, default=["curly", "crown"])
    add("--films", nargs="+", choices=FILMS, default=["lanky", "stocky"], help="one for each")
    add("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    convert_pose_models(WEIGHTS, MODELS)
    pipe = OVAnimateAnyonePipeline.from_pretrained(convert_models(WEIGHTS, MODELS))
    rows = [panels(pipe, *pair) for pair in zip(options.characters, options.films)]
    pictures = [Image.fromarray(np.vstack(pair)) for pair in zip(*rows)]
    print(write_gif(pictures, options.output, FPS))


if __name__ == "__main__":
    main()
