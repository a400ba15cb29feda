"""8-bit arithmetic for the denoising UNet, calibrated on what the pipeline itself asks of it.

Weights alone in 8 bits are multiplied as 16- or 32-bit numbers. With activations in 8 bits too, a
CPU's or GPU's integer units do it, which takes the ranges of all activations: a run of the pipeline
is recorded, and NNCF measures them on it.
"""

import contextlib
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import nncf
import numpy as np
import openvino as ov

logger = logging.getLogger(__name__)

# What stays in 16 or 32 bits, as regular expressions on a layer's path in the UNet: they see one
# vector per step or per picture, so 8 bits save no time, and the timestep is what loses the most by
# them (`benchmarks/int8.py` quantises one kind of layer at a time).
KEPT = (r"time_emb", r"attn2")


class Calibration(Protocol):
    """Shows what the denoising UNet is asked in use."""

    digest: str  # of all that it depends on, but for the models

    def record(self, model_dir: Path) -> list[Mapping[str, np.ndarray]]:
        """Inputs of the denoising UNet, {port name: array} per call, from a run of these models."""


def quantize(
    model: ov.Model, inputs: Sequence[Mapping[str, np.ndarray]], kept: Sequence[str] = KEPT
) -> ov.Model:
    """The model with weights and activations of its matrix products and convolutions in 8 bits.

    Args:
        model: uncompressed; it comes back with the sizes of the inputs, the answer with its own.
        inputs: {port name: array} each.
        kept: regular expressions; layers whose path in the module holds one are left as they are.
    """
    chosen, ignored = split_layers(model, kept)
    logger.info("%d of %d layers in 8 bits", len(chosen), len(chosen) + len(ignored))
    dynamic = {port.get_any_name(): port.partial_shape for port in model.inputs}
    # Ranges are measured in less memory when all sizes are known.
    model.reshape({name: list(value.shape) for name, value in inputs[0].items()})
    with progress_on_stderr():
        quantized = nncf.quantize(
            model,
            nncf.Dataset(inputs),
            subset_size=len(inputs),
            model_type=nncf.ModelType.TRANSFORMER,
            ignored_scope=nncf.IgnoredScope(names=ignored),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix.DISABLE,  # is for CPUs without VNNI, and costs a bit
                smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=-1),
            ),
        )
    quantized.reshape(dynamic)
    return quantized


def progress_on_stderr():
    """A context in which NNCF's progress bars go where tqdm's do, and not between a command's
    answers.
    """
    return contextlib.redirect_stdout(sys.stderr)


def split_layers(model: ov.Model, kept: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of the layers that quantisation can change: those that it may, and those that a pattern
    of `kept` is found in.
    """
    kinds = ("Convolution", "MatMul")
    layers = [op.get_friendly_name() for op in model.get_ops() if op.get_type_name() in kinds]
    ignored = [name for name in layers if any(re.search(pattern, name) for pattern in kept)]
    return [name for name in layers if name not in ignored], ignored
