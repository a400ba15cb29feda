"""Latents → frames, in the form that the caller wants.

Axes: c latent channels, f frames, H W pixels, h w latent rows and columns.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from diffusers.utils import BaseOutput
from PIL import Image
from tqdm.auto import tqdm

OUTPUT_TYPES = ("pil", "np", "pt", "latent")


@dataclass
class AnimateAnyoneOutput(BaseOutput):
    """Frames in the form that `output_type` asked for:

    "pil"     list of one list of f images
    "np"      float32 (1, f, H, W, 3) in [0, 1]
    "pt"      float32 (1, f, 3, H, W) in [0, 1]
    "latent"  float32 (1, c, f, h, w), not divided by the VAE's scaling factor
    """

    frames: list[list[Image.Image]] | np.ndarray | torch.Tensor


class Decoder:
    """The VAE decoder, frame by frame.

    Args:
        run: calls a part by its name, `run(name, port=array, …) → {port: array}`.
        scaling_factor: of the VAE, by which latents are divided.
    """

    def __init__(self, run: Callable, scaling_factor: float):
        self.run, self.scaling_factor = run, scaling_factor

    def __call__(self, latents: torch.Tensor, output_type: str = "pil"):
        """Latents (1, c, f, h, w) → frames, see `AnimateAnyoneOutput`."""
        if output_type == "latent":
            return latents
        if output_type == "pil":
            return [list(self.frames(latents))]
        video = np.stack(list(self._pictures(latents)))[None]  # 1 f H W 3
        return video if output_type == "np" else torch.from_numpy(video).permute(0, 1, 4, 2, 3)

    def frames(self, latents: torch.Tensor) -> Iterator[Image.Image]:
        """Latents (1, c, f, h, w) → images, each decoded when it is asked for."""
        for picture in self._pictures(latents):
            yield Image.fromarray((255 * picture).round().astype(np.uint8))

    def _pictures(self, latents: torch.Tensor) -> Iterator[np.ndarray]:
        """float32 (H, W, 3) in [0, 1], frame by frame."""
        for index in tqdm(range(latents.shape[2]), desc="Decoding", unit="frame"):
            latent = latents[:, :, index] / self.scaling_factor
            picture = self.run("vae_decoder", latent=latent.numpy())["image"][0]  # 3 H W
            yield np.clip(picture / 2 + 0.5, 0, 1).transpose(1, 2, 0)
