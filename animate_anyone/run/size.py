"""The size of the result, where the caller leaves it open."""

from ..base.checks import check_memory, check_multiple
from ..base.config import GenerationConfig, ModelConfig


def resolve_size(
    config: ModelConfig,
    recommended: GenerationConfig,
    shape: tuple[int, int],
    width: int | None = None,
    height: int | None = None,
) -> tuple[int, int]:
    """(width, height) in pixels, multiples of the VAE's factor.

    Args:
        config: sizes of the model.
        recommended: size that the model is best used with, where it has one.
        shape: (width, height) of the pose frames.
        width, height: what the caller asks for. One alone gives the other by the shape; without
            both it is the recommended size, or that of the pose frames, rounded.

    Raises:
        TypeError, ValueError: one is no positive multiple, or more than the machine can hold.
    """
    factor = config.vae_scale_factor
    for name, size in (("width", width), ("height", height)):
        if size is not None:
            check_multiple(name, size, factor)
    if width is None and height is None:
        width, height = recommended.width, recommended.height
    own_width, own_height = shape
    if width is None:
        wanted = own_width if height is None else height * own_width / own_height
        width = max(1, round(wanted / factor)) * factor
    if height is None:
        height = max(1, round(width * own_height / own_width / factor)) * factor
    # One frame's features at the first level of the UNet: all else comes on top.
    features = 4 * config.unet.block_out_channels[0] * (width // factor) * (height // factor)
    check_memory(f"size {width}×{height}", features)
    return width, height
