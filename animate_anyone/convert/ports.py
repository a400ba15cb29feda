"""What tracing needs to know of each network: a tiny example per input, and the names of its ports.

Nothing of an example's size is baked in: batch, frames, height, width and the number of reference
tokens stay dynamic.

Axes: b batch, c latent channels, f frames, H W pixels, h w latent rows and columns, m reference
tokens, d token width, e width of the image embedding.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..base.config import reference_feature_names


@dataclass(frozen=True)
class Ports:
    """What tracing needs to know of a network: a tiny example per input, and the names of what the
    module answers.
    """

    example: dict[str, torch.Tensor]
    outputs: tuple[str, ...]

    def shape(self, name: str) -> list[int]:
        """Shape of an input with -1 where an axis is dynamic: all but channels and widths, which
        are axis 1 of pictures, latents and features, and the last of tokens and timesteps.
        """
        shape = self.example[name].shape
        fixed = 1 if len(shape) >= 4 else len(shape) - 1
        return [size if axis == fixed else -1 for axis, size in enumerate(shape)]


def part_ports(name: str, module: torch.nn.Module) -> Ports:
    """Ports of a part. Every size of the example differs from the others where it may, so that no
    two axes are taken for one.
    """
    return PORTS[name](module)


def _image_encoder_ports(module) -> Ports:
    size = module.clip.config.image_size
    return Ports({"pixel_values": torch.zeros(1, 3, size, size)}, ("image_embeds",))


def _vae_encoder_ports(module) -> Ports:
    image = torch.zeros(1, module.vae.config.in_channels, 64, 128)
    return Ports({"image": image}, ("latent",))


def _vae_decoder_ports(module) -> Ports:
    latent = torch.zeros(1, module.vae.config.latent_channels, 8, 16)
    return Ports({"latent": latent}, ("image",))


def _reference_unet_ports(module) -> Ports:
    example = {
        "sample": torch.zeros(1, module.config.in_channels, 8, 16),
        "timestep": torch.zeros(1),
        "encoder_hidden_states": torch.zeros(1, 1, module.config.cross_attention_dim),
    }
    return Ports(example, tuple(reference_feature_names(module.config)))


def _pose_guider_ports(module) -> Ports:
    image = torch.zeros(1, module.conv_in.in_channels, 2, 64, 128)
    return Ports({"pose_images": image}, ("pose_features",))


def _denoising_unet_ports(module) -> Ports:
    config = module.config
    example = {
        "sample": torch.zeros(1, config.in_channels, 2, 8, 16),
        "timestep": torch.zeros(1),
        "encoder_hidden_states": torch.zeros(1, 1, config.cross_attention_dim),
        "pose_features": torch.zeros(1, config.block_out_channels[0], 2, 8, 16),
    }
    for name in reference_feature_names(config):
        width = module.get_submodule(name).norm1.normalized_shape[0]
        example[name] = torch.zeros(1, 3, width)
    return Ports(example, ("noise_pred",))


PORTS: dict[str, Callable[[torch.nn.Module], Ports]] = {
    "image_encoder": _image_encoder_ports,
    "vae_encoder": _vae_encoder_ports,
    "vae_decoder": _vae_decoder_ports,
    "reference_unet": _reference_unet_ports,
    "pose_guider": _pose_guider_ports,
    "denoising_unet": _denoising_unet_ports,
}
