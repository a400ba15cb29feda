"""PyTorch → OpenVINO IR: what is to be converted, what is current, and one part after the other.

Axes as in `ports.py`.
"""

import logging
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from tqdm.auto import tqdm
from transformers import CLIPVisionConfig

from ..base import layout
from ..base.config import DEFAULT_SCHEDULER, GenerationConfig, ModelConfig
from ..base.files import file_facts, read_json
from ..base.layout import PART_NAMES
from ..base.lock import exclusive
from ..base.manifest import is_current, load_or_new, write_manifest
from ..networks import build_vae
from .checkpoints import source_files, unet_config
from .export import convert_part
from .quantize import Calibration

logger = logging.getLogger(__name__)

COMPRESSIONS = ("none", "fp16", "int8", "int8-hybrid")
QUANTIZED_PART = "denoising_unet"  # by int8-hybrid; it takes nearly all of the time
LIBRARIES = ("openvino", "nncf", "torch", "diffusers", "transformers")


def convert_models(
    weights_dir,
    model_dir,
    compression: str = "int8",
    parts: Sequence[str] = PART_NAMES,
    calibration: Calibration | None = None,
) -> Path:
    """Convert all six networks or some; parts that are already there and current are kept.

    Args:
        weights_dir: folder in the layout of Moore-AnimateAnyone's `pretrained_weights`.
        model_dir: receives one `.xml` and `.bin` per part, and `manifest.json`.
        compression: how weights are stored: "none" as float32, exactly those of the checkpoint;
            "fp16" in half of that; "int8" in a quarter, as 8-bit integers with a scale per row
            (NNCF), biases and norms in float16; "int8-hybrid" is the same but for the denoising
            UNet, which computes with 8-bit activations as well: faster, less exact.
        parts: which of `PART_NAMES`. A pipeline needs all, converted in as many calls as you like;
            "int8-hybrid" needs all in one.
        calibration: for "int8-hybrid" alone, a `calibrate.PipelineCalibration`: it shows the
            range of every activation.

    Returns:
        `model_dir`.

    Raises:
        FileNotFoundError, ValueError: see `checkpoints.load_part`; nothing is converted before all
            source files are found. A compression that is unknown, or a calibration that is missing,
            or given where nothing is calibrated.
        OSError: an IR could not be written, as on a full disk; what was finished is kept.
    """
    weights_dir, model_dir = Path(weights_dir), Path(model_dir)
    _check_plan(compression, parts, calibration)
    check_folders(weights_dir, model_dir)
    sources = {name: source_files(name, weights_dir) for name in PART_NAMES if name in parts}
    settings = inference_settings(weights_dir)
    plain = _recipes(sources, weights_dir, "int8" if calibration else compression)
    wanted, inputs = plain, None
    if calibration:
        own = {"compression": compression, "calibration": calibration.digest}
        wanted = plain | {QUANTIZED_PART: plain[QUANTIZED_PART] | own}
    model_dir.mkdir(parents=True, exist_ok=True)
    with exclusive(model_dir, "conversion"):
        if calibration and not _is_there(model_dir, QUANTIZED_PART, wanted[QUANTIZED_PART]):
            _convert_stale_parts(weights_dir, model_dir, plain, settings)  # a pipeline that can run
            inputs = calibration.record(model_dir)
        _convert_stale_parts(weights_dir, model_dir, wanted, settings, inputs)
    return model_dir


def _check_plan(compression: str, parts, calibration: Calibration | None) -> None:
    if compression not in COMPRESSIONS:
        raise ValueError(f"compression must be one of {COMPRESSIONS}, got {compression!r}")
    unknown = [name for name in parts if name not in PART_NAMES]
    if isinstance(parts, str) or unknown:
        raise ValueError(f"parts must be a list of some of {PART_NAMES}, got {parts!r}")
    if compression != "int8-hybrid":
        if calibration is not None:
            raise ValueError(f"calibration is for compression 'int8-hybrid', got {compression!r}")
        return
    if calibration is None:
        raise ValueError(
            "compression 'int8-hybrid' needs reference_image and pose_images to calibrate on"
        )
    if set(parts) != set(PART_NAMES):
        raise ValueError(
            "parts must be all for compression 'int8-hybrid', whose calibration runs them,"
            f" got {parts!r}"
        )


def check_folders(weights_dir: Path, model_dir: Path) -> None:
    """Raises FileNotFoundError or FileExistsError unless they are folders, or the second can be."""
    if not weights_dir.is_dir():
        raise FileNotFoundError(f"weights must be a folder, {weights_dir} is none")
    if model_dir.exists() and not model_dir.is_dir():
        raise FileExistsError(f"models must be a folder, {model_dir} is none")


def _convert_stale_parts(
    weights_dir: Path, model_dir: Path, recipes: dict, settings: dict, inputs=None
) -> None:
    def convert(name: str, compression: str) -> dict:
        return convert_part(name, weights_dir, model_dir, compression, inputs)

    convert_stale(model_dir, recipes, settings, convert)


def convert_stale(
    model_dir: Path, recipes: dict, settings: dict, convert: Callable[[str, str], dict]
) -> None:
    """Convert those parts that are not there by their recipe, and enter them in the manifest; the
    folder is locked by the caller. `convert(name, compression)` writes a part.
    """
    manifest = load_or_new(model_dir) | settings
    bar = tqdm(recipes, desc="Converting", unit="part")
    for name in bar:
        bar.set_postfix_str(name)
        recipe = recipes[name]
        if is_current(model_dir, name, manifest["parts"].get(name), recipe):
            logger.info("%s is current, kept", name)
            continue
        manifest["parts"].pop(name, None)
        write_manifest(model_dir, manifest)  # from here on the old files are not trusted
        saved = convert(name, recipe["compression"])
        manifest["parts"][name] = {"recipe": recipe, **saved}
        write_manifest(model_dir, manifest)
    write_manifest(model_dir, manifest)


def _is_there(model_dir: Path, name: str, recipe: dict) -> bool:
    return is_current(model_dir, name, load_or_new(model_dir)["parts"].get(name), recipe)


def _recipes(sources: dict[str, list[Path]], weights_dir: Path, compression: str) -> dict:
    """Part → what its IR is made from: hashes of the files, compression, library versions."""
    hashes = _hash_all(sources, weights_dir)
    versions = {library: version(library) for library in LIBRARIES}
    return {
        name: {
            "sources": {file: hashes[file] for file in _relative(files, weights_dir)},
            "compression": compression,
            "versions": versions,
        }
        for name, files in sources.items()
    }


def _hash_all(sources: dict[str, list[Path]], weights_dir: Path) -> dict[str, str]:
    paths = sorted({path for files in sources.values() for path in files})
    bar = tqdm(paths, desc="Checking weights", unit="file")
    return {
        name: file_facts(path)["sha256"] for path, name in zip(bar, _relative(paths, weights_dir))
    }


def _relative(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def inference_settings(weights_dir: Path) -> dict:
    """What inference needs to know and cannot read off the IRs. The libraries' own config classes
    fill in what a config file leaves out, as that of the published VAE does.
    """
    scheduler = weights_dir / layout.SCHEDULER_CONFIG
    generation = weights_dir / layout.GENERATION_CONFIG
    with torch.device("meta"):
        vae = build_vae(read_json(weights_dir / layout.VAE_CONFIG)).config
    clip = CLIPVisionConfig.from_dict(read_json(weights_dir / layout.IMAGE_ENCODER_CONFIG))
    recommended = read_json(generation) if generation.is_file() else {}
    return {
        "generation": GenerationConfig.from_dict(recommended).to_dict(),
        "scheduler": read_json(scheduler) if scheduler.is_file() else DEFAULT_SCHEDULER,
        "config": ModelConfig(
            unet=unet_config(weights_dir),
            vae_scaling_factor=vae.scaling_factor,
            vae_scale_factor=2 ** (len(vae.block_out_channels) - 1),
            image_size=clip.image_size,
        ).to_dict(),
    }
