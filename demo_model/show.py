"""Animate a shipped character with a shipped film: what `make demo` runs.

python -m demo_model.show --character crown --film stocky
"""

import argparse
import sys
from pathlib import Path

from animate_anyone.cli import main as command
from animate_anyone.media.read import read_video
from animate_anyone.media.write import write_gif
from demo_model.examples import CHARACTERS, FILMS, FOLDER, MOTIONS
from demo_model.files import MODELS, WEIGHTS

OUTPUT = MODELS.parent / "demo"


def show(character: str, driver: list[str], name: str, folder: Path) -> int:
    """Convert where needed and animate, as anyone does with pictures and films of their own; write
    mp4 and GIF to a folder and return the exit code of the commands.
    """
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / f"{character}-{name}.mp4"
    models = ["--models", str(MODELS)]
    inputs = ["--reference", str(FOLDER / f"{character}.png"), *driver]
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
    parser.add_argument("--film", choices=FILMS, default="lanky", help="of another body")
    parser.add_argument("--motion", choices=MOTIONS, help="a pose video instead of a film")
    options = parser.parse_args()
    name = options.motion or options.film
    driver = ["--pose" if options.motion else "--video", str(FOLDER / f"{name}.mp4")]
    return show(options.character, driver, name, OUTPUT)


if __name__ == "__main__":
    sys.exit(main())
