"""Peak memory of `animate` over the length of the video, each length in a process of its own.

    python benchmarks/long_video.py --frames 48 600

The small model, one of its own motions over and over, two steps. Memory is looked at 50 times a second.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from animate_anyone.convert import convert_models
from animate_anyone.video import read_video, write_video
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
        [*command, *inputs, *output], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    peak = 0
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            peak = max(peak, process.memory_info().rss)
        time.sleep(0.02)
    if process.returncode:
        raise RuntimeError(f"{frames} frames failed: {process.stderr.read().decode()[-300:]}")
    return peak / 1e6


def main() -> None:
    """Command line; prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[48, 600])
    options = parser.parse_args()
    convert_models(WEIGHTS, MODELS)
    print("| frames | peak resident MB |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for frames in options.frames:
            print(f"| {frames} | {peak_of(frames, Path(folder)):.0f} |", flush=True)


if __name__ == "__main__":
    main()
