r"""Seconds and peak memory of one denoising step with guidance: our IR, our PyTorch module, and the
plain conversion (`plain.py`), which computes as the reference implementation does.

    python -m benchmarks.step --weights build/full_weights --models build/full_models \
        --width 256 --height 256 --frames 8 --engines plain-f32 ir-f32 torch-f32

`hybrid` is ours with 8-bit arithmetic, looked for in a folder beside the models whose name ends in
`_hybrid`; `shallow` is our last layer alone, as with `deep_cache_interval`; `auto` is what runs
where nobody asks for a precision. Every engine runs in a process of its own on random inputs of the
same sizes. Each takes turns with the first one, so that a noisy machine is noisy for both and no
more than two are in memory; the table gives medians, and the ratio to the first engine beside it.
"""

import argparse
import statistics
from pathlib import Path

from benchmarks.common import common_parser, prepared, serve_turns, table, take_turns

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
    from animate_anyone.run.pipeline import OVAnimateAnyonePipeline
    from animate_anyone.runtime import precision_config

    pipe = OVAnimateAnyonePipeline.from_pretrained(models, ov_config=precision_config(precision))
    size = options.width, options.height
    denoiser, latents = prepared(pipe, size, options.frames, deep=shallow)
    frames = list(range(options.frames))

    def step(alone: bool = shallow):
        for half in (True, False):
            denoiser(latents, 500.0, frames, conditional=half, last_layer_only=alone)

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

    from animate_anyone.convert.checkpoints import load_part

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

    from animate_anyone.base.config import reference_feature_names
    from animate_anyone.convert.checkpoints import unet_config
    from animate_anyone.networks import DenoisingUNet
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


def main() -> None:
    """Command line; prints a Markdown table."""
    parser = common_parser(__doc__)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=["ir-f32", "torch-f32"])
    parser.add_argument("--worker", choices=ENGINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        kind, precision = options.worker.split("-")
        serve_turns(STEPS[kind](options, precision))
        return
    hybrid = hybrid_folder(options.models)
    if any(engine.startswith("hybrid") for engine in options.engines) and not hybrid.is_dir():
        parser.error(f"{hybrid} does not exist; `python -m benchmarks.bench` makes it")
    results = measure(options)
    print(f"One step with guidance at {options.width}x{options.height}x{options.frames}:\n")
    rows = [
        (engine, f"{row['seconds']:.3g}", f"{row['ratio']:.2f}", f"{row['peak']:.2f}")
        for engine, row in results.items()
    ]
    print(table(["engine", "seconds", "to the first", "peak resident GB"], rows))


if __name__ == "__main__":
    main()
