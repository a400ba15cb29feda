"""What a run refuses before any network is started: one sentence with what, got and expected."""

import math
from collections.abc import Sequence

import numpy as np
import psutil
from PIL import Image

RANGELESS_MODES = "I", "F"  # Pillow's names of 32-bit numbers, of which nobody knows what is white


def check_type(name: str, value, expected) -> None:
    """Raises TypeError unless `value` is an instance of a type or union of types."""
    if not isinstance(value, expected):
        raise TypeError(f"{name} must be {_name(expected)}, got {type(value).__name__}")


def check_choice(name: str, value, choices: Sequence) -> None:
    """Raises ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {choices}, got {value!r}")


def check_count(name: str, value) -> None:
    """Raises TypeError or ValueError unless `value` is a whole number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer, got {type(value).__name__} {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")


def check_multiple(name: str, value, factor: int) -> None:
    """Raises TypeError or ValueError unless `value` is a positive multiple of `factor`."""
    check_count(name, value)
    if value % factor:
        raise ValueError(f"{name} must be a multiple of {factor}, got {value}")


def check_images(name: str, images) -> None:
    """Raises TypeError or ValueError unless `images` is a list of PIL images that have pixels."""
    if not isinstance(images, Sequence):
        raise TypeError(f"{name} must be a list of PIL images, got {type(images).__name__}")
    if not images:
        raise ValueError(f"{name} must hold at least one image, got none")
    for image in images:
        if not isinstance(image, Image.Image):
            raise TypeError(f"{name} must be made of PIL images, got {type(image).__name__}")
        if 0 in image.size:
            raise ValueError(f"{name} must not be empty, got an image of {image.size} pixels")
        if image.mode in RANGELESS_MODES:
            raise ValueError(f"{name} must have 8 or 16 bits per channel, got mode {image.mode}")
        _read_pixels(name, image)


def check_frames(num_frames, num_poses: int) -> None:
    """Raises TypeError or ValueError unless there are so many pose images."""
    check_count("num_frames", num_frames)
    if num_frames > num_poses:
        raise ValueError(
            f"num_frames must be at most the number of pose images ({num_poses}), got {num_frames}"
        )


def check_guidance(guidance_scale) -> None:
    """Raises TypeError or ValueError unless `guidance_scale` is a number that makes sense."""
    check_type("guidance_scale", guidance_scale, int | float | np.integer | np.floating)
    if isinstance(guidance_scale, bool) or not 0 <= guidance_scale < math.inf:
        raise ValueError(f"guidance_scale must be at least 0 and finite, got {guidance_scale}")


def check_context(context_frames, context_overlap, longest: int) -> None:
    """Raises TypeError or ValueError unless the motion modules know so many positions; how the two
    go together is for `context_schedule` to say.
    """
    check_count("context_frames", context_frames)
    check_type("context_overlap", context_overlap, int | np.integer)
    if context_frames > longest:
        raise ValueError(
            f"context_frames must be at most {longest}, the length of the motion modules'"
            f" position table, got {context_frames}"
        )


def check_interval(name: str, value) -> None:
    """Raises TypeError or ValueError unless `value` is two numbers, rising, from 0 to 1."""
    check_type(name, value, Sequence)
    numbers = all(isinstance(end, int | float | np.number) for end in value)
    if len(value) != 2 or not numbers or not 0 <= value[0] <= value[1] <= 1:
        raise ValueError(f"{name} must be two rising numbers from 0 to 1, got {value!r}")


def check_memory(name: str, needed: int) -> None:
    """Raises ValueError where the machine has not so many bytes at all."""
    total = psutil.virtual_memory().total
    if needed > total:
        raise ValueError(
            f"{name} needs at least {needed / 1e9:.0f} GB of memory, expected at most"
            f" {total / 1e9:.0f} GB"
        )


def check_same_form(name: str, value, example) -> None:
    """Raises TypeError or ValueError unless `value` is a tensor of the example's shape and type."""
    check_type(name, value, type(example))
    forms = [(tuple(tensor.shape), tensor.dtype) for tensor in (value, example)]
    if forms[0] != forms[1]:
        raise ValueError(f"{name} must have shape and type {forms[1]}, got {forms[0]}")


def all_finite(values: np.ndarray) -> bool:
    """Whether all numbers are: those of float32 then have a sum in float64 that is, too."""
    return bool(np.isfinite(values.sum(dtype=np.float64)))


def check_finite(name: str, values: np.ndarray) -> None:
    """Raises FloatingPointError where a number is infinite or none: whatever is made of it is black
    or noise.
    """
    if not all_finite(values):
        raise FloatingPointError(f"{name} must be finite numbers: try precision f32, less guidance")


def _read_pixels(name: str, image: Image.Image) -> None:
    """An image that was opened is read only when it is used, and may turn out to be cut short."""
    try:
        image.load()
    except OSError as error:
        raise ValueError(f"{name} must be readable, got a broken image ({error})") from error


def _name(expected) -> str:
    return getattr(expected, "__name__", str(expected)).replace("collections.abc.", "")
