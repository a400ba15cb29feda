"""Animate a shipped character with a shipped motion: what `make demo` runs.

python -m demo_model.show --character crown --motion wave
"""

import argparse
import sys
from pathlib import Path

from animate_anyone.cli import main as command
from animate_anyone.media.read import read_video
from animate_anyone.media.write import write_gif
from demo_model.examples import CHARACTERS, FOLDER, MOTIONS
from demo_model.files import MODELS, WEIGHTS

OUTPUT = MODELS.parent / "demo"


def show(character: str, motion: str, folder: Path) -> int:
    """Convert where needed and animate, as anyone does with pictures and videos of their own; write
    mp4 and GIF to a folder and return the exit code of the commands.
    """
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / f"{character}-{motion}.mp4"
    models = ["--models", str(MODELS)]
    inputs = [
        "--reference",
        str(FOLDER / f"{character}.png"),
        "--pose",
        str(FOLDER / f"{motion}.mp4"),
    ]
    failed = command(["convert", "--weights", str(WEIGHTS), *models]) or command(
        ["animate", *models, *inputs, "--output", str(result)]
    )
    if not failed:
        video = read_video(result)
        print(write_gif(video.frames, result.with_suffix(".gif"), video.fps))
    return failed


def main() -> int:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--character", choices=CHARACTERS, default="curly")
    parser.add_argument("--motion", choices=MOTIONS, default="dance")
    options = parser.parse_args()
    return show(options.character, options.motion, OUTPUT)


if __name__ == "__main__":
    sys.exit(main())
