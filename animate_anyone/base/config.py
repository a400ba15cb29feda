"""Sizes and settings that conversion and inference share, as their JSON files hold them."""

from dataclasses import asdict, dataclass, fields
from typing import Any, cast

from .layout import GENERATION_CONFIG

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
        picked: dict[str, Any] = {name: values[name] for name in known if name in values}
        for name in ("layers_per_block", "attention_head_dim", "cross_attention_dim"):
            if not isinstance(picked[name], int):
                raise ValueError(f"UNet config: {name} must be one integer, got {picked[name]!r}")
        fixed = {name: tuple(v) if isinstance(v, list) else v for name, v in picked.items()}
        return cls(**cast(dict[str, Any], fixed))

    def to_dict(self) -> dict:
        """All fields, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class ModelConfig:
    """What inference needs to know of the networks and cannot read off their IRs.

    unet                of both UNets
    vae_scaling_factor  latents are multiplied by it before they are denoised
    vae_scale_factor    pixels per latent row or column
    image_size          side of the square that the image encoder sees, in pixels
    """

    unet: UNetConfig
    vae_scaling_factor: float
    vae_scale_factor: int
    image_size: int

    @classmethod
    def from_dict(cls, values: dict) -> "ModelConfig":
        """Raises KeyError, TypeError or ValueError where a value is missing or no positive
        number.
        """
        numbers = {f.name: values[f.name] for f in fields(cls) if f.name != "unet"}
        for name, value in numbers.items():
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value!r}")
        return cls(UNetConfig.from_dict(values["unet"]), **numbers)

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
        kinds: dict[str, Any] = {field.name: (int, field.default is None) for field in fields(cls)}
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


def last_layer_name(config: UNetConfig) -> str:
    """Path of the resnet that begins the last layer of a UNet."""
    return f"up_blocks.{len(config.up_block_types) - 1}.resnets.{config.layers_per_block}"


def _block(stage: str, index: int) -> str:
    return f"{stage}.attentions.{index}.transformer_blocks.0"
