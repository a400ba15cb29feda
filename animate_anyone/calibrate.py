"""Records what the denoising UNet is asked in a short run of the pipeline, for `int8-hybrid`."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from .base.checks import check_images
from .convert.quantize import KEPT
from .run.pipeline import OVAnimateAnyonePipeline

CALIBRATION_FRAMES = 8  # of the pose video, from the first on
CALIBRATION_STEPS = 10
CALIBRATION_WIDTH = (
    256  # pixels, where the model has no size of its own: ranges hardly depend on it
)


class PipelineCalibration:
    """The ranges of a run on one picture and some poses, see `convert.quantize.Calibration`.

    Args:
        reference_image, pose_images: pictures like those that will be animated, at least one pose
            map, of which the first `CALIBRATION_FRAMES` are used.

    Raises:
        ValueError, TypeError: the pictures are none, or missing.
    """

    def __init__(self, reference_image: Image.Image, pose_images: Sequence[Image.Image]):
        if reference_image is None or pose_images is None:
            raise ValueError(
                "compression 'int8-hybrid' needs reference_image and pose_images to calibrate on"
            )
        check_images("reference_image", [reference_image])
        check_images("pose_images", pose_images)
        self.reference_image = reference_image
        self.pose_images = pose_images[:CALIBRATION_FRAMES]

    @property
    def digest(self) -> str:
        """SHA-256 of all that the calibration depends on, but for the models."""
        settings = CALIBRATION_FRAMES, CALIBRATION_STEPS, CALIBRATION_WIDTH, KEPT
        digest = hashlib.sha256(repr(settings).encode())
        for image in (self.reference_image, *self.pose_images):
            digest.update(repr((image.size, image.mode)).encode())
            digest.update(image.tobytes())
        return digest.hexdigest()

    def record(self, model_dir: Path) -> list[Mapping[str, np.ndarray]]:
        """What a short run at a small size gives the denoising UNet, {port name: array} per
        step.
        """
        pipe = OVAnimateAnyonePipeline.from_pretrained(model_dir)
        recorder = Recorder(pipe.parts["denoising_unet"])
        pipe.parts["denoising_unet"] = recorder
        own = pipe.generation_config.width or pipe.generation_config.height
        size = pipe.resolve_size(self.pose_images, width=None if own else CALIBRATION_WIDTH)
        pipe(
            self.reference_image,
            self.pose_images,
            width=size[0],
            height=size[1],
            num_inference_steps=CALIBRATION_STEPS,
            context_schedule="uniform",  # others fill up short clips
            output_type="latent",
        )
        return recorder.inputs


class Recorder:
    """Takes the place of a part, passes calls on and keeps the inputs that have a reference: the
    others hold empty features, of which there is no range to measure.
    """

    def __init__(self, part):
        self.part, self.inputs = part, []

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """See `OVPart.__call__`."""
        if all(value.size for value in inputs.values()):
            self.inputs.append(inputs)  # the pipeline makes new arrays for every call
        return self.part(**inputs)
