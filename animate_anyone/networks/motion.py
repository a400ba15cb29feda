"""Motion module: attention over time at each pixel (AnimateDiff; Moore-AnimateAnyone's
`motion_module.py`, class VanillaTemporalModule).

diffusers' AnimateDiffTransformer3D is not used: it normalises over all frames together, while
these weights were trained with one GroupNorm per frame.

Axes: b batch, f frames, h w latent rows and columns, l = h*w tokens, d width.
"""

import math

import torch
from diffusers.models.attention_processor import Attention
from einops import rearrange
from torch import nn

from ..base.config import UNetConfig
from .attention import GatedFeedForward, attend


class MotionModule(nn.Module):
    """(b f, d, h, w) → the same shape; frames see each other here and nowhere else."""

    def __init__(self, width: int, config: UNetConfig):
        super().__init__()
        self.temporal_transformer = TemporalTransformer(width, config)

    def forward(self, x: torch.Tensor, frames: int) -> torch.Tensor:
        """See the class."""
        return x + self.temporal_transformer(x, frames)


class TemporalTransformer(nn.Module):
    """Normalise each frame, mix over frames at each pixel, project back."""

    def __init__(self, width: int, config: UNetConfig):
        super().__init__()
        self.norm = nn.GroupNorm(config.motion_norm_num_groups, width, eps=1e-6)
        self.proj_in = nn.Linear(width, width)
        self.transformer_blocks = nn.ModuleList([TemporalTransformerBlock(width, config)])
        self.proj_out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, frames: int) -> torch.Tensor:
        """(b f, d, h, w) → the same shape."""
        size = dict(zip("hw", x.shape[-2:]))
        tokens = rearrange(self.norm(x), "(b f) d h w -> (b h w) f d", f=frames)
        tokens = self.proj_out(self.transformer_blocks[0](self.proj_in(tokens)))
        return rearrange(tokens, "(b h w) f d -> (b f) d h w", **size)


class TemporalTransformerBlock(nn.Module):
    """Two attentions over frames and a feed-forward layer, each on normed states: (b l, f, d)."""

    def __init__(self, width: int, config: UNetConfig):
        super().__init__()
        self.attention_blocks = nn.ModuleList(TemporalAttention(width, config) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.ff = GatedFeedForward(width)
        self.ff_norm = nn.LayerNorm(width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(b l, f, d) → the same shape."""
        for attention, norm in zip(self.attention_blocks, self.norms):
            tokens = tokens + attention(norm(tokens))
        return tokens + self.ff(self.ff_norm(tokens))


class TemporalAttention(Attention):
    """Self-attention over frames; the position is added to the normed states."""

    def __init__(self, width: int, config: UNetConfig):
        heads = config.motion_num_heads
        super().__init__(query_dim=width, heads=heads, dim_head=width // heads)
        self.pos_encoder = PositionalEncoding(width, config.motion_max_frames)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(b l, f, d) → the same shape."""
        tokens = self.pos_encoder(tokens)  # (b l) f d
        return attend(self, self.to_q(tokens), self.to_k(tokens), self.to_v(tokens))


class PositionalEncoding(nn.Module):
    """Sinusoidal position of a frame in its window (Vaswani et al. 2017, section 3.5).

    The table is a buffer of the checkpoint and as long as the longest window it was trained on.
    """

    def __init__(self, width: int, max_frames: int):
        super().__init__()
        position = torch.arange(max_frames).unsqueeze(1)
        frequency = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
        angles = position * frequency
        table = rearrange([angles.sin(), angles.cos()], "half f d -> f (d half)")
        self.register_buffer("pe", table.unsqueeze(0))  # 1 max_frames d

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(b l, f, d) → the same shape."""
        return tokens + self.pe[:, : tokens.shape[1]]
