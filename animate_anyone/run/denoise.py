"""The sampling loop. It knows schedulers and windows, and nothing of how a network is run.

Axes: c latent channels, f frames, h w latent rows and columns.
"""

import inspect
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import torch

from ..base.checks import check_finite
from .presets import Sampling
from .windows import Window

LEAST_KEPT = 1e-5  # of the clean latents in pure noise: schedulers may say none at all


class Denoiser(Protocol):
    """Predicts what a step needs for some frames of the latents."""

    def __call__(
        self,
        sample: torch.Tensor,
        timestep: float,
        frames: Sequence[int],
        *,
        conditional: bool,
        last_layer_only: bool = False,
    ) -> torch.Tensor:
        """One half of guidance.

        Args:
            sample: latents of these frames, (1, c, f, h, w).
            timestep: of the scheduler.
            frames: their indices in the video; one may occur more than once.
            conditional: the half that sees reference and image embedding.
            last_layer_only: run the last layer alone, on what the layers below it gave for these
                frames and this half before.

        Returns:
            The prediction, (1, c, f, h, w).
        """


def denoise(
    denoiser: Denoiser,
    latents: torch.Tensor,
    sampling: Sampling,
    windows: Callable[[int, int], Sequence[Window]],
    *,
    generator: torch.Generator | None = None,
    on_step_end: Callable[..., torch.Tensor] | None = None,
    map_windows: Callable = map,
) -> torch.Tensor:
    """Walk the scheduler's timesteps from noise to clean latents.

    Args:
        denoiser: see `Denoiser`.
        latents: noise (1, c, f, h, w), already times the scheduler's `init_noise_sigma`.
        sampling: a scheduler whose timesteps are set, guidance and caches.
        windows: called with (step, number of steps), see `context_schedule`. Steps that run the
            last layer alone keep to those of the step before.
        generator: noise source of schedulers that add noise in a step.
        on_step_end: called with (step, timestep, latents, clean); clean() is `predicted_clean` of
            this step. The latents that it returns go on.
        map_windows: calls a function for each window, as `map` does; that of an executor does it
            for several at a time.
    """
    scheduler, extras = sampling.scheduler, {}
    if "generator" in inspect.signature(scheduler.step).parameters:
        extras["generator"] = generator
    scale, count, layouts = None, len(scheduler.timesteps), 0
    for step, timestep in enumerate(scheduler.timesteps):
        before, scale = scale, sampling.guidance_at(step / count)
        if scale != before:  # no line leads from guided answers to others
            forecast, runs = Forecast(), 0
        sample = scheduler.scale_model_input(latents, timestep)
        if not forecast.ready or step % sampling.cache_interval == 0 or step == count - 1:
            last_layer_only = runs % sampling.deep_cache_interval > 0
            if not last_layer_only:  # which works on what windows of the same frames gave
                layout, layouts = windows(layouts, count), layouts + 1
            prediction = windowed_prediction(
                denoiser,
                sample,
                float(timestep),
                layout,
                scale,
                last_layer_only=last_layer_only,
                map_windows=map_windows,
            )
            runs += 1
            if sampling.cache_interval > 1:  # answers of a long video are large
                forecast.learn(step, prediction)
        else:
            prediction = forecast(step)
        latents = scheduler.step(prediction, timestep, latents, return_dict=False, **extras)[0]
        check_finite(f"latents after step {step + 1}, at guidance_scale {scale},", latents.numpy())
        if on_step_end is not None:
            clean = partial(predicted_clean, scheduler, sample, prediction, timestep)
            latents = on_step_end(step, timestep, latents, clean)
    return latents


def predicted_clean(scheduler, sample, prediction, timestep) -> torch.Tensor:
    """What the latents would be at the end if this prediction were right: `pred_original_sample` of
    diffusers' schedulers, for all kinds of them and of predictions (Salimans & Ho 2022, section 4).

    Args:
        scheduler: of diffusers.
        sample: latents before the step, as `scale_model_input` gives them.
        prediction: of the denoiser, of the same shape.
        timestep: of the step.
    """
    kept = scheduler.alphas_cumprod[round(float(timestep))].to(sample.dtype).clamp(min=LEAST_KEPT)
    kind = scheduler.config.prediction_type
    if kind == "sample":
        return prediction
    if kind == "v_prediction":
        return kept.sqrt() * sample - (1 - kept).sqrt() * prediction
    return (sample - (1 - kept).sqrt() * prediction) / kept.sqrt()


class Forecast:
    """What the denoiser would answer in a step, from its last two answers: the linear case of
    TaylorSeer (Liu et al. 2025, equation 7), applied to the final prediction.
    """

    def __init__(self):
        self.answers = deque(maxlen=2)  # (step, answer)

    @property
    def ready(self) -> bool:
        """Whether there are two answers to draw a line through."""
        return len(self.answers) == 2

    def learn(self, step: int, answer: torch.Tensor) -> None:
        """Note an answer (1, c, f, h, w)."""
        self.answers.append((step, answer))

    def __call__(self, step: int) -> torch.Tensor:
        """The line through the last two answers, (1, c, f, h, w)."""
        (before, old), (last, new) = self.answers
        return new + (step - last) * (new - old) / (last - before)


def windowed_prediction(
    denoiser: Denoiser,
    sample: torch.Tensor,
    timestep: float,
    windows: Sequence[Window],
    guidance_scale: float,
    *,
    last_layer_only: bool = False,
    map_windows: Callable = map,
) -> torch.Tensor:
    """Weighted mean of what all windows predict for a frame (Moore-AnimateAnyone,
    `pipeline_pose2vid_long.py`, where all weights are 1).
    """

    def predict(frames):
        return guided_prediction(
            denoiser,
            sample[:, :, frames],
            timestep,
            frames,
            guidance_scale,
            last_layer_only=last_layer_only,
        )

    total, weight = torch.zeros_like(sample), sample.new_zeros(sample.shape[2])
    predictions = map_windows(predict, [frames for frames, _ in windows])
    for (frames, weights), prediction in zip(windows, predictions):
        index, share = torch.tensor(frames), sample.new_tensor(weights)
        total.index_add_(2, index, prediction * share[:, None, None])  # repeats count, too
        weight.index_add_(0, index, share)
    return total / weight[:, None, None]


def guided_prediction(
    denoiser: Denoiser,
    sample: torch.Tensor,
    timestep: float,
    frames: Sequence[int],
    guidance_scale: float,
    *,
    last_layer_only: bool = False,
) -> torch.Tensor:
    """Classifier-free guidance (Ho & Salimans 2022, equation 6, with their w = guidance_scale - 1).

    At a scale of 1 or less the unconditional half has no say, and is not computed.
    """

    def half(conditional: bool) -> torch.Tensor:
        return denoiser(
            sample, timestep, frames, conditional=conditional, last_layer_only=last_layer_only
        )

    conditional = half(True)
    if guidance_scale <= 1:
        return conditional
    unconditional = half(False)
    return unconditional + guidance_scale * (conditional - unconditional)
