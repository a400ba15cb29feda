"""Seconds and peak memory of one denoising step with guidance: our IR, our PyTorch module, and the
plain conversion (`plain.py`), which computes as the reference implementation does.

    python benchmarks/step.py --weights build/full_weights --models build/full_models \\
        --width 256 --height 256 --frames 8 --engines plain-f32 ir-f32 torch-f32

`hybrid` is ours with 8-bit arithmetic, looked for in a folder beside the models whose name ends in `_hybrid`;
`shallow` is our last layer alone, as with `deep_cache_interval`; `auto` is what runs where nobody asks for a
precision. Every engine runs in a process of its own on random inputs of the same sizes. Each takes turns with
the first one, so that a noisy machine is noisy for both and no more than two are in memory; the table gives
medians, and the ratio to the first engine beside it.
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

ENGINES = tuple(
    f"{kind}-{precision}"
    for kind, precisions in {
        "plain": ("f32", "bf16", "auto"),
        "ir": ("f32", "bf16", "auto"),
        "hybrid": ("f32", "bf16", "auto"),
        "shallow": ("f32", "bf16", "auto"),
        "torch": ("f32", "bf16"),
    }.items()
    for precision in precisions
)


def hybrid_folder(models: Path) -> Path:
    """Where the models with 8-bit arithmetic are."""
    return models.with_name(f"{models.name}_hybrid")


def hybrid_step(options, precision: str):
    """One step on the IR with 8-bit arithmetic."""
    return _pipeline_step(hybrid_folder(options.models), options, precision)


def ir_step(options, precision: str):
    """One step on the IR."""
    return _pipeline_step(options.models, options, precision)


def shallow_step(options, precision: str):
    """The last layer on the IR; all layers have run once."""
    return _pipeline_step(options.models, options, precision, shallow=True)


def _pipeline_step(models: Path, options, precision: str, shallow: bool = False):
    """A function that runs one step, both halves of guidance."""
    import numpy as np
    from PIL import Image

    from animate_anyone.pipeline import OVAnimateAnyonePipeline
    from animate_anyone.runtime import precision_config

    pipe = OVAnimateAnyonePipeline.from_pretrained(models, ov_config=precision_config(precision))
    noise = np.random.default_rng(0).integers(0, 255, (options.height, options.width, 3), np.uint8)
    reference = Image.fromarray(noise)
    embedding = pipe.encode_image(reference)
    features = pipe.reference_features(reference, embedding, options.width, options.height)
    poses = pipe.encode_poses([reference] * options.frames, options.width, options.height)
    for name in ("image_encoder", "vae_encoder", "reference_unet", "pose_guider"):
        pipe.parts[name].release()
    latents = pipe.prepare_latents(options.frames, options.width, options.height, None)
    denoiser = pipe.denoiser(embedding, features, lambda frames: poses, keep_deep_features=shallow)
    frames = list(range(options.frames))

    def step(alone: bool = shallow):
        for half in (True, False):
            denoiser(latents, 500.0, frames, half, alone)

    if shallow:
        step(alone=False)
    return step


def plain_step(options, precision: str):
    """One call of the plain conversion, for both halves at once."""
    import openvino as ov

    from animate_anyone.runtime import precision_config

    core = ov.Core()
    model = core.read_model(options.models / "plain_denoising_unet.xml")
    inputs = {name: value.numpy() for name, value in random_inputs(options, halves=2).items()}
    model.reshape({name: value.shape for name, value in inputs.items()})
    compiled = core.compile_model(model, "CPU", precision_config(precision))
    request = compiled.create_infer_request()
    return lambda: request.infer(inputs, share_inputs=True)


def torch_step(options, precision: str):
    """Our PyTorch module, one half after the other."""
    import torch

    from animate_anyone.weights import load_part

    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[precision]
    unet = load_part("denoising_unet", options.weights).to(dtype)
    inputs = {name: value.to(dtype) for name, value in random_inputs(options, halves=1).items()}

    def step():
        with torch.inference_mode():
            unet(*inputs.values())
            unet(*list(inputs.values())[:4])

    return step


STEPS = {
    "ir": ir_step,
    "hybrid": hybrid_step,
    "shallow": shallow_step,
    "plain": plain_step,
    "torch": torch_step,
}


def random_inputs(options, halves: int) -> dict:
    """Tensors of the sizes that the run has, by port name."""
    import torch

    from animate_anyone.config import reference_feature_names
    from animate_anyone.models import DenoisingUNet
    from animate_anyone.weights import unet_config
    from benchmarks.flops import feature_shapes

    config = unet_config(options.weights)
    size = options.frames, options.height // 8, options.width // 8
    with torch.device("meta"):
        shapes = feature_shapes(DenoisingUNet(config), options.width, options.height)
    inputs = {
        "sample": torch.randn(halves, config.in_channels, *size),
        "timestep": torch.tensor([500.0]),
        "encoder_hidden_states": torch.randn(halves, 1, config.cross_attention_dim),
        "pose_features": torch.randn(halves, config.block_out_channels[0], *size),
    }
    names = reference_feature_names(config)
    return inputs | {name: torch.randn(shape) for name, shape in zip(names, shapes)}


def work(options) -> None:
    """Serve one engine: a step for every line on standard input."""
    kind, precision = options.worker.split("-")
    step = STEPS[kind](options, precision)
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        seconds = time.perf_counter() - start
        print("result " + json.dumps({"seconds": seconds, "peak": peak_resident()}), flush=True)


def peak_resident() -> int:
    """Bytes that this process has had in memory at most."""
    memory = psutil.Process().memory_info()
    if hasattr(memory, "peak_wset"):  # Windows
        return memory.peak_wset
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measure(options) -> dict[str, dict]:
    """Let each engine take turns with the first."""
    first, *others = options.engines
    pairs = [
        take_turns(dict.fromkeys((first, other)), options.repeats) for other in others or [first]
    ]
    rows = {first: {"ratio": 1.0, "peak": max(pair[first]["peak"] for pair in pairs)}}
    rows[first]["seconds"] = statistics.median(pair[first]["seconds"] for pair in pairs)
    for other, pair in zip(others, pairs):
        rows[other] = pair[other] | {"ratio": pair[other]["seconds"] / pair[first]["seconds"]}
    return rows


def take_turns(engines, repeats: int) -> dict[str, dict]:
    """Medians of all turns but the first, if there are others."""
    command = [sys.executable, *sys.argv]
    workers = {
        engine: subprocess.Popen(
            [*command, "--worker", engine],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for engine in engines
    }
    runs = {engine: [] for engine in workers}
    for _ in range(1 + repeats):  # the first turn compiles
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


def common_parser(description: str) -> argparse.ArgumentParser:
    """Folders, size and repeats, which benchmarks of networks have in common."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    return parser


def main() -> None:
    """Command line; prints a Markdown table."""
    parser = common_parser(__doc__.splitlines()[0])
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=["ir-f32", "torch-f32"])
    parser.add_argument("--worker", choices=ENGINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options)
        return
    hybrid = hybrid_folder(options.models)
    if any(engine.startswith("hybrid") for engine in options.engines) and not hybrid.is_dir():
        parser.error(f"{hybrid} does not exist; benchmarks/bench.py makes it")
    results = measure(options)
    print(f"One step with guidance at {options.width}x{options.height}x{options.frames}:\n")
    print("| engine | seconds | to the first | peak resident GB |\n|---|---|---|---|")
    for engine, row in results.items():
        print(f"| {engine} | {row['seconds']:.3g} | {row['ratio']:.2f} | {row['peak']:.2f} |")


if __name__ == "__main__":
    main()
