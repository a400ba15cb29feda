"""8-bit arithmetic for the denoising UNet, calibrated on what the pipeline itself asks of it.

Weights alone in 8 bits are multiplied as 16- or 32-bit numbers. With activations in 8 bits too, a CPU's
or GPU's integer units do it, which takes the ranges of all activations: a run of the pipeline is
recorded, and NNCF measures them on it.
"""

import contextlib
import hashlib
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import nncf
import numpy as np
import openvino as ov
from PIL import Image

from .checks import check_images
from .pipeline import OVAnimateAnyonePipeline
from .video import fit_image

logger = logging.getLogger(__name__)

FRAMES = 8  # of the pose video, from the first on
STEPS = 10
WIDTH = 256  # pixels, where the model has no size of its own: ranges hardly depend on it

# What stays in 16 or 32 bits, as regular expressions on a layer's path in the UNet: they see one vector
# per step or per picture, so 8 bits save no time, and the timestep is what loses the most by them
# (`benchmarks/int8.py` quantises one kind of layer at a time).
KEPT = (r"time_emb", r"attn2")


class Recorder:
    """Takes the place of a part, passes calls on and keeps the inputs that have a reference: the
    others hold empty features, of which there is no range to measure."""

    def __init__(self, part):
        self.part, self.inputs = part, []

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        if all(value.size for value in inputs.values()):
            self.inputs.append(inputs)  # the pipeline makes new arrays for every call
        return self.part(**inputs)


def record_inputs(
    model_dir: Path, reference_image: Image.Image, pose_images: Sequence[Image.Image]
) -> list[Mapping[str, np.ndarray]]:
    """What a short run at a small size gives the denoising UNet, {port name: array} per step."""
    pipe = OVAnimateAnyonePipeline.from_pretrained(model_dir)
    recorder = pipe.parts["denoising_unet"] = Recorder(pipe.parts["denoising_unet"])
    own = pipe.generation_config.width or pipe.generation_config.height
    size = pipe.resolve_size(pose_images, width=None if own else WIDTH)
    pipe(
        fit_image(reference_image, *size),
        [fit_image(pose, *size) for pose in pose_images[:FRAMES]],
        width=size[0],
        height=size[1],
        num_inference_steps=STEPS,
        output_type="latent",
    )
    return recorder.inputs


def calibration_hash(reference_image: Image.Image, pose_images: Sequence[Image.Image]) -> str:
    """SHA-256 of all that the calibration depends on, but for the models.

    Raises:
        ValueError, TypeError: the pictures are none.
    """
    check_images("reference_image", [reference_image])
    check_images("pose_images", pose_images)
    digest = hashlib.sha256(repr((FRAMES, STEPS, WIDTH, KEPT)).encode())
    for image in (reference_image, *pose_images[:FRAMES]):
        digest.update(repr((image.size, image.mode)).encode())
        digest.update(image.tobytes())
    return digest.hexdigest()


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
    """A context in which NNCF's progress bars go where tqdm's do, and not between a command's answers."""
    return contextlib.redirect_stdout(sys.stderr)


def split_layers(model: ov.Model, kept: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of the layers that quantisation can change: those that it may, and those that a pattern
    of `kept` is found in."""
    kinds = ("Convolution", "MatMul")
    layers = [op.get_friendly_name() for op in model.get_ops() if op.get_type_name() in kinds]
    ignored = [name for name in layers if any(re.search(pattern, name) for pattern in kept)]
    return [name for name in layers if name not in ignored], ignored
