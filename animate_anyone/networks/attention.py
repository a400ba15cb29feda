"""Spatial transformer of the UNets: reference attention and one-token cross-attention.

Axes: b batch, f frames, n = b*f rows, h w latent rows and columns, l = h*w tokens, m reference
tokens, k = l+m keys, d width, e width of the embedding, i heads, j width of a head.
"""

import torch
import torch.nn.functional as F
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from einops import rearrange, repeat
from torch import nn

from ..base.config import UNetConfig


class ReferenceAttention(Attention):
    """Self-attention that also looks at the reference (AnimateAnyone, section 3.2, "ReferenceNet").

    The reference is the same for all frames, so its keys and values are projected once per call
    and repeated; without a reference (`None`, or m = 0) this is plain self-attention.
    """

    def forward(self, tokens: torch.Tensor, frames: int, reference=None) -> torch.Tensor:
        """Tokens (b f, l, d), reference (b, m, d) → (b f, l, d)."""
        key, value = self.to_k(tokens), self.to_v(tokens)
        if reference is not None:
            keys, values = (
                repeat(project(reference), "b m d -> (b f) m d", f=frames)
                for project in (self.to_k, self.to_v)
            )
            key, value = torch.cat([key, keys], dim=1), torch.cat([value, values], dim=1)
        return attend(self, self.to_q(tokens), key, value)


class OneTokenAttention(Attention):
    """Cross-attention to a single token.

    The softmax over one token is 1, whatever the query: the result is the token's projected value,
    the same for all queries. `to_q` and `to_k` are in the checkpoint and not needed.
    """

    def forward(self, token: torch.Tensor) -> torch.Tensor:
        """(b, 1, e) → (b, 1, d)."""
        return self.to_out[0](self.to_v(token))


def attend(attention: Attention, query, key, value) -> torch.Tensor:
    """Multi-head softmax attention and output projection: (n, l, d), (n, k, d) → (n, l, d).

    Heads are folded into the batch: with an axis of their own, OpenVINO 2026.4 mistakes heads for
    tokens in bfloat16 where they are equally many, such as 8 heads over 8 frames.
    """
    heads = attention.heads
    query, key, value = (
        rearrange(x, "n l (i j) -> (n i) l j", i=heads) for x in (query, key, value)
    )
    hidden = F.scaled_dot_product_attention(query, key, value)
    return attention.to_out[0](rearrange(hidden, "(n i) l j -> n l (i j)", i=heads))


class GatedFeedForward(FeedForward):
    """GEGLU feed-forward layer (Shazeer 2020), in which value and gate are two products: as the one
    of twice the width that the checkpoint has, they would be cut apart again, which takes OpenVINO
    time and memory.
    """

    def __init__(self, width: int):
        super().__init__(width, activation_fn="geglu")

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(n, l, d) → the same shape."""
        both, out = self.net[0].proj, self.net[2]
        value, gate = map(F.linear, (tokens, tokens), both.weight.chunk(2), both.bias.chunk(2))
        return out(value * F.gelu(gate))


class TransformerBlock(nn.Module):
    """BasicTransformerBlock of Stable Diffusion 1.x with its reference feature as an output.

    `norm2` is in the checkpoint and not needed: it normalises the queries of `OneTokenAttention`.
    """

    def __init__(self, width: int, config: UNetConfig):
        super().__init__()
        heads = config.attention_head_dim
        sizes = {"query_dim": width, "heads": heads, "dim_head": width // heads}
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = ReferenceAttention(**sizes)
        self.norm2 = nn.LayerNorm(width)
        self.attn2 = OneTokenAttention(**sizes, cross_attention_dim=config.cross_attention_dim)
        self.norm3 = nn.LayerNorm(width)
        self.ff = GatedFeedForward(width)

    def forward(self, tokens, embedding, frames, reference=None):
        """(b f, l, d) → (b f, l, d) and what entered the self-attention, (b f, l, d)."""
        feature = self.norm1(tokens)
        tokens = tokens + self.attn1(feature, frames, reference)
        tokens = tokens + repeat(self.attn2(embedding), "b l d -> (b f) l d", f=frames)
        return tokens + self.ff(self.norm3(tokens)), feature


class SpatialTransformer(nn.Module):
    """Transformer2DModel of Stable Diffusion 1.x, one block deep, each frame for itself."""

    def __init__(self, width: int, config: UNetConfig):
        super().__init__()
        self.norm = nn.GroupNorm(config.norm_num_groups, width, eps=1e-6)
        self.proj_in = nn.Conv2d(width, width, kernel_size=1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(width, config)])
        self.proj_out = nn.Conv2d(width, width, kernel_size=1)

    def forward(self, x, embedding, frames, reference=None):
        """(b f, d, h, w) → the same shape, and the block's reference feature (b f, l, d)."""
        tokens = rearrange(self.norm(x), "n d h w -> n (h w) d")
        tokens = pointwise(self.proj_in, tokens)
        tokens, feature = self.transformer_blocks[0](tokens, embedding, frames, reference)
        tokens = pointwise(self.proj_out, tokens)
        return x + rearrange(tokens, "n (h w) d -> n d h w", h=x.shape[2]), feature


def pointwise(convolution: nn.Conv2d, tokens: torch.Tensor) -> torch.Tensor:
    """A 1x1 convolution on tokens, (n, l, d) → (n, l, d): as a linear layer it stays compressed at
    run time, and OpenVINO 2026.4 cannot compile an 8-bit one for pictures of one latent pixel.
    """
    return F.linear(tokens, convolution.weight.flatten(1), convolution.bias)
