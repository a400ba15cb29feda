"""Peak memory of `animate` over the length of the video, each length in a process of its own.

    python -m benchmarks.long_video --frames 48 600

The small model, one of its own motions over and over, two steps. Memory is looked at 50 times a
second.
"""

import argparse
import subprocess
import sys
import tempfile
from itertools import cycle, islice
from pathlib import Path

import psutil

from animate_anyone.convert.convert import convert_models
from animate_anyone.media.read import read_video
from animate_anyone.media.write import write_video
from benchmarks.common import MemoryPeak, table
from demo_model.examples import FOLDER
from demo_model.files import MODELS, WEIGHTS


def peak_of(frames: int, folder: Path) -> float:
    """Megabytes that a run of so many frames has resident at most."""
    dance = read_video(FOLDER / "dance.mp4")
    pose = write_video(islice(cycle(dance.frames), frames), folder / "pose.mp4", dance.fps)
    command = [sys.executable, "-m", "animate_anyone", "animate", "--models", MODELS]
    inputs = ["--reference", FOLDER / "crown.png", "--pose", pose]
    output = ["--output", folder / "out.mp4", "--steps", "2", "--only-result"]
    process = psutil.Popen(
        [*command, *inputs, *output], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    peak = MemoryPeak(process)
    process.wait()
    if process.returncode:
        raise RuntimeError(f"{frames} frames failed: {process.stderr.read().decode()[-300:]}")
    return 1000 * peak.resident


def main() -> None:
    """Command line; prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[48, 600])
    options = parser.parse_args()
    convert_models(WEIGHTS, MODELS)
    with tempfile.TemporaryDirectory() as folder:
        rows = [(frames, f"{peak_of(frames, Path(folder)):.0f}") for frames in options.frames]
    print(table(["frames", "peak resident MB"], rows, numbers_from=0))


if __name__ == "__main__":
    main()
