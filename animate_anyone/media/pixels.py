"""Pictures → arrays as the networks want them; training and inference share these.

Axes: H W pixels.
"""

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from ..base.config import CLIP_MEAN, CLIP_STD
from .images import fit_image, resize, to_rgb


def picture_pixels(
    image: Image.Image, width: int, height: int, background: str = "white", fit: str = "crop"
) -> np.ndarray:
    """What VAE and pose guider see: float32 (3, H, W) in [0, 1], Lanczos; see `fit_image`."""
    image = fit_image(image, width, height, fit, background)
    return (np.asarray(image, np.float32) / 255).transpose(2, 0, 1)


def clip_pixels(image: Image.Image, size: int) -> np.ndarray:
    """What the image encoder sees: float32 (3, size, size), bicubic, CLIP's mean and deviation."""
    image = resize(to_rgb(image), (size, size), Resampling.BICUBIC)
    pixels = (np.asarray(image, np.float32) / 255 - CLIP_MEAN) / CLIP_STD  # H W 3
    return pixels.astype(np.float32).transpose(2, 0, 1)
