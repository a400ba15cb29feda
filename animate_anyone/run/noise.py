"""What a video begins as.

Axes: c latent channels, f frames, h w latent rows and columns.
"""

import torch
from diffusers.utils.torch_utils import randn_tensor

from ..base.checks import check_choice
from ..base.layout import CONTEXT_FRAMES, CONTEXT_OVERLAP

NOISE_TYPES = ("growing", "shuffled", "whole")


def resolve_noise_type(noise_type: str | None, schedule: str) -> str:
    """The one that goes with a schedule of windows, where none is asked for.

    Raises:
        ValueError: there is no such type.
    """
    check_choice("noise_type", noise_type, (None, *NOISE_TYPES))
    return noise_type or ("whole" if schedule == "uniform" else "growing")


def initial_noise(
    shape: tuple[int, ...],
    noise_type: str = "growing",
    context_frames: int = CONTEXT_FRAMES,
    context_overlap: int = CONTEXT_OVERLAP,
    *,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Noise of a video, (1, c, f, h, w). As long as one window holds all frames, types are equal.

    Args:
        shape: (1, c, f, h, w).
        noise_type: "whole", all frames in one draw, as in the reference: a longer video has other
            noise from its first frame on. "growing": the first window in one draw, each later frame
            in one of its own, so that a longer video begins with the noise of a shorter one.
            "shuffled": later frames take the noise of earlier ones, a window's length before, as
            many as a window has new ones, in another order (FreeNoise, Qiu et al. 2023, section
            4.2): windows differ less, motions repeat more.
        context_frames, context_overlap: see `context_schedule`.
        generator: on the CPU; None: torch's own.
    """

    def draw(frames: int) -> torch.Tensor:
        return randn_tensor((*shape[:2], frames, *shape[3:]), generator=generator)

    frames = shape[2]
    if noise_type == "whole" or frames <= context_frames:
        return draw(frames)
    first_window = draw(context_frames)
    if noise_type == "growing":
        later = [draw(1) for _ in range(frames - context_frames)]
        return torch.cat([first_window, *later], dim=2)
    order, stride = list(range(context_frames)), context_frames - context_overlap
    while len(order) < frames:
        shuffle = torch.randperm(stride, generator=generator).tolist()
        first = len(order) - context_frames
        order += [order[first + k] for k in shuffle]
    return first_window[:, :, order[:frames]]
