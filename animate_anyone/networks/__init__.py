"""The six networks in PyTorch. Inference does not import this package: it runs from IR alone."""

from .image_encoder import build_image_encoder
from .pose_guider import PoseGuider
from .unet import DenoisingUNet, ReferenceUNet
from .vae import VAEDecoder, VAEEncoder, build_vae

__all__ = [
    "DenoisingUNet",
    "PoseGuider",
    "ReferenceUNet",
    "VAEDecoder",
    "VAEEncoder",
    "build_image_encoder",
    "build_vae",
]
