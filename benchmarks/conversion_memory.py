"""Time and peak memory of a whole conversion, in a process of its own.

    python -m tools.random_weights --size full --output build/full_weights
    python -m benchmarks.conversion_memory --weights build/full_weights --models build/full_models

Resident memory counts mapped weight files too, which the system can drop at any time; "own" is what
the process allocated itself.
"""

import argparse
import time
from pathlib import Path

from animate_anyone.convert.convert import COMPRESSIONS, convert_models
from benchmarks.common import MemoryPeak
from benchmarks.int8 import calibration


def main() -> None:
    """Convert into an empty folder and print time, memory and size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True, help="a new or empty folder")
    parser.add_argument("--compression", choices=COMPRESSIONS, default="int8")
    options = parser.parse_args()
    if options.models.is_dir() and any(options.models.iterdir()):
        parser.error(f"{options.models} is not empty: what is converted already would not be timed")
    watched = calibration() if options.compression == "int8-hybrid" else None
    peak, start = MemoryPeak(), time.perf_counter()
    convert_models(options.weights, options.models, options.compression, calibration=watched)
    minutes = (time.perf_counter() - start) / 60
    size = sum(path.stat().st_size for path in options.models.iterdir()) / 1e9
    print(f"{minutes:.1f} minutes, peak {peak.resident:.1f} GB resident, of it")
    print(f"{peak.own:.1f} GB own at its highest; {size:.1f} GB of IR")


if __name__ == "__main__":
    main()
