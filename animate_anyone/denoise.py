"""The sampling loop. It knows schedulers and windows, and nothing of how a network is run.

Axes: c latent channels, f frames, h w latent rows and columns.
"""

import inspect
from collections.abc import Callable, Sequence

import torch

# Predicts for the given frames of the latents: (1, c, f, h, w), timestep, frame indices, and whether
# the half of guidance that sees reference and image embedding is meant → (1, c, f, h, w).
Denoiser = Callable[[torch.Tensor, float, Sequence[int], bool], torch.Tensor]


def denoise(
    denoiser: Denoiser,
    latents: torch.Tensor,
    scheduler,
    windows: Sequence[Sequence[int]],
    guidance_scale: float = 3.5,
    generator: torch.Generator | None = None,
    on_step_end: Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
) -> torch.Tensor:
    """Walk the scheduler's timesteps from noise to clean latents.

    Args:
        denoiser: see `Denoiser`.
        latents: noise (1, c, f, h, w), already times the scheduler's `init_noise_sigma`.
        scheduler: a diffusers scheduler whose timesteps are set.
        windows: frame indices that pass through the denoiser together.
        guidance_scale: see `guided_prediction`.
        generator: noise source of schedulers that add noise in a step.
        on_step_end: called with (step, timestep, latents); what it returns goes on.
    """
    extras = {}
    if "generator" in inspect.signature(scheduler.step).parameters:
        extras["generator"] = generator
    for step, timestep in enumerate(scheduler.timesteps):
        sample = scheduler.scale_model_input(latents, timestep)
        prediction = windowed_prediction(denoiser, sample, float(timestep), windows, guidance_scale)
        latents = scheduler.step(prediction, timestep, latents, return_dict=False, **extras)[0]
        if on_step_end is not None:
            latents = on_step_end(step, timestep, latents)
    return latents


def windowed_prediction(denoiser, sample, timestep, windows, guidance_scale) -> torch.Tensor:
    """Mean of the predictions of all windows that hold a frame (Moore-AnimateAnyone,
    `pipeline_pose2vid_long.py`)."""
    total = torch.zeros_like(sample)
    count = torch.zeros(sample.shape[2])
    for frames in windows:
        window = sample[:, :, frames]
        total[:, :, frames] += guided_prediction(denoiser, window, timestep, frames, guidance_scale)
        count[frames] += 1
    return total / count[:, None, None]


def guided_prediction(denoiser, sample, timestep, frames, guidance_scale) -> torch.Tensor:
    """Classifier-free guidance (Ho & Salimans 2022, equation 6, with their w = guidance_scale - 1).

    At a scale of 1 or less the unconditional half has no say, and is not computed.
    """
    conditional = denoiser(sample, timestep, frames, True)
    if guidance_scale <= 1:
        return conditional
    unconditional = denoiser(sample, timestep, frames, False)
    return unconditional + guidance_scale * (conditional - unconditional)
