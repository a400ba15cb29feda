"""The sampling loop. It knows schedulers and windows, and nothing of how a network is run.

Axes: c latent channels, f frames, h w latent rows and columns.
"""

import inspect
from collections import deque
from collections.abc import Callable, Sequence

import torch

# Predicts for the given frames of the latents: (1, c, f, h, w), timestep, frame indices, whether the
# half of guidance that sees reference and image embedding is meant, and whether the last layer is to
# run alone, on what the layers below it gave for these frames and this half before → (1, c, f, h, w).
Denoiser = Callable[[torch.Tensor, float, Sequence[int], bool, bool], torch.Tensor]


def denoise(
    denoiser: Denoiser,
    latents: torch.Tensor,
    scheduler,
    windows: Sequence[Sequence[int]],
    guidance_scale: float = 3.5,
    generator: torch.Generator | None = None,
    on_step_end: Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
    guidance_interval: tuple[float, float] = (0.0, 1.0),
    cache_interval: int = 1,
    deep_cache_interval: int = 1,
    spread: Callable = map,
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
        guidance_interval: the share of the steps, from and up to, that guidance is used in
            (Kynkäänniemi et al. 2024); outside of it only the conditional half is computed.
        cache_interval: the denoiser runs in every so many steps, in the first two (also of each
            section that guidance_interval makes) and in the last, see `Forecast`.
        deep_cache_interval: of the steps in which the denoiser runs, the first of every so many (also
            of each section) runs all of it, the others its last layer alone (DeepCache, Ma et al. 2023).
        spread: calls a function for each window, as `map` does; that of an executor does it for
            several at a time.
    """
    extras = {}
    if "generator" in inspect.signature(scheduler.step).parameters:
        extras["generator"] = generator
    first, end = guidance_interval
    scale, count = None, len(scheduler.timesteps)
    for step, timestep in enumerate(scheduler.timesteps):
        before, scale = scale, guidance_scale if first <= step / count < end else 1.0
        if scale != before:  # no line leads from guided answers to others
            forecast, runs = Forecast(), 0
        if not forecast.ready or step % cache_interval == 0 or step == count - 1:
            sample = scheduler.scale_model_input(latents, timestep)
            shallow, runs = runs % deep_cache_interval > 0, runs + 1
            prediction = windowed_prediction(
                denoiser, sample, float(timestep), windows, scale, shallow, spread
            )
            if cache_interval > 1:  # answers of a long video are large
                forecast.learn(step, prediction)
        else:
            prediction = forecast(step)
        latents = scheduler.step(prediction, timestep, latents, return_dict=False, **extras)[0]
        if on_step_end is not None:
            latents = on_step_end(step, timestep, latents)
    return latents


class Forecast:
    """What the denoiser would answer in a step, from its last two answers: the linear case of
    TaylorSeer (Liu et al. 2025, equation 7), applied to the final prediction."""

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
    denoiser,
    sample,
    timestep,
    windows,
    guidance_scale,
    shallow: bool = False,
    spread: Callable = map,
) -> torch.Tensor:
    """Mean of the predictions of all windows that hold a frame (Moore-AnimateAnyone,
    `pipeline_pose2vid_long.py`)."""

    def predict(frames):
        window = sample[:, :, frames]
        return guided_prediction(denoiser, window, timestep, frames, guidance_scale, shallow)

    total = torch.zeros_like(sample)
    count = torch.zeros(sample.shape[2])
    for frames, prediction in zip(windows, spread(predict, windows)):
        total[:, :, frames] += prediction
        count[frames] += 1
    return total / count[:, None, None]


def guided_prediction(
    denoiser, sample, timestep, frames, guidance_scale, shallow: bool = False
) -> torch.Tensor:
    """Classifier-free guidance (Ho & Salimans 2022, equation 6, with their w = guidance_scale - 1).

    At a scale of 1 or less the unconditional half has no say, and is not computed.
    """
    conditional = denoiser(sample, timestep, frames, True, shallow)
    if guidance_scale <= 1:
        return conditional
    unconditional = denoiser(sample, timestep, frames, False, shallow)
    return unconditional + guidance_scale * (conditional - unconditional)
