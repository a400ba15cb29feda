"""Write random weights in the reference layout, every tensor a pure function of its name.

    python -m tools.random_weights --size toy --output build/toy_weights
    python -m tools.random_weights --size full --output build/full_weights   # 11 GB

The recipe is that of `tests/golden/README.md`: the golden outputs were computed from the toy set
with salt "toy". The full size is for measuring speed and memory: its pictures are noise.
"""

import argparse
import json
import shutil
import zlib
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from tqdm import tqdm
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden"

# Sizes of Stable Diffusion 1.5's UNet, its VAE and CLIP ViT-L/14, from their published configs.
FULL_CONFIGS = {
    "stable-diffusion-v1-5/unet/config.json": {
        "_class_name": "UNet2DConditionModel",
        "in_channels": 4,
        "out_channels": 4,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "layers_per_block": 2,
        "block_out_channels": [320, 640, 1280, 1280],
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
        "norm_num_groups": 32,
        "norm_eps": 1e-5,
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
    },
    "sd-vae-ft-mse/config.json": {
        "_class_name": "AutoencoderKL",
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 4,
        "layers_per_block": 2,
        "block_out_channels": [128, 256, 512, 512],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "norm_num_groups": 32,
        "scaling_factor": 0.18215,
    },
    "image_encoder/config.json": {
        "model_type": "clip_vision_model",
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "patch_size": 14,
        "projection_dim": 768,
        "hidden_act": "quick_gelu",
        "image_size": 224,
    },
}


def write_weights(output: Path, size: str = "toy", salt: str | None = None) -> Path:
    """Write all checkpoints and configs of a size, "toy" or "full", below `output`."""
    configs, keys = (_toy if size == "toy" else _full)()
    for name, config in configs.items():
        _write_text(output / name, json.dumps(config, indent=2))
    for file, shapes in tqdm(keys.items(), desc=f"{size} weights", unit="file"):
        state = {key: recipe(salt or size, file, key, shape) for key, shape in shapes.items()}
        _save(output / file, state)
    return output


def recipe(salt: str, file: str, key: str, shape: list[int]) -> torch.Tensor:
    """The tensor of a name: float32, or int64 for position ids."""
    if key.endswith("position_ids"):
        return torch.arange(shape[-1]).expand(shape).clone()
    if key.endswith(".pe"):
        return torch.from_numpy(_sinusoids(shape[1], shape[2]))
    seed = zlib.crc32(f"{salt}/{file}/{key}".encode())
    x = np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
    if len(shape) > 1:
        x /= np.float32(np.sqrt(np.prod(shape[1:])))
    elif key.endswith("weight"):
        x = 1 + np.float32(0.1) * x
    else:
        x *= np.float32(0.05)
    return torch.from_numpy(x)


def _sinusoids(length: int, width: int) -> np.ndarray:
    angles = np.arange(length)[:, None] * 10000.0 ** (-np.arange(0, width, 2) / width)
    table = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(1, length, width)
    return table.astype(np.float32)


def _toy() -> tuple[dict, dict]:
    folder = GOLDEN / "toy" / "pretrained_weights"
    configs = {
        str(path.relative_to(folder)): json.loads(path.read_text())
        for path in folder.rglob("config.json")
    }
    return configs, json.loads((folder / "keys.json").read_text())


def _full() -> tuple[dict, dict]:
    names = ("denoising_unet", "motion_module", "reference_unet", "pose_guider")
    keys = {
        f"{name}.pth": json.loads((GOLDEN / "keys" / f"{name}.json").read_text()) for name in names
    }
    with torch.device("meta"):
        clip = CLIPVisionModelWithProjection(
            CLIPVisionConfig.from_dict(FULL_CONFIGS["image_encoder/config.json"])
        )
        vae = AutoencoderKL.from_config(FULL_CONFIGS["sd-vae-ft-mse/config.json"])
    keys["image_encoder/pytorch_model.bin"] = _shapes(clip)
    keys["sd-vae-ft-mse/diffusion_pytorch_model.safetensors"] = _shapes(vae)
    return FULL_CONFIGS, keys


def _shapes(module: torch.nn.Module) -> dict[str, list[int]]:
    return {key: list(value.shape) for key, value in module.state_dict().items()}


def _save(path: Path, state: dict[str, torch.Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    if path.suffix == ".safetensors":
        save_file(state, partial)
    else:
        torch.save(state, partial)
    shutil.move(partial, path)


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("toy", "full"), default="toy")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    write_weights(arguments.output, arguments.size)


if __name__ == "__main__":
    main()
