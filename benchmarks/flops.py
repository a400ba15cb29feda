"""How many floating-point operations a denoising step takes, counted on tensors without data.

    python -m benchmarks.flops --width 448 --height 512 --frames 24

counts at the size of Stable Diffusion 1.5: matrix products, convolutions and attention, both halves
of guidance, a multiplication and an addition as two.
"""

import argparse

import torch
from torch.utils.flop_counter import FlopCounterMode

from animate_anyone.base.config import UNetConfig, reference_feature_names
from animate_anyone.networks import DenoisingUNet
from benchmarks.plain import made_plain
from tools.random_weights import FULL_CONFIGS

SD_CONFIG = UNetConfig.from_dict(FULL_CONFIGS["stable-diffusion-v1-5/unet/config.json"])


def step_flops(config: UNetConfig, width: int, height: int, frames: int, plain: bool) -> int:
    """Operations of one step with guidance, as ours computes it or as the reference does."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        unet = DenoisingUNet(config)
        halves = 2 if plain else 1
        size = frames, height // 8, width // 8
        sample = torch.zeros(halves, config.in_channels, *size)
        poses = torch.zeros(halves, config.block_out_channels[0], *size)
        embedding = torch.zeros(halves, 1, config.cross_attention_dim)
        features = [torch.zeros(shape) for shape in feature_shapes(unet, width, height)]
        unet = made_plain(unet) if plain else unet
        inputs = sample, torch.zeros(1), embedding, poses
        unet(*inputs, *features)
        if not plain:
            unet(*inputs)
    return counter.get_total_flops()


def feature_shapes(unet: DenoisingUNet, width: int, height: int) -> list[tuple[int, int, int]]:
    """Shapes (1, m, d) of the reference features of a picture."""
    shapes = []
    for name in reference_feature_names(unet.config):
        level = _level(name, len(unet.config.block_out_channels))
        rows, columns = (-(-side // (8 * 2**level)) for side in (height, width))
        shapes.append((1, rows * columns, unet.get_submodule(name).norm1.normalized_shape[0]))
    return shapes


def _level(name: str, levels: int) -> int:
    """How often the size was halved where a transformer block runs."""
    stage, *rest = name.split(".")
    if stage == "mid_block":
        return levels - 1
    return int(rest[0]) if stage == "down_blocks" else levels - 1 - int(rest[0])


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in {"width": 448, "height": 512, "frames": 24}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    for name, plain in (("plain", True), ("ours", False)):
        print(f"{name}: {step_flops(SD_CONFIG, **vars(options), plain=plain) / 1e12:.1f} TFLOP")


if __name__ == "__main__":
    main()
