"""CLIP's vision tower with its projection: the one token that both UNets attend to."""

import torch
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection


def build_image_encoder(config: dict) -> "ImageEncoder":
    """ImageEncoder with the sizes of a transformers `config.json`, weights not yet loaded."""
    return ImageEncoder(CLIPVisionModelWithProjection(CLIPVisionConfig.from_dict(config)))


class ImageEncoder(nn.Module):
    """Normalised picture (b, 3, 224, 224) → embedding (b, e)."""

    def __init__(self, clip: CLIPVisionModelWithProjection):
        super().__init__()
        self.clip = clip

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.clip(pixel_values).image_embeds
