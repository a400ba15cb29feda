"""Names, file layout and sizes that conversion and inference share. No network code lives here."""

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

PART_NAMES = (
    "image_encoder",
    "vae_encoder",
    "vae_decoder",
    "reference_unet",
    "pose_guider",
    "denoising_unet",
)

# The folder layout of Moore-AnimateAnyone's `pretrained_weights`. A weight file is named without
# its ending: all of these are read.
WEIGHT_ENDINGS = (".safetensors", ".pth", ".bin")
DENOISING_UNET = "denoising_unet"
MOTION_MODULE = "motion_module"
REFERENCE_UNET = "reference_unet"
POSE_GUIDER = "pose_guider"
IMAGE_ENCODER = "image_encoder/pytorch_model"
IMAGE_ENCODER_CONFIG = "image_encoder/config.json"
VAE = "sd-vae-ft-mse/diffusion_pytorch_model"
VAE_CONFIG = "sd-vae-ft-mse/config.json"
SD_UNET = "stable-diffusion-v1-5/unet/diffusion_pytorch_model"
SD_UNET_CONFIG = "stable-diffusion-v1-5/unet/config.json"
SCHEDULER_CONFIG = "scheduler/scheduler_config.json"
GENERATION_CONFIG = "generation_config.json"

# How the AnimateAnyone weights were trained to be sampled: `configs/inference/inference_v2.yaml`
# of Moore-AnimateAnyone. A scheduler config in the weights folder takes its place.
DEFAULT_SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "linear",
    "clip_sample": False,
    "set_alpha_to_one": True,
    "steps_offset": 1,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}

# Channel statistics of CLIP's training images (OpenAI CLIP, `clip.py`, Normalize).
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class UNetConfig:
    """What both UNets read from Stable Diffusion's `unet/config.json`.

    `attention_head_dim` is the *number of heads*: the name is a slip in the SD 1.5 file that every
    library has kept.
    """

    in_channels: int
    out_channels: int
    block_out_channels: tuple[int, ...]
    down_block_types: tuple[str, ...]
    up_block_types: tuple[str, ...]
    layers_per_block: int
    attention_head_dim: int
    cross_attention_dim: int
    norm_num_groups: int
    norm_eps: float
    flip_sin_to_cos: bool
    freq_shift: int
    motion_num_heads: int = 8  # Moore-AnimateAnyone, inference_v2.yaml: num_attention_heads
    motion_norm_num_groups: int = 32
    motion_max_frames: int = 32  # rows of the position table, read from the checkpoint

    @classmethod
    def from_dict(cls, values: dict) -> "UNetConfig":
        """Pick the known fields; raises ValueError where a needed one is missing or not SD 1.x."""
        known = {field.name: field.default for field in fields(cls)}
        missing = [name for name in list(known)[:12] if name not in values]
        if missing:
            raise ValueError(f"UNet config lacks {', '.join(missing)}")
        picked = {name: values[name] for name in known if name in values}
        for name in ("layers_per_block", "attention_head_dim", "cross_attention_dim"):
            if not isinstance(picked[name], int):
                raise ValueError(f"UNet config: {name} must be one integer, got {picked[name]!r}")
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in picked.items()})

    def to_dict(self) -> dict:
        """All fields, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class GenerationConfig:
    """How a model is best used, by default those that the AnimateAnyone weights are shown with
    (Moore-AnimateAnyone, `scripts/pose2vid.py`). A `generation_config.json` in the weights folder
    takes their place.

    `width` and `height` in pixels are the size that it was trained at; None: any, as the poses are.
    """

    num_inference_steps: int = 30
    guidance_scale: float = 3.5
    width: int | None = None
    height: int | None = None

    @classmethod
    def from_dict(cls, values: dict) -> "GenerationConfig":
        """Raises ValueError where a name is unknown or a value no positive number."""
        kinds = {field.name: (int, field.default is None) for field in fields(cls)}
        kinds["guidance_scale"] = (int | float, False)
        for name, value in values.items():
            kind, optional = kinds.get(name, (None, False))
            if kind is None:
                raise ValueError(f"{GENERATION_CONFIG} must hold {', '.join(kinds)}, got {name!r}")
            number = isinstance(value, kind) and not isinstance(value, bool) and value > 0
            if not (number or optional and value is None):
                raise ValueError(
                    f"{GENERATION_CONFIG}: {name} must be a positive number, got {value!r}"
                )
        return cls(**values)

    def to_dict(self) -> dict:
        """All fields, ready for JSON."""
        return asdict(self)


def reference_feature_names(config: UNetConfig) -> list[str]:
    """Transformer blocks that hand over a reference feature, in the order in which they run."""
    names = []
    for index, kind in enumerate(config.down_block_types):
        if "CrossAttn" in kind:
            names += [_block(f"down_blocks.{index}", i) for i in range(config.layers_per_block)]
    names.append(_block("mid_block", 0))
    for index, kind in enumerate(config.up_block_types):
        if "CrossAttn" in kind:
            names += [_block(f"up_blocks.{index}", i) for i in range(config.layers_per_block + 1)]
    return names


# What enters the last layer of the denoising UNet from below: an output, and an input of that layer alone.
DEEP_FEATURES = "deep_features"


def last_layer_name(config: UNetConfig) -> str:
    """Path of the resnet that begins the last layer of a UNet."""
    return f"up_blocks.{len(config.up_block_types) - 1}.resnets.{config.layers_per_block}"


def _block(stage: str, index: int) -> str:
    return f"{stage}.attentions.{index}.transformer_blocks.0"


def write_json(path: Path, values: dict) -> None:
    """Replace a JSON file in one step: a reader sees the old one or the new one, also after a
    power failure."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(values, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def read_json(path: Path) -> dict:
    """Read a JSON object; raises ValueError that names the file when it is not one."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(values).__name__}")
    return values
