"""One network to OpenVINO IR: traced, given named ports, compressed, saved, freed."""

import gc
import logging
import math
import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

import nncf
import openvino as ov
import torch

from ..base.config import last_layer_name
from ..base.files import file_facts
from ..base.layout import DEEP_FEATURES
from ..base.streams import quiet_libraries
from .checkpoints import load_part
from .ports import part_ports
from .quantize import progress_on_stderr, quantize

logging.getLogger("nncf").setLevel(logging.WARNING)  # its tables would drown our progress bar


def convert_part(
    name: str, weights_dir: Path, model_dir: Path, compression: str, inputs=None
) -> dict:
    """Convert one part, whatever is there already; returns what the manifest keeps of it: size and
    hash of its two files, and the size that its weights have uncompressed. "int8-hybrid" needs
    `inputs`, see `quantize.quantize`.
    """
    module = load_part(name, weights_dir)
    model = to_openvino(name, module)
    uncompressed = _float32_bytes(model)
    if compression == "int8":
        with progress_on_stderr():
            model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
    elif compression == "int8-hybrid":
        model = quantize(model, inputs)
    files = save_ir(model, model_dir / f"{name}.xml", compress_to_fp16=compression != "none")
    del model, module
    _free_memory()
    return {"files": files, "float32_bytes": uncompressed}


def trace(module: torch.nn.Module, example: Sequence[torch.Tensor]) -> ov.Model:
    """What OpenVINO makes of a module; see `to_openvino` for how long the module must live."""
    with torch.no_grad(), quiet_libraries("transformers", "diffusers", "openvino"):
        # Branches that the trace fixes choose memory layouts in diffusers, never a result.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        return ov.convert_model(module, example_input=tuple(example))


def to_openvino(name: str, module: torch.nn.Module) -> ov.Model:
    """Trace a part and name its ports. The model shares the module's weights: keep the module
    alive and untouched until the model is saved.
    """
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
    """One more output: what the resnet gets from the layer below, (b f, d, h, w), for steps that
    run the last layer alone.
    """
    path = f"__module.{resnet}.norm1/"
    (norm,) = (
        op
        for op in model.get_ops()
        if op.get_type_name() == "GroupNormalization" and op.get_friendly_name().startswith(path)
    )
    below_and_skip = norm.input_value(0).get_node()
    (port,) = model.add_outputs(below_and_skip.input_value(0))
    port.get_tensor().set_names({DEEP_FEATURES})


def _float32_bytes(model: ov.Model) -> int:
    constants = (op for op in model.get_ops() if op.get_type_name() == "Constant")
    shapes = [op.get_output_shape(0) for op in constants if op.get_element_type() == ov.Type.f32]
    return 4 * sum(math.prod(shape) for shape in shapes)


def save_ir(model: ov.Model, path: Path, compress_to_fp16: bool) -> dict:
    """Write to a folder of its own, look whether it can be read, then move: a reader never sees
    half an IR, and one that has the old files mapped keeps them.
    """
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
