"""Pose guider (AnimateAnyone, section 3.2; Moore-AnimateAnyone, `PoseGuider`).

Axes: b batch, c channels, f frames, H W pixels, h w latent rows and columns (H = 8h).
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn


class PoseGuider(nn.Module):
    """Plain convolutions that bring pose maps to the size of the latents.

    Args:
        channels: of every feature map from the first convolution to the last, such as
            (16, 16, 32, 32, 96, 96, 256, 320).
    """

    def __init__(self, channels: Sequence[int], in_channels: int = 3):
        super().__init__()
        *inner, last = channels
        self.conv_in = nn.Conv2d(in_channels, inner[0], kernel_size=3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Conv2d(before, after, kernel_size=3, padding=1, stride=1 + index % 2)
            for index, (before, after) in enumerate(pairwise(inner))
        )
        self.conv_out = nn.Conv2d(inner[-1], last, kernel_size=3, padding=1)

    def forward(self, pose_images: torch.Tensor) -> torch.Tensor:
        """Pose maps (b, 3, f, H, W) in [0, 1] → features (b, c, f, h, w)."""
        frames = pose_images.shape[2]
        x = F.silu(self.conv_in(rearrange(pose_images, "b c f h w -> (b f) c h w")))  # (b f) c H W
        for block in self.blocks:
            x = F.silu(block(x))
        return rearrange(self.conv_out(x), "(b f) c h w -> b c f h w", f=frames)
