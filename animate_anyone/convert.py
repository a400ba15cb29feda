"""PyTorch → OpenVINO IR: six parts through one function, each freed before the next.

A part is loaded memory-mapped, traced on a tiny example, given named ports, compressed, saved and
forgotten. Nothing of the example's size is baked in: batch, frames, height, width and the number of
reference tokens stay dynamic.

Axes: b batch, c latent channels, f frames, H W pixels, h w latent rows and columns, m reference
tokens, d token width, e width of the image embedding.
"""

import gc
import logging
import math
import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import nncf
import openvino as ov
import torch
from PIL import Image
from tqdm.auto import tqdm
from transformers import CLIPVisionConfig

from . import config as layout
from .config import (
    DEEP_FEATURES,
    DEFAULT_SCHEDULER,
    PART_NAMES,
    GenerationConfig,
    last_layer_name,
    read_json,
    reference_feature_names,
)
from .lock import exclusive
from .manifest import file_facts, is_current, load_or_new, write_manifest
from .models import build_vae
from .quantize import calibration_hash, progress_on_stderr, quantize, record_inputs
from .weights import load_part, source_files, unet_config

logger = logging.getLogger(__name__)
logging.getLogger("nncf").setLevel(logging.WARNING)  # its tables would drown our progress bar

COMPRESSIONS = ("none", "fp16", "int8", "int8-hybrid")
QUANTIZED_PART = "denoising_unet"  # by int8-hybrid; it takes nearly all of the time
LIBRARIES = ("openvino", "nncf", "torch", "diffusers", "transformers")


def convert_models(
    weights_dir,
    model_dir,
    compression: str = "int8",
    parts: Sequence[str] = PART_NAMES,
    *,
    reference_image: Image.Image | None = None,
    pose_images: Sequence[Image.Image] | None = None,
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
        reference_image, pose_images: for "int8-hybrid" alone, which runs the pipeline on them to see
            the range of every activation: pictures like those that will be animated, at least one
            pose map, of which the first 8 are used.

    Returns:
        `model_dir`.

    Raises:
        FileNotFoundError, ValueError: see `weights.load_part`; nothing is converted before all
            source files are found. A compression that is unknown, or pictures that are missing,
            broken, or given where nothing is calibrated.
        TypeError: reference_image and pose_images are no pictures.
        OSError: an IR could not be written, as on a full disk; what was finished is kept.
    """
    weights_dir, model_dir = Path(weights_dir), Path(model_dir)
    if compression not in COMPRESSIONS:
        raise ValueError(f"compression must be one of {COMPRESSIONS}, got {compression!r}")
    unknown = [name for name in parts if name not in PART_NAMES]
    if isinstance(parts, str) or unknown:
        raise ValueError(f"parts must be a list of some of {PART_NAMES}, got {parts!r}")
    calibration = _calibration(compression, parts, reference_image, pose_images)
    if not weights_dir.is_dir():
        raise FileNotFoundError(f"weights must be a folder, {weights_dir} is none")
    if model_dir.exists() and not model_dir.is_dir():
        raise FileExistsError(f"models must be a folder, {model_dir} is none")
    sources = {name: source_files(name, weights_dir) for name in PART_NAMES if name in parts}
    settings = inference_settings(weights_dir)
    hashes = _hash_all(sources, weights_dir)
    recipes = {
        name: _recipe(
            {file: hashes[file] for file in _relative(files, weights_dir)},
            "int8" if calibration else compression,
        )
        for name, files in sources.items()
    }
    wanted, inputs = dict(recipes), None
    if calibration:
        wanted[QUANTIZED_PART] = recipes[QUANTIZED_PART] | {
            "compression": compression,
            "calibration": calibration,
        }
    model_dir.mkdir(parents=True, exist_ok=True)
    with exclusive(model_dir, "conversion"):
        if calibration and not _is_there(model_dir, QUANTIZED_PART, wanted[QUANTIZED_PART]):
            _convert_stale_parts(weights_dir, model_dir, recipes, settings)  # one that can be run
            inputs = record_inputs(model_dir, reference_image, pose_images)
        _convert_stale_parts(weights_dir, model_dir, wanted, settings, inputs)
    return model_dir


def _calibration(compression: str, parts, reference_image, pose_images) -> str | None:
    """Hash of what is calibrated on, None where nothing is."""
    given = [reference_image is not None, pose_images is not None]
    if compression != "int8-hybrid":
        if any(given):
            raise ValueError(
                "reference_image and pose_images are for compression 'int8-hybrid',"
                f" got {compression!r}"
            )
        return None
    if not all(given):
        raise ValueError(
            "compression 'int8-hybrid' needs reference_image and pose_images to calibrate on"
        )
    if set(parts) != set(PART_NAMES):
        raise ValueError(
            f"parts must be all for compression 'int8-hybrid', whose calibration runs them, got {parts!r}"
        )
    return calibration_hash(reference_image, pose_images)


def _convert_stale_parts(
    weights_dir: Path, model_dir: Path, recipes: dict, settings: dict, inputs=None
) -> None:
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
        saved = convert_part(name, weights_dir, model_dir, recipe["compression"], inputs)
        manifest["parts"][name] = {"recipe": recipe, **saved}
        write_manifest(model_dir, manifest)
    write_manifest(model_dir, manifest)


@dataclass(frozen=True)
class Ports:
    """What tracing needs to know of a network: a tiny example per input, and the names of what the
    module answers."""

    example: dict[str, torch.Tensor]
    outputs: tuple[str, ...]

    def shape(self, name: str) -> list[int]:
        """Shape of an input with -1 where an axis is dynamic: all but channels and widths, which
        are axis 1 of pictures, latents and features, and the last of tokens and timesteps."""
        shape = self.example[name].shape
        fixed = 1 if len(shape) >= 4 else len(shape) - 1
        return [size if axis == fixed else -1 for axis, size in enumerate(shape)]


def part_ports(name: str, module: torch.nn.Module) -> Ports:
    """Ports of a part. Every size of the example differs from the others where it may, so that no
    two axes are taken for one."""
    return PORTS[name](module)


def _image_encoder_ports(module) -> Ports:
    size = module.clip.config.image_size
    return Ports({"pixel_values": torch.zeros(1, 3, size, size)}, ("image_embeds",))


def _vae_encoder_ports(module) -> Ports:
    image = torch.zeros(1, module.vae.config.in_channels, 64, 128)
    return Ports({"image": image}, ("latent",))


def _vae_decoder_ports(module) -> Ports:
    latent = torch.zeros(1, module.vae.config.latent_channels, 8, 16)
    return Ports({"latent": latent}, ("image",))


def _reference_unet_ports(module) -> Ports:
    example = {
        "sample": torch.zeros(1, module.config.in_channels, 8, 16),
        "timestep": torch.zeros(1),
        "encoder_hidden_states": torch.zeros(1, 1, module.config.cross_attention_dim),
    }
    return Ports(example, tuple(reference_feature_names(module.config)))


def _pose_guider_ports(module) -> Ports:
    image = torch.zeros(1, module.conv_in.in_channels, 2, 64, 128)
    return Ports({"pose_images": image}, ("pose_features",))


def _denoising_unet_ports(module) -> Ports:
    config = module.config
    example = {
        "sample": torch.zeros(1, config.in_channels, 2, 8, 16),
        "timestep": torch.zeros(1),
        "encoder_hidden_states": torch.zeros(1, 1, config.cross_attention_dim),
        "pose_features": torch.zeros(1, config.block_out_channels[0], 2, 8, 16),
    }
    for name in reference_feature_names(config):
        width = module.get_submodule(name).norm1.normalized_shape[0]
        example[name] = torch.zeros(1, 3, width)
    return Ports(example, ("noise_pred",))


PORTS: dict[str, Callable[[torch.nn.Module], Ports]] = {
    "image_encoder": _image_encoder_ports,
    "vae_encoder": _vae_encoder_ports,
    "vae_decoder": _vae_decoder_ports,
    "reference_unet": _reference_unet_ports,
    "pose_guider": _pose_guider_ports,
    "denoising_unet": _denoising_unet_ports,
}


def trace(module: torch.nn.Module, example: Sequence[torch.Tensor]) -> ov.Model:
    """What OpenVINO makes of a module; see `to_openvino` for how long the module must live."""
    with torch.no_grad(), warnings.catch_warnings():
        # Branches that the trace fixes choose memory layouts in diffusers, never a result.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        return ov.convert_model(module, example_input=tuple(example))


def to_openvino(name: str, module: torch.nn.Module) -> ov.Model:
    """Trace a part and name its ports. The model shares the module's weights: keep the module
    alive and untouched until the model is saved."""
    ports = part_ports(name, module)
    model = trace(module, list(ports.example.values()))
    for port, port_name in zip(model.inputs, ports.example, strict=True):
        port.get_tensor().set_names({port_name})
        port.get_node().set_partial_shape(ov.PartialShape(ports.shape(port_name)))
    for port, port_name in zip(model.outputs, ports.outputs, strict=True):
        port.get_tensor().set_names({port_name})
    if name.startswith("vae"):
        # GPUs run in float16, where Stable Diffusion's VAE overflows unless it is scaled down.
        model.set_rt_info("8.0", ["runtime_options", "ACTIVATIONS_SCALE_FACTOR"])
    if name == "denoising_unet":
        _add_deep_features(model, last_layer_name(module.config))
    model.validate_nodes_and_infer_types()
    return model


def _add_deep_features(model: ov.Model, resnet: str) -> None:
    """One more output: what the resnet gets from the layer below, (b f, d, h, w), for steps that run
    the last layer alone."""
    path = f"__module.{resnet}.norm1/"
    (norm,) = (
        op
        for op in model.get_ops()
        if op.get_type_name() == "GroupNormalization" and op.get_friendly_name().startswith(path)
    )
    below_and_skip = norm.input_value(0).get_node()
    (port,) = model.add_outputs(below_and_skip.input_value(0))
    port.get_tensor().set_names({DEEP_FEATURES})


def convert_part(
    name: str, weights_dir: Path, model_dir: Path, compression: str, inputs=None
) -> dict:
    """Convert one part, whatever is there already; returns what the manifest keeps of it: size and
    hash of its two files, and the size that its weights have uncompressed. "int8-hybrid" needs
    `inputs`, see `quantize.quantize`."""
    module = load_part(name, weights_dir)
    model = to_openvino(name, module)
    uncompressed = _float32_bytes(model)
    if compression == "int8":
        with progress_on_stderr():
            model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
    elif compression == "int8-hybrid":
        model = quantize(model, inputs)
    files = _save(model, model_dir / f"{name}.xml", compress_to_fp16=compression != "none")
    del model, module
    _free_memory()
    return {"files": files, "float32_bytes": uncompressed}


def _float32_bytes(model: ov.Model) -> int:
    constants = (op for op in model.get_ops() if op.get_type_name() == "Constant")
    shapes = [op.get_output_shape(0) for op in constants if op.get_element_type() == ov.Type.f32]
    return 4 * sum(math.prod(shape) for shape in shapes)


def _save(model: ov.Model, path: Path, compress_to_fp16: bool) -> dict:
    """Write to a folder of its own, look whether it can be read, then move: a reader never sees
    half an IR, and one that has the old files mapped keeps them."""
    partial = path.parent / ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        try:
            ov.save_model(model, partial / path.name, compress_to_fp16=compress_to_fp16)
            ov.Core().read_model(partial / path.name)
        except RuntimeError as error:
            free = shutil.disk_usage(partial).free / 1e9
            raise OSError(
                f"{path} could not be written, {free:.2f} GB are free: {str(error).strip()}"
            ) from error
        for file in (path.with_suffix(".bin"), path):
            os.replace(partial / file.name, file)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return {file.name: file_facts(file) for file in (path, path.with_suffix(".bin"))}


def _free_memory() -> None:
    """torch.jit keeps every traced class, and with it the weights, until its caches are cleared."""
    torch._C._jit_clear_class_registry()
    torch.jit._recursive.concrete_type_store = torch.jit._recursive.ConcreteTypeStore()
    torch.jit._state._clear_class_state()
    gc.collect()


def _is_there(model_dir: Path, name: str, recipe: dict) -> bool:
    return is_current(model_dir, name, load_or_new(model_dir)["parts"].get(name), recipe)


def _recipe(sources: dict[str, str], compression: str) -> dict:
    versions = {library: version(library) for library in LIBRARIES}
    return {"sources": sources, "compression": compression, "versions": versions}


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
    fill in what a config file leaves out, as that of the published VAE does."""
    scheduler = weights_dir / layout.SCHEDULER_CONFIG
    generation = weights_dir / layout.GENERATION_CONFIG
    with torch.device("meta"):
        vae = build_vae(read_json(weights_dir / layout.VAE_CONFIG)).config
    clip = CLIPVisionConfig.from_dict(read_json(weights_dir / layout.IMAGE_ENCODER_CONFIG))
    recommended = read_json(generation) if generation.is_file() else {}
    return {
        "generation": GenerationConfig.from_dict(recommended).to_dict(),
        "scheduler": read_json(scheduler) if scheduler.is_file() else DEFAULT_SCHEDULER,
        "config": {
            "vae_scaling_factor": vae.scaling_factor,
            "vae_scale_factor": 2 ** (len(vae.block_out_channels) - 1),
            "image_size": clip.image_size,
            "unet": unet_config(weights_dir).to_dict(),
        },
    }
