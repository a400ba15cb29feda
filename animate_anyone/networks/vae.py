"""The two halves of diffusers' AutoencoderKL as modules of one input and one output.

Axes: b batch, c latent channels, H W pixels, h w latent rows and columns.
"""

import torch
from diffusers import AutoencoderKL
from torch import nn


def build_vae(config: dict) -> AutoencoderKL:
    """AutoencoderKL with the sizes of a diffusers `config.json`, weights not yet loaded."""
    return AutoencoderKL.from_config(config)


class VAEEncoder(nn.Module):
    """Picture → mean of the latent posterior. Nothing is sampled: a reference is not noise."""

    def __init__(self, vae: AutoencoderKL):
        super().__init__()
        self.vae = vae

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(b, 3, H, W) in [-1, 1] → (b, c, h, w), unscaled."""
        return self.vae.encode(image).latent_dist.mean


class VAEDecoder(nn.Module):
    """Latent → picture."""

    def __init__(self, vae: AutoencoderKL):
        super().__init__()
        self.vae = vae

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """(b, c, h, w), already divided by the scaling factor → (b, 3, H, W), about [-1, 1]."""
        return self.vae.decode(latent).sample
