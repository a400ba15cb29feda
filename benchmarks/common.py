"""What the benchmarks share: arguments, clocks, memory, workers that take turns, a ready step."""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
from PIL import Image

from animate_anyone.base.tables import table

if TYPE_CHECKING:  # an engine that does not need it does not pay for it
    from animate_anyone.run.pipeline import OVAnimateAnyonePipeline

__all__ = [
    "MemoryPeak",
    "common_parser",
    "median_seconds",
    "peak_resident",
    "prepared",
    "run_module",
    "serve_turns",
    "table",
    "take_turns",
]


def common_parser(description: str) -> argparse.ArgumentParser:
    """Folders, size and repeats, which benchmarks of networks have in common."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    return parser


def prepared(
    pipe: "OVAnimateAnyonePipeline", size: tuple[int, int], frames: int, *, deep: bool = False
):
    """Denoiser and latents of a video of noise; what ran for it is freed again.

    Args:
        size: (width, height) in pixels.
        frames: how many.
        deep: keep deep features, for steps of the last layer alone.
    """
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    picture = Image.fromarray(noise)
    denoiser = pipe.prepare(picture, [picture] * frames, size, keep_deep_features=deep)
    for name in ("image_encoder", "vae_encoder", "reference_unet"):
        pipe.parts[name].release()
    return denoiser, pipe.prepare_latents(frames, *size, None)


def median_seconds(step: Callable, repeats: int) -> float:
    """Of so many calls; the first one compiles and does not count."""
    step()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def peak_resident() -> int:
    """Bytes that this process has had in memory at most."""
    memory = psutil.Process().memory_info()
    if hasattr(memory, "peak_wset"):  # Windows
        return memory.peak_wset
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class MemoryPeak(threading.Thread):
    """Highest resident and own memory of a process in GB, sampled 50 times a second."""

    def __init__(self, process: psutil.Process | None = None):
        super().__init__(daemon=True)
        self.process = process or psutil.Process()
        self.resident = self.own = 0.0
        self.start()

    def run(self):
        """Watch until the process ends."""
        with contextlib.suppress(psutil.Error):
            while True:
                memory = self.process.memory_info()
                self.resident = max(self.resident, memory.rss / 1e9)
                self.own = max(self.own, (memory.rss - memory.shared) / 1e9)
                time.sleep(0.02)


def run_module(*arguments: str) -> list[str]:
    """The command that runs this very benchmark again, with further arguments."""
    module = f"benchmarks.{Path(sys.argv[0]).stem}"
    return [sys.executable, "-m", module, *sys.argv[1:], *arguments]


def serve_turns(step: Callable) -> None:
    """A worker: a step for every line on standard input, seconds and memory in answer."""
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        seconds = time.perf_counter() - start
        print("result " + json.dumps({"seconds": seconds, "peak": peak_resident()}), flush=True)


def take_turns(engines: Iterable[str], repeats: int) -> dict[str, dict]:
    """Medians of all turns but the first, if there are others. Each engine runs in a process of its
    own, with `--worker ENGINE`, and answers as `serve_turns` does.
    """
    workers = {
        engine: subprocess.Popen(
            run_module("--worker", engine),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for engine in engines
    }
    runs: dict[str, list] = {engine: [] for engine in workers}
    for _ in range(1 + repeats):  # the first turn compiles
        for engine, worker in workers.items():
            runs[engine].append(_turn(worker))
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    return {engine: _summary(results) for engine, results in runs.items()}


def _turn(worker: subprocess.Popen) -> dict:
    worker.stdin.write("go\n")
    worker.stdin.flush()
    for line in worker.stdout:
        if line.startswith("result "):
            return json.loads(line.removeprefix("result "))
    raise RuntimeError("a worker died; run it alone with --worker to see why")


def _summary(results: Sequence[dict]) -> dict:
    return {
        "seconds": statistics.median(run["seconds"] for run in results[1:] or results),
        "peak": max(run["peak"] for run in results) / 1e9,
    }
