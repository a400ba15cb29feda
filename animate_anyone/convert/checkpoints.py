"""Reads checkpoints in the layout of Moore-AnimateAnyone's `pretrained_weights`, strictly.

Every key of a network must be present, once, with the right shape. What a file may hold besides is
listed by name in `KNOWN_EXTRAS`, what it may call otherwise in `KNOWN_RENAMES`. Tensors stay
memory-mapped, so a network costs memory only as it is used, and pickles are read with
`weights_only=True`: a checkpoint is data, it cannot run code.
"""

import logging
import zipfile
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from ..base import layout
from ..base.config import UNetConfig
from ..base.files import read_json
from ..networks import (
    DenoisingUNet,
    PoseGuider,
    ReferenceUNet,
    VAEDecoder,
    VAEEncoder,
    build_image_encoder,
    build_vae,
)

logger = logging.getLogger(__name__)

# Part of a key in a file → the same part in today's libraries.
KNOWN_RENAMES = {
    layout.VAE: {
        ".attentions.0.query.": ".attentions.0.to_q.",
        ".attentions.0.key.": ".attentions.0.to_k.",
        ".attentions.0.value.": ".attentions.0.to_v.",
        ".attentions.0.proj_attn.": ".attentions.0.to_out.0.",
    },
}

# What training wrappers put before each key: DistributedDataParallel, torch.compile, Lightning.
WRAPPERS = ("module.", "_orig_mod.", "model.")

# Keys that a file may have and no network needs: CLIP's positions are always 0, 1, 2, …
KNOWN_EXTRAS = {layout.IMAGE_ENCODER: ("vision_model.embeddings.position_ids",)}


def load_part(name: str, weights_dir: Path) -> nn.Module:
    """Build one of `config.PART_NAMES` with its weights, in float32 and evaluation mode.

    Raises:
        FileNotFoundError: a weight or config file is missing.
        ValueError: a file is not what it should be, or its keys or shapes are not the network's.
    """
    loader, _ = PARTS[name]
    return loader(Path(weights_dir)).eval().requires_grad_(False)


def source_files(name: str, weights_dir: Path) -> list[Path]:
    """The files that `load_part` reads for a part: its weights and its configs.

    Raises:
        FileNotFoundError: one of them is missing.
        ValueError: one of them is clearly no checkpoint.
    """
    _, needed = PARTS[name]
    files = [_find(Path(weights_dir), entry) for entry in needed]
    for path in files:
        _refuse_impostors(path)
    if name == "denoising_unet" and _missing_spatial_keys(Path(weights_dir)):
        files.append(_find(Path(weights_dir), layout.SD_UNET))
    return files


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a .safetensors, .pth or .bin file, memory-mapped where the format allows.

    Raises:
        ValueError: the file is no checkpoint (empty, a Git-LFS pointer, a web page, truncated), or
            holds anything but tensors.
    """
    _refuse_impostors(path)
    state = _unwrapped(_tensors_of(path), path)
    for key, value in state.items():
        if not isinstance(key, str):
            raise ValueError(f"{path} must name its tensors by text, got {key!r}")
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"{path} must hold tensors only, got {type(value).__name__} at {key}")
    return state


def _tensors_of(path: Path):
    """What a file holds, whatever it is."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        mapped = zipfile.is_zipfile(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # whatever the bytes of a broken pickle make torch stumble over
        raise ValueError(
            f"{path} is truncated, corrupt or no plain checkpoint of tensors"
        ) from error


def _unwrapped(state, path: Path) -> dict:
    """The tensors of a model that was saved inside of something: a training wrapper puts its name
    before each key, a training state keeps the model under `state_dict`.
    """
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        logger.info("%s: the tensors below state_dict are used", path)
        state = state["state_dict"]
    if not isinstance(state, dict):
        raise ValueError(f"{path} must hold a dictionary of tensors, got {type(state).__name__}")
    for prefix in WRAPPERS:
        if state and all(isinstance(key, str) and key.startswith(prefix) for key in state):
            logger.info("%s: %r before all keys is left out", path, prefix)
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def load_strict(module: nn.Module, state: dict, source: str, extras: Iterable[str] = ()) -> None:
    """Give `module` the tensors of `state`, cast to float32 where needed, without a copy otherwise.

    Raises:
        ValueError: a key is missing or unknown, or a shape is wrong; names the first three.
    """
    expected = module.state_dict()
    missing = [key for key in expected if key not in state]
    unknown = [key for key in state if key not in expected and key not in extras]
    wrong = [
        f"{key} (got {list(state[key].shape)}, expected {list(value.shape)})"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    _complain(source, "lacks", missing)
    _complain(source, "has unknown keys", unknown)
    _complain(source, "has wrong shapes", wrong)
    module.load_state_dict({key: state[key].float() for key in expected}, assign=True)


def unet_config(weights_dir: Path) -> UNetConfig:
    """Sizes of both UNets from SD's config file, the longest window from the position tables."""
    values = read_json(_find(weights_dir, layout.SD_UNET_CONFIG))
    path = _find(weights_dir, layout.MOTION_MODULE)
    tables = [value for key, value in read_state_dict(path).items() if key.endswith(".pe")]
    if not tables:
        raise ValueError(f"{path} lacks the position tables (keys ending in .pe)")
    return UNetConfig.from_dict(values | {"motion_max_frames": tables[0].shape[1]})


def _image_encoder(weights_dir: Path) -> nn.Module:
    module = build_image_encoder(read_json(weights_dir / layout.IMAGE_ENCODER_CONFIG))
    _fill(module.clip, weights_dir, layout.IMAGE_ENCODER)
    return module


def _vae(weights_dir: Path) -> nn.Module:
    vae = build_vae(read_json(weights_dir / layout.VAE_CONFIG))
    _fill(vae, weights_dir, layout.VAE)
    return vae


def _reference_unet(weights_dir: Path) -> nn.Module:
    with torch.device("meta"):
        module = ReferenceUNet(unet_config(weights_dir))
    _fill(module, weights_dir, layout.REFERENCE_UNET)
    return module


def _pose_guider(weights_dir: Path) -> nn.Module:
    path = _find(weights_dir, layout.POSE_GUIDER)
    state = read_state_dict(path)
    blocks = sum(key.startswith("blocks.") and key.endswith(".weight") for key in state)
    names = ["conv_in", *(f"blocks.{index}" for index in range(blocks)), "conv_out"]
    keys = [f"{name}.weight" for name in names]
    _complain(str(path), "lacks", [key for key in keys if key not in state])
    channels = [len(state[key]) for key in keys]
    module = PoseGuider(channels, in_channels=state["conv_in.weight"].shape[1])
    load_strict(module, state, str(path))
    return module


def _denoising_unet(weights_dir: Path) -> nn.Module:
    with torch.device("meta"):
        module = DenoisingUNet(unet_config(weights_dir))
    path = _find(weights_dir, layout.DENOISING_UNET)
    motion_path = _find(weights_dir, layout.MOTION_MODULE)
    spatial, motion = read_state_dict(path), read_state_dict(motion_path)
    _complain(f"{path} besides {motion_path}", "repeats", sorted(spatial.keys() & motion.keys()))
    missing = _missing_spatial_keys(weights_dir)
    if missing:
        base = _find(weights_dir, layout.SD_UNET)
        logger.warning("%s lacks %d keys, taken from %s", path, len(missing), base)
        base_state = read_state_dict(base)
        spatial |= {key: base_state[key] for key in missing if key in base_state}
    load_strict(module, spatial | motion, f"{path} with {motion_path.name}")
    return module


# Part → how to build it, and the files it is built from (weights without ending, configs with).
PARTS = {
    "image_encoder": (_image_encoder, (layout.IMAGE_ENCODER, layout.IMAGE_ENCODER_CONFIG)),
    "vae_encoder": (lambda folder: VAEEncoder(_vae(folder)), (layout.VAE, layout.VAE_CONFIG)),
    "vae_decoder": (lambda folder: VAEDecoder(_vae(folder)), (layout.VAE, layout.VAE_CONFIG)),
    "reference_unet": (
        _reference_unet,
        (layout.REFERENCE_UNET, layout.MOTION_MODULE, layout.SD_UNET_CONFIG),
    ),
    "pose_guider": (_pose_guider, (layout.POSE_GUIDER,)),
    "denoising_unet": (
        _denoising_unet,
        (layout.DENOISING_UNET, layout.MOTION_MODULE, layout.SD_UNET_CONFIG),
    ),
}


def _find(weights_dir: Path, entry: str) -> Path:
    """A config by its name, or the first weight file that exists under `entry` with an ending."""
    endings = ("",) if entry.endswith(".json") else layout.WEIGHT_ENDINGS
    candidates = [weights_dir / (entry + ending) for ending in endings]
    for path in candidates:
        if path.is_file():
            return path
    raise FileNotFoundError(f"missing file: {' or '.join(str(path) for path in candidates)}")


def _missing_spatial_keys(weights_dir: Path) -> list[str]:
    """Keys of the denoising UNet, motion modules apart, that its checkpoint does not hold."""
    with torch.device("meta"):
        expected = DenoisingUNet(unet_config(weights_dir)).state_dict()
    state = read_state_dict(_find(weights_dir, layout.DENOISING_UNET))
    return [key for key in expected if "motion_modules" not in key and key not in state]


def _fill(module: nn.Module, weights_dir: Path, entry: str) -> None:
    path = _find(weights_dir, entry)
    state = {
        _rename(key, KNOWN_RENAMES.get(entry, {})): value
        for key, value in read_state_dict(path).items()
    }
    load_strict(module, state, str(path), KNOWN_EXTRAS.get(entry, ()))


def _rename(key: str, renames: dict[str, str]) -> str:
    for old, new in renames.items():
        key = key.replace(old, new)
    return key


def _refuse_impostors(path: Path) -> None:
    """Files that a failed download leaves in a checkpoint's place."""
    with path.open("rb") as file:
        head = file.read(256)
    if not head:
        raise ValueError(f"{path} is empty, expected weights or a config")
    if head.startswith(b"version https://git-lfs"):
        raise ValueError(f"{path} is a Git-LFS pointer, expected the file it points to")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise ValueError(f"{path} is a web page, expected a checkpoint")


def _complain(source: str, problem: str, keys: list[str]) -> None:
    if keys:
        more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
        raise ValueError(f"{source} {problem}: {', '.join(keys[:3])}{more}")
