"""Seconds and peak memory of one denoising step with guidance: our IR and our PyTorch module.

    python benchmarks/step.py --weights build/full_weights --models build/full_models \\
        --width 256 --height 256 --frames 8 --engines ir-f32 torch-f32

Every engine runs in a process of its own and computes both halves of guidance one after the other,
on the same random inputs. The engines take turns, so that a noisy machine is noisy for all, and the
table gives medians and the ratio to the first engine.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

ENGINES = ("ir-f32", "ir-bf16", "ir-auto", "torch-f32", "torch-bf16")


def ir_step(options, precision: str):
    """A function that runs one step on the IR."""
    import numpy as np
    from PIL import Image

    from animate_anyone.pipeline import OVAnimateAnyonePipeline
    from animate_anyone.runtime import precision_config

    pipe = OVAnimateAnyonePipeline.from_pretrained(
        options.models, ov_config=precision_config(precision)
    )
    noise = np.random.default_rng(0).integers(0, 255, (options.height, options.width, 3), np.uint8)
    reference = Image.fromarray(noise)
    embedding = pipe.encode_image(reference)
    features = pipe.reference_features(reference, embedding, options.width, options.height)
    poses = pipe.encode_poses([reference] * options.frames, options.width, options.height)
    for name in ("image_encoder", "vae_encoder", "reference_unet", "pose_guider"):
        pipe.parts[name].release()
    latents = pipe.prepare_latents(options.frames, options.width, options.height, None)
    denoiser = pipe.denoiser(embedding, features, lambda frames: poses)
    frames = list(range(options.frames))
    return lambda: [denoiser(latents, 500.0, frames, half) for half in (True, False)]


def torch_step(options, precision: str):
    """The same on the PyTorch module."""
    import torch

    from animate_anyone.config import reference_feature_names
    from animate_anyone.weights import load_part

    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[precision]
    unet = load_part("denoising_unet", options.weights).to(dtype)
    f, h, w = options.frames, options.height // 8, options.width // 8
    config = unet.config
    sample = torch.randn(1, config.in_channels, f, h, w, dtype=dtype)
    poses = torch.randn(1, config.block_out_channels[0], f, h, w, dtype=dtype)
    embedding = torch.randn(1, 1, config.cross_attention_dim, dtype=dtype)
    features = []
    for name in reference_feature_names(config):
        depth = unet.get_submodule(name.split(".attentions")[0])
        level = _level(name, len(config.block_out_channels))
        tokens = -(-h // 2**level) * -(-w // 2**level)
        width = depth.attentions[0].norm.num_channels
        features.append(torch.randn(1, tokens, width, dtype=dtype))
    timestep = torch.tensor([500.0])

    def step():
        with torch.inference_mode():
            unet(sample, timestep, embedding, poses, *features)
            unet(sample, timestep, torch.zeros_like(embedding), poses)

    return step


def _level(name: str, levels: int) -> int:
    """How often the size was halved where a transformer block runs."""
    stage, *rest = name.split(".")
    if stage == "mid_block":
        return levels - 1
    return int(rest[0]) if stage == "down_blocks" else levels - 1 - int(rest[0])


def work(options) -> None:
    """Serve one engine: a step for every line on standard input."""
    kind, precision = options.worker.split("-")
    step = (ir_step if kind == "ir" else torch_step)(options, precision)
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        seconds = time.perf_counter() - start
        memory = psutil.Process().memory_info()
        peak = getattr(memory, "peak_wset", None) or _peak_resident()
        print("result " + json.dumps({"seconds": seconds, "peak": peak}), flush=True)


def _peak_resident() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(options) -> dict[str, dict]:
    """Let the engines take turns; medians of all turns but the first, if there are others."""
    command = [sys.executable, *sys.argv]
    workers = {
        engine: subprocess.Popen(
            [*command, "--worker", engine],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for engine in options.engines
    }
    runs = {engine: [] for engine in workers}
    for _ in range(1 + options.repeats):  # the first turn compiles
        for engine, worker in workers.items():
            runs[engine].append(_turn(worker))
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    return {
        engine: {
            "seconds": statistics.median(run["seconds"] for run in results[1:] or results),
            "peak": max(run["peak"] for run in results) / 1e9,
        }
        for engine, results in runs.items()
    }


def _turn(worker: subprocess.Popen) -> dict:
    worker.stdin.write("go\n")
    worker.stdin.flush()
    for line in worker.stdout:
        if line.startswith("result "):
            return json.loads(line.removeprefix("result "))
    raise RuntimeError("a worker died; run it alone with --worker to see why")


def main() -> None:
    """Command line; prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=["ir-f32", "torch-f32"])
    parser.add_argument("--worker", choices=ENGINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options)
        return
    results = measure(options)
    first = results[options.engines[0]]["seconds"]
    print(f"One step with guidance at {options.width}x{options.height}x{options.frames}:\n")
    print("| engine | seconds | to the first | peak resident GB |\n|---|---|---|---|")
    for engine, row in results.items():
        ratio = row["seconds"] / first
        print(f"| {engine} | {row['seconds']:.1f} | {ratio:.2f} | {row['peak']:.1f} |")


if __name__ == "__main__":
    main()
