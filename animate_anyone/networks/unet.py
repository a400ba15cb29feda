"""Reference UNet and denoising UNet: Stable Diffusion 1.x stages, with and without motion modules.

Both are the same network up to three differences: the denoising UNet has a motion module after
every (resnet, attention) pair, adds the pose features to its first feature map, and ends in an
output convolution; the reference UNet only hands over what enters its self-attentions.

Axes: b batch, c channels, f frames, h w latent rows and columns, l = h*w tokens, m reference
tokens, d width, e width of the image embedding.
"""

import torch
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.resnet import Downsample2D, ResnetBlock2D, Upsample2D
from einops import rearrange
from torch import nn

from ..base.config import UNetConfig
from .attention import SpatialTransformer
from .motion import MotionModule


class ReferenceUNet(nn.Module):
    """SD 1.x UNet that turns the reference latent into reference features
    (AnimateAnyone, section 3.2; Moore-AnimateAnyone, `ReferenceAttentionControl(mode="write")`).

    Only features are outputs, so an IR of this module ends at the last block's `norm1`; the weights
    behind it belong to the checkpoint but not to the IR.
    """

    def __init__(self, config: UNetConfig):
        super().__init__()
        self.config = config
        _add_stages(self, config, motion=False)

    def forward(self, sample, timestep, encoder_hidden_states) -> tuple[torch.Tensor, ...]:
        """Sample (b, c, h, w), timestep (1,), encoder_hidden_states (b, 1, e) → the features
        (b, l, d), ordered as in `config.reference_feature_names`.
        """
        x = self.conv_in(sample)
        _, features = _run_stages(self, x, timestep, encoder_hidden_states, frames=1)
        return tuple(features)


class DenoisingUNet(nn.Module):
    """SD 1.x UNet with reference attention, pose features and motion modules
    (AnimateAnyone, section 3; Moore-AnimateAnyone, `UNet3DConditionModel`).

    Without `motion` frames do not see each other: the network of the paper's first training stage.
    """

    def __init__(self, config: UNetConfig, motion: bool = True):
        super().__init__()
        self.config = config
        _add_stages(self, config, motion)
        width = config.block_out_channels[0]
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, width, eps=config.norm_eps)
        self.conv_out = nn.Conv2d(width, config.out_channels, kernel_size=3, padding=1)

    def forward(self, sample, timestep, encoder_hidden_states, pose_features, *reference_features):
        """One half of guidance.

        Args:
            sample: noisy latents (b, c, f, h, w).
            timestep: (1,), the same for all frames; (b f,) in training.
            encoder_hidden_states: image embedding (b, 1, e); zeros for the unconditional half.
            pose_features: (b, d, f, h, w), added to the first feature map.
            reference_features: one (b, m, d) per block of `config.reference_feature_names`;
                none of them, or m = 0, for the unconditional half.

        Returns:
            The model's prediction (v or noise, as trained), (b, c, f, h, w).
        """
        frames = sample.shape[2]
        x = self.conv_in(rearrange(sample, "b c f h w -> (b f) c h w"))
        x = x + rearrange(pose_features, "b d f h w -> (b f) d h w")
        x, _ = _run_stages(self, x, timestep, encoder_hidden_states, frames, reference_features)
        x = self.conv_out(nn.functional.silu(self.conv_norm_out(x)))
        return rearrange(x, "(b f) c h w -> b c f h w", f=frames)


class Stage(nn.Module):
    """All layers of one resolution: per layer a resnet, then attention, then a motion module.

    Args:
        inputs: channels that enter each resnet.
        width: channels that leave it.
        attention: whether the stage has spatial transformers.
        motion: whether the stage has motion modules.
    """

    def __init__(self, inputs, width, config: UNetConfig, attention: bool, motion: bool):
        super().__init__()
        self.resnets = nn.ModuleList(_resnet(channels, width, config) for channels in inputs)
        layers = range(len(inputs))
        if attention:
            self.attentions = nn.ModuleList(SpatialTransformer(width, config) for _ in layers)
        if motion:
            self.motion_modules = nn.ModuleList(MotionModule(width, config) for _ in layers)

    def layer(self, index, x, temb, embedding, frames, references):
        """Run layer `index`; its reference is taken from `references`, its feature returned."""
        x, feature = self.resnets[index](x, temb), None
        if hasattr(self, "attentions"):
            x, feature = self.attentions[index](x, embedding, frames, next(references, None))
        if hasattr(self, "motion_modules"):
            x = self.motion_modules[index](x, frames)
        return x, feature


class MidStage(Stage):
    """The lowest resolution: a layer, then one more resnet without attention."""

    def __init__(self, width, config: UNetConfig, motion: bool):
        super().__init__([width], width, config, attention=True, motion=motion)
        self.resnets.append(_resnet(width, width, config))

    def layer(self, index, x, temb, *args):
        """See `Stage.layer`."""
        x, feature = super().layer(index, x, temb, *args)
        return self.resnets[1](x, temb), feature


def _add_stages(unet: nn.Module, config: UNetConfig, motion: bool) -> None:
    widths = config.block_out_channels
    unet.conv_in = nn.Conv2d(config.in_channels, widths[0], kernel_size=3, padding=1)
    unet.time_proj = Timesteps(widths[0], config.flip_sin_to_cos, config.freq_shift)
    unet.time_embedding = TimestepEmbedding(widths[0], 4 * widths[0])
    unet.down_blocks = nn.ModuleList(_down_stages(config, motion))
    unet.mid_block = MidStage(widths[-1], config, motion)
    unet.up_blocks = nn.ModuleList(_up_stages(config, motion))


def _down_stages(config: UNetConfig, motion: bool):
    widths, kinds = config.block_out_channels, config.down_block_types
    before = [widths[0], *widths]
    for index, (width, kind) in enumerate(zip(widths, kinds)):
        inputs = [before[index]] + [width] * (config.layers_per_block - 1)
        stage = Stage(inputs, width, config, "CrossAttn" in kind, motion)
        if index < len(widths) - 1:
            stage.downsamplers = nn.ModuleList([Downsample2D(width, use_conv=True, name="op")])
        yield stage


def _up_stages(config: UNetConfig, motion: bool):
    widths, kinds = config.block_out_channels[::-1], config.up_block_types
    for index, (width, kind) in enumerate(zip(widths, kinds)):
        below = widths[max(index - 1, 0)]
        above = widths[min(index + 1, len(widths) - 1)]
        hidden = [below] + [width] * config.layers_per_block
        skips = [width] * config.layers_per_block + [above]
        inputs = [h + s for h, s in zip(hidden, skips)]
        stage = Stage(inputs, width, config, "CrossAttn" in kind, motion)
        if index < len(widths) - 1:
            stage.upsamplers = nn.ModuleList([Upsample2D(width, use_conv=True)])
        yield stage


def _resnet(channels: int, width: int, config: UNetConfig) -> ResnetBlock2D:
    return ResnetBlock2D(
        in_channels=channels,
        out_channels=width,
        temb_channels=4 * config.block_out_channels[0],
        groups=config.norm_num_groups,
        eps=config.norm_eps,
    )


def _run_stages(unet, x, timestep, embedding, frames, references=()):
    """(b f, d, h, w) → (b f, d, h, w) and the features of all attentions in running order."""
    sinusoids = unet.time_proj(timestep).to(x.dtype)
    temb = unet.time_embedding(sinusoids)  # 1 d: one timestep for all frames (or b f of them)
    common = temb, embedding, frames, iter(references)
    skips, features = [x], []

    for stage in unet.down_blocks:
        for index in range(len(stage.resnets)):
            x, feature = stage.layer(index, x, *common)
            skips.append(x)
            features.append(feature)
        if hasattr(stage, "downsamplers"):
            x = stage.downsamplers[0](x)
            skips.append(x)

    x, feature = unet.mid_block.layer(0, x, *common)
    features.append(feature)

    for stage in unet.up_blocks:
        for index in range(len(stage.resnets)):
            x, feature = stage.layer(index, torch.cat([x, skips.pop()], dim=1), *common)
            features.append(feature)
        if hasattr(stage, "upsamplers"):  # to the skip's size: an odd one has no exact half
            x = stage.upsamplers[0](x, output_size=skips[-1].shape[-2:])
    return x, [feature for feature in features if feature is not None]
