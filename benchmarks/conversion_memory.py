"""Time and peak memory of a whole conversion, in a process of its own.

    python tools/random_weights.py --size full --output build/full_weights
    python benchmarks/conversion_memory.py --weights build/full_weights --models build/full_models

Resident memory counts mapped weight files too, which the system can drop at any time; "own" is what
the process allocated itself.
"""

import argparse
import sys
import threading
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from animate_anyone.convert import COMPRESSIONS, convert_models
from benchmarks.int8 import calibration_pictures


class MemoryPeak(threading.Thread):
    """Highest resident and own memory of this process in GB, sampled 50 times a second."""

    def __init__(self):
        super().__init__(daemon=True)
        self.resident = self.own = 0.0
        self.start()

    def run(self):
        process = psutil.Process()
        while True:
            memory = process.memory_info()
            self.resident = max(self.resident, memory.rss / 1e9)
            self.own = max(self.own, (memory.rss - memory.shared) / 1e9)
            time.sleep(0.02)


def main() -> None:
    """Convert into an empty folder and print time, memory and size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True, help="a new or empty folder")
    parser.add_argument("--compression", choices=COMPRESSIONS, default="int8")
    options = parser.parse_args()
    if options.models.is_dir() and any(options.models.iterdir()):
        parser.error(f"{options.models} is not empty: what is converted already would not be timed")
    pictures = calibration_pictures() if options.compression == "int8-hybrid" else {}
    peak, start = MemoryPeak(), time.perf_counter()
    convert_models(options.weights, options.models, options.compression, **pictures)
    minutes = (time.perf_counter() - start) / 60
    size = sum(path.stat().st_size for path in options.models.iterdir()) / 1e9
    print(f"{minutes:.1f} minutes, peak {peak.resident:.1f} GB resident, of it")
    print(f"{peak.own:.1f} GB own at its highest; {size:.1f} GB of IR")


if __name__ == "__main__":
    main()
