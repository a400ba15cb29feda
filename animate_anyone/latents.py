"""Denoised latents in a file: a video can be made from them again without denoising."""

import tokenize
from pathlib import Path

import numpy as np
import torch

from .base.checks import check_finite
from .base.files import replacing, require_file


def read_latents(path, channels: int) -> torch.Tensor:
    """Latents (1, c, f, h, w) of a .npy file, float32.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else.
        FloatingPointError: a number is infinite or none.
    """
    require_file(path)
    try:
        latents = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, SyntaxError, tokenize.TokenError) as error:
        raise ValueError(f"{path} is not a readable .npy file of latents") from error
    shape = getattr(latents, "shape", ())
    if len(shape) != 5 or shape[:2] != (1, channels) or 0 in shape or latents.dtype != np.float32:
        raise ValueError(
            f"{path} must hold float32 latents of shape (1, {channels}, frames, height, width), got"
            f" {getattr(latents, 'dtype', 'no array')} of {shape}"
        )
    check_finite(str(path), latents)
    return torch.from_numpy(latents)


def save_latents(latents: torch.Tensor, path) -> Path:
    """Write latents as .npy."""
    with replacing(path) as partial, partial.open("wb") as file:
        np.save(file, latents.numpy())
    return Path(path)
