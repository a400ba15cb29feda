r"""Each network alone: seconds, operations, share of the matrix-multiply speed, peak memory.

    python -m benchmarks.parts --weights build/full_weights --models build/full_models \
        --width 256 --height 256 --frames 8

Every network runs in a process of its own, beside one that counts its operations and measures how
fast this machine multiplies matrices in the same precision. The denoising UNet runs the half that
sees the reference; pose guider and VAE decoder run one frame. Operations are those of the whole
PyTorch module: the IR of the reference UNet ends a little earlier. Prints a Markdown table.
"""

import argparse
import json
import statistics
import subprocess
import time
from pathlib import Path

from animate_anyone.base.layout import PART_NAMES
from benchmarks.common import common_parser, peak_resident, run_module, table
from benchmarks.step import random_inputs

PRECISIONS = ("f32", "bf16")
MATRIX = 2048  # rows and columns of the matrices multiplied for comparison


def part_inputs(name: str, options) -> dict:
    """Random tensors of the sizes that a run has, by port name."""
    import torch

    from animate_anyone.convert.checkpoints import unet_config

    config, width, height = unet_config(options.weights), options.width, options.height
    sample = torch.randn(1, config.in_channels, height // 8, width // 8)
    match name:
        case "image_encoder":
            side = image_size(options.models)
            return {"pixel_values": torch.randn(1, 3, side, side)}
        case "vae_encoder":
            return {"image": torch.randn(1, 3, height, width)}
        case "vae_decoder":
            return {"latent": sample}
        case "pose_guider":
            return {"pose_images": torch.rand(1, 3, 1, height, width)}
        case "reference_unet":
            embedding = torch.randn(1, 1, config.cross_attention_dim)
            start = torch.zeros(1)
            return {"sample": sample, "timestep": start, "encoder_hidden_states": embedding}
        case "denoising_unet":
            return random_inputs(options, halves=1)
    raise ValueError(f"no such network: {name}")


def image_size(models: Path) -> int:
    """Side of the picture that the image encoder of a model folder looks at."""
    from animate_anyone.base.manifest import read_manifest

    return read_manifest(models)["config"]["image_size"]


def part_flops(name: str, inputs: dict, weights: Path) -> int:
    """Operations of one call, counted on tensors without content."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from animate_anyone.convert.checkpoints import load_part

    module = load_part(name, weights).to("meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(*(value.to("meta") for value in inputs.values()))
    return counter.get_total_flops()


def multiply_speed(precision: str) -> float:
    """Operations per second of multiplying two square matrices, best of a few."""
    import torch

    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[precision]
    matrix, seconds = torch.randn(MATRIX, MATRIX).to(dtype), []
    for _ in range(8):
        start = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - start)
    return 2 * MATRIX**3 / min(seconds)


def count(options) -> dict:
    """Operations of a part, and the machine's speed; called in a process of its own."""
    name, precision = options.worker.split("-")
    flops = part_flops(name, part_inputs(name, options), options.weights)
    return {"flops": flops, "multiply": multiply_speed(precision)}


def run(options) -> dict:
    """Time and memory of a part; called in a process of its own."""
    import openvino as ov

    from animate_anyone.runtime import OVPart, precision_config

    name, precision = options.worker.split("-")
    arrays = {key: value.numpy() for key, value in part_inputs(name, options).items()}
    part = OVPart(ov.Core(), options.models / f"{name}.xml", "CPU", precision_config(precision))
    seconds = []
    for _ in range(1 + options.repeats):
        before = part.seconds
        part(**arrays)
        seconds.append(part.seconds - before)
    return {"seconds": statistics.median(seconds[1:]), "peak": peak_resident()}


def measure(options) -> dict[str, dict]:
    """{part-precision: what `count` and `run` found}, one process after the other."""
    keys = [f"{name}-{precision}" for name in PART_NAMES for precision in options.precisions]
    return {key: _process("count", key) | _process("run", key) for key in keys}


def _process(job: str, key: str) -> dict:
    command = run_module("--job", job, "--worker", key)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{job} of {key} failed with {done.returncode}: {done.stderr[-300:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


JOBS = {"count": count, "run": run}


def as_table(results: dict[str, dict]) -> str:
    """Markdown, one row per network and precision."""
    header = ["network", "precision", "seconds", "GFLOP", "GFLOP/s", "of matrix speed"]
    rows = []
    for key, row in results.items():
        speed = row["flops"] / row["seconds"]
        numbers = f"{row['seconds']:.3f}", f"{row['flops'] / 1e9:.3g}", f"{speed / 1e9:.3g}"
        share, peak = f"{speed / row['multiply']:.0%}", f"{row['peak'] / 1e9:.2f}"
        rows.append((*key.split("-"), *numbers, share, peak))
    return table([*header, "peak resident GB"], rows, numbers_from=2)


def main() -> None:
    """Command line; see the module's docstring."""
    parser = common_parser(__doc__)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--job", choices=JOBS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(JOBS[options.job](options)))
    else:
        print(as_table(measure(options)))


if __name__ == "__main__":
    main()
