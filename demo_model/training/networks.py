"""Sizes of the small model, and what its two diffusion stages train.

Axes: b characters, c latent channels, f pictures or frames of each, h w latent rows and columns,
H W pixels, s pixels of the image encoder, e width of the embedding.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler
from einops import rearrange
from torch import nn

from animate_anyone.base import layout
from animate_anyone.base.config import DEFAULT_SCHEDULER, UNetConfig
from animate_anyone.networks import DenoisingUNet, PoseGuider, ReferenceUNet, build_image_encoder
from demo_model.drawing.render import SIZE

VAE = {
    "_class_name": "AutoencoderKL",
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 16,
    "block_out_channels": [16, 32, 64, 96],
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "mid_block_add_attention": False,
    "sample_size": SIZE,
    "scaling_factor": 1.0,
}
UNET = {
    "_class_name": "UNet2DConditionModel",
    "in_channels": 16,
    "out_channels": 16,
    "block_out_channels": [48, 64, 80],
    "down_block_types": ["CrossAttnDownBlock2D"] * 3,
    "up_block_types": ["CrossAttnUpBlock2D"] * 3,
    "layers_per_block": 2,
    "attention_head_dim": 4,
    "cross_attention_dim": 64,
    "norm_num_groups": 8,
    "norm_eps": 1e-5,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "motion_num_heads": 4,
    "motion_norm_num_groups": 8,
}
IMAGE_ENCODER = {
    "model_type": "clip_vision_model",
    "hidden_size": 96,
    "intermediate_size": 192,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 64,
    "patch_size": 16,
    "projection_dim": 64,
    "hidden_act": "quick_gelu",
}
GENERATION = {"num_inference_steps": 4, "guidance_scale": 1.0, "width": SIZE, "height": SIZE}
POSE_CHANNELS = (16, 16, 32, 32, 48, 48, 64, 48)


class ImageModel(nn.Module):
    """The four networks that the first stage trains; frames of a character do not see each
    other.
    """

    def __init__(self, motion: bool = False):
        super().__init__()
        config = UNetConfig.from_dict(UNET)
        self.image_encoder = build_image_encoder(IMAGE_ENCODER)
        self.reference_unet = ReferenceUNet(config)
        self.denoising_unet = DenoisingUNet(config, motion=motion)
        self.pose_guider = PoseGuider(POSE_CHANNELS)
        nn.init.zeros_(self.pose_guider.conv_out.weight)  # poses begin to matter as they help
        nn.init.zeros_(self.pose_guider.conv_out.bias)
        self.image_size = IMAGE_ENCODER["image_size"]

    def forward(self, noisy, timesteps, reference, pixels, poses, dropped: bool):
        """Velocity of noisy latents (b, c, f, h, w) at timesteps (b f,) or (1,), given reference
        latents (b, c, h, w), its pixels (b, 3, s, s) and poses (b, 3, f, H, W); `dropped` leaves
        out reference and embedding, as the unconditional half of guidance does.
        """
        pose_features = self.pose_guider(poses)
        embedding = self.image_encoder(pixels)[:, None]  # b 1 e
        if dropped:
            nothing = torch.zeros_like(embedding)
            return self.denoising_unet(noisy, timesteps, nothing, pose_features)
        start = torch.zeros(1)
        features = self.reference_unet(reference, start, embedding)
        return self.denoising_unet(noisy, timesteps, embedding, pose_features, *features)


class MotionModel(ImageModel):
    """The same with motion modules, which alone are trained and begin as the identity."""

    def __init__(self, weights: dict[str, dict[str, torch.Tensor]]):
        super().__init__(motion=True)
        self.image_encoder.clip.load_state_dict(weights[layout.IMAGE_ENCODER], strict=False)
        self.reference_unet.load_state_dict(weights[layout.REFERENCE_UNET])
        self.pose_guider.load_state_dict(weights[layout.POSE_GUIDER])
        self.denoising_unet.load_state_dict(weights[layout.DENOISING_UNET], strict=False)
        self.requires_grad_(False)
        for name, parameter in self.denoising_unet.named_parameters():
            if "motion_modules" in name:
                parameter.requires_grad_(True)
                if "temporal_transformer.proj_out" in name:
                    nn.init.zeros_(parameter)


class VelocityLoss:
    """Mean squared error of the predicted velocity (Salimans & Ho 2022, appendix D) under the
    schedule that the weights are sampled with.

    Timesteps are drawn in proportion to themselves: a few steps of sampling spend most of their
    time in much noise, where reference and pose are all that there is to see.
    """

    def __init__(self):
        self.scheduler = DDIMScheduler.from_config(DEFAULT_SCHEDULER)

    def __call__(self, denoiser: Callable, clean, count: int, rng: torch.Generator):
        """Clean latents (b, c, f, h, w); `count` timesteps, one for all or one per (b, f)."""
        total = self.scheduler.config.num_train_timesteps
        shares = torch.rand(count, generator=rng).sqrt()  # may be rounded up to 1
        timesteps = (total * shares).long().clamp(max=total - 1)
        noise = torch.randn(clean.shape, generator=rng)
        rows = [rearrange(x, "b c f h w -> (b f) c h w") for x in (clean, noise)]
        noisy, velocity = (
            rearrange(mix(*rows, timesteps), "(b f) c h w -> b c f h w", f=clean.shape[2])
            for mix in (self.scheduler.add_noise, self.scheduler.get_velocity)
        )
        return F.mse_loss(denoiser(noisy, timesteps.float()), velocity)
