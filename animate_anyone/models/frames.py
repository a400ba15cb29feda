"""How frames become batch rows and back.

Axes, here and in all models: b batch, c channels, f frames, h w latent rows and columns,
l = h*w tokens, m reference tokens, d token width, e width of the image embedding.
"""

import torch


def fold_frames(x: torch.Tensor) -> torch.Tensor:
    """(b, f, …) → (b f, …): each frame becomes a batch row."""
    return x.flatten(0, 1)


def unfold_frames(x: torch.Tensor, frames: int) -> torch.Tensor:
    """(b f, …) → (b, f, …)."""
    return x.unflatten(0, (-1, frames))


def repeat_frames(x: torch.Tensor, frames: int) -> torch.Tensor:
    """(b, …) → (b f, …): the same row for all frames of a video."""
    shape = x.shape
    return fold_frames(x.unsqueeze(1).expand(shape[0], frames, *shape[1:]))
