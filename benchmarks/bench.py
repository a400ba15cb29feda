"""All benchmarks, one after the other: `make bench`, or `make bench ARGS="--quick"`.

By default they run on the small model; `--full-size` measures the speed of steps
and networks with random weights of the published model's size (11 GB on disk). `--quick` measures
less, to see that all of it works. The tables go to the screen and to `results.md`.
"""

import argparse
import os
import subprocess
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

import openvino as ov

BUILD = Path("build")
from animate_anyone.convert.convert import convert_models
from demo_model.files import MODELS, WEIGHTS

FULL_WEIGHTS, FULL_MODELS = BUILD / "full_weights", BUILD / "full_models"
KINDS = ("ir", "plain", "hybrid", "shallow", "torch")


def model_folders(full_size: bool) -> tuple[Path, Path]:
    """Weights and IRs that are measured."""
    return (FULL_WEIGHTS, FULL_MODELS) if full_size else (WEIGHTS, MODELS)


def sections(options) -> dict[str, list[str]]:
    """Title → command of a benchmark."""
    weights, models = model_folders(options.full_size)
    folders = ["--weights", str(weights), "--models", str(models)]
    size = ["--width", "256", "--height", "256", "--frames", "8"]
    large = ["--width", "448", "--height", "512", "--frames", "24", "--repeats", "1"]
    repeats = ["--repeats", "1" if options.quick else "3"]
    growth, quality = (str(options.output / f"{name}.png") for name in ("growth", "quality"))
    frames = ["8", "16", "24"] if options.quick else ["8", "16", "24", "48", "96"]
    sides = ["256", "384"] if options.quick else ["256", "384", "512"]
    step = ["step", *folders, *size, *repeats, "--engines"]
    speed = {
        "One step with guidance, bf16": [*step, *(f"{kind}-bf16" for kind in KINDS)],
        "One step with guidance, f32": [*step, "ir-f32", "plain-f32", "torch-f32"],
        "Each network alone": ["parts", *folders, *size, *repeats],
        "Growth with frames and pixels": [
            *("growth", "--models", str(models), "--chart", growth, *repeats),
            *("--frames", *frames, "--sides", *sides),
        ],
    }
    large_step = ["step", *folders, *large, "--engines"]
    large_steps = {
        "A large step with guidance, bf16": [*large_step, "ir-bf16", "plain-bf16", "hybrid-bf16"],
        "A large step with guidance, by default": [*large_step, "ir-auto", "hybrid-auto"],
    }
    if options.full_size:
        return speed if options.quick else large_steps | speed
    return speed | {
        "8-bit arithmetic": [
            *("int8", *(["--characters", "1", "--no-sweep"] if options.quick else [])),
        ],
        "Windows of a long clip": ["windows", *(["--seeds", "1"] if options.quick else [])],
        "Short and long clips": ["clips", "--frames", "1", "8", *([] if options.quick else ["48"])],
        "Damaged files": ["fuzz", "--files", "30" if options.quick else "300"],
        "Length of the video": [
            *("long_video", "--frames", "48", "96" if options.quick else "600"),
        ],
        "Quality over time": [
            *("quality", "--chart", quality, "--characters", "1" if options.quick else "4"),
        ],
    }


def machine() -> str:
    """What this runs on."""
    return f"{os.cpu_count()} cores of {ov.Core().get_property('CPU', 'FULL_DEVICE_NAME')}"


def prepare(full_size: bool) -> None:
    """Convert what the benchmarks run, ours and the plain conversion; what is there is kept."""
    from benchmarks.int8 import calibration
    from benchmarks.plain import convert as convert_plain
    from benchmarks.step import hybrid_folder
    from tools.random_weights import write_weights

    weights, models = model_folders(full_size)
    if full_size and not (weights / "sd-vae-ft-mse/diffusion_pytorch_model.safetensors").exists():
        write_weights(weights, "full")
    convert_models(weights, models)
    convert_plain(weights, models)
    convert_models(weights, hybrid_folder(models), "int8-hybrid", calibration=calibration())


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full-size", action="store_true", help="random weights of full size")
    parser.add_argument("--quick", action="store_true", help="measure less")
    parser.add_argument("--output", type=Path, default=BUILD / "bench")
    options = parser.parse_args()
    prepare(options.full_size)
    options.output.mkdir(parents=True, exist_ok=True)
    model = "random weights of full size" if options.full_size else "the small model"
    text = [
        "# Benchmarks\n",
        f"{date.today()}, {machine()}, openvino {version('openvino')}, {model}.\n",
    ]
    for title, command in sections(options).items():
        print(f"\n## {title}\n", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{command[0]}", *command[1:]]
        table = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        print(table, flush=True)
        text.append(f"## {title}\n\n{table}")
        (options.output / "results.md").write_text("\n".join(text), encoding="utf-8")
    print(options.output / "results.md")


if __name__ == "__main__":
    main()
