"""Windows and the sampling loop, with denoisers that are plain functions."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from diffusers import DDIMScheduler

from animate_anyone.base.config import DEFAULT_SCHEDULER
from animate_anyone.run.denoise import denoise, guided_prediction, windowed_prediction
from animate_anyone.run.presets import Sampling
from animate_anyone.run.windows import context_windows


def sampling(steps: int, **settings) -> Sampling:
    """DDIM, by default without guidance."""
    ddim = DDIMScheduler.from_config(DEFAULT_SCHEDULER)
    ddim.set_timesteps(steps)
    return Sampling(ddim, steps, **settings)


def test_a_video_that_fits_is_one_window():
    assert context_windows(24) == [list(range(24))]
    assert context_windows(1) == [[0]]


def test_long_video_wraps():
    assert context_windows(30) == [list(range(24)), [*range(20, 30), *range(14)]]
    assert context_windows(7, context_frames=4, context_overlap=1) == [
        [0, 1, 2, 3],
        [3, 4, 5, 6],
        [6, 0, 1, 2],
    ]


@pytest.mark.parametrize("num_frames", [1, 5, 24, 25, 40, 41, 44, 60, 100, 601])
@pytest.mark.parametrize(("frames", "overlap"), [(24, 4), (16, 0), (8, 7)])
def test_windows_cover_every_frame_without_repeats(num_frames, frames, overlap):
    windows = context_windows(num_frames, frames, overlap)
    assert set().union(*windows) == set(range(num_frames))
    assert all(len(set(window)) == len(window) == min(frames, num_frames) for window in windows)


@pytest.mark.parametrize("arguments", [(0,), (5, 0), (5, 4, 4), (5, 4, -1)])
def test_bad_windows(arguments):
    with pytest.raises(ValueError, match="must be at least"):
        context_windows(*arguments)


def test_overlapping_windows_are_averaged():
    sample = torch.zeros(1, 1, 3, 1, 1)

    def denoiser(sample, timestep, frames, *, conditional, last_layer_only=False):
        return torch.full_like(sample, float(frames[0] + 1))

    prediction = windowed_prediction(denoiser, sample, 0.0, [[0, 1], [1, 2]], 1.0)
    assert prediction.flatten().tolist() == [1.0, 1.5, 2.0]


def test_guidance_formula():
    def denoiser(sample, timestep, frames, *, conditional, last_layer_only=False):
        return torch.full_like(sample, 5.0 if conditional else 2.0)

    sample = torch.zeros(1, 1, 1, 1, 1)
    assert guided_prediction(denoiser, sample, 0.0, [0], 3.5).item() == 2 + 3.5 * (5 - 2)
    assert guided_prediction(denoiser, sample, 0.0, [0], 1.0).item() == 5


def counting(calls: list):
    """A denoiser whose answer grows by 1 with each step, and that notes what it is asked."""
    timesteps = sampling(8).scheduler.timesteps.tolist()

    def denoiser(sample, timestep, frames, *, conditional, last_layer_only=False):
        calls.append((timesteps.index(timestep), conditional))
        return torch.full_like(sample, float(timesteps.index(timestep)))

    return denoiser


@pytest.mark.parametrize(
    ("options", "conditional", "unconditional"),
    [
        ({"guidance_interval": (0.25, 0.5)}, list(range(8)), [2, 3]),
        # Where guidance ends, the forecast begins anew with two answers of its own.
        ({"guidance_interval": (0.0, 0.5), "cache_interval": 4}, [0, 1, 4, 5, 7], [0, 1]),
    ],
)
def test_guidance_interval(options, conditional, unconditional):
    """Both halves inside of the interval, the conditional one alone elsewhere."""
    calls, noise = [], torch.zeros(1, 1, 1, 2, 2)
    denoise(counting(calls), noise, sampling(8, guidance_scale=2.0, **options), [[0]])
    assert [step for step, half in calls if half] == conditional
    assert [step for step, half in calls if not half] == unconditional


@pytest.mark.parametrize(
    ("interval", "steps"), [(1, list(range(8))), (2, [0, 1, 2, 4, 6, 7]), (3, [0, 1, 3, 6, 7])]
)
def test_cache_interval(interval, steps):
    """The denoiser is asked in fewer steps; what it would say is a line, so nothing changes."""
    calls, noise = [], torch.randn(1, 1, 1, 2, 2)
    exact = denoise(counting([]), noise, sampling(8), [[0]])
    result = denoise(counting(calls), noise, sampling(8, cache_interval=interval), [[0]])
    assert [step for step, _ in calls] == steps
    torch.testing.assert_close(result, exact)


@pytest.mark.parametrize(
    ("options", "full", "last_layer_only"),
    [
        ({"deep_cache_interval": 3}, [0, 3, 6], [1, 2, 4, 5, 7]),
        ({"deep_cache_interval": 2, "cache_interval": 2}, [0, 2, 6], [1, 4, 7]),
        # Where guidance ends, layers below begin anew.
        ({"deep_cache_interval": 4, "guidance_interval": (0.0, 0.25)}, [0, 2, 6], [1, 3, 4, 5, 7]),
    ],
)
def test_deep_cache_interval(options, full, last_layer_only):
    """In which steps the last layer runs alone."""
    seen, timesteps = {True: [], False: []}, sampling(8).scheduler.timesteps.tolist()

    def denoiser(sample, timestep, frames, *, conditional, last_layer_only):
        if conditional:
            seen[last_layer_only].append(timesteps.index(timestep))
        return sample

    noise = torch.randn(1, 1, 1, 2, 2)
    denoise(denoiser, noise, sampling(8, guidance_scale=2.0, **options), [[0]])
    assert (seen[False], seen[True]) == (full, last_layer_only)


def test_windows_spread_over_threads():
    """All at once, and summed in the same order as one after the other."""
    sample, windows = torch.randn(1, 1, 8, 2, 2), [[0, 1, 2], [2, 3, 4], [4, 5, 6], [6, 7, 0]]
    together = threading.Barrier(len(windows), timeout=10)

    def denoiser(sample, timestep, frames, *, conditional, last_layer_only=False):
        together.wait()
        return sample / 3

    with ThreadPoolExecutor(len(windows)) as executor:
        spread = windowed_prediction(denoiser, sample, 0.0, windows, 1.0, map_windows=executor.map)
    plain = windowed_prediction(lambda sample, *_, **halves: sample / 3, sample, 0.0, windows, 1.0)
    assert torch.equal(spread, plain)


def test_exact_velocity_leads_to_the_clean_sample():
    """With a denoiser that knows the answer, DDIM with zero terminal SNR lands on it."""
    torch.manual_seed(0)
    clean, noise = torch.randn(2, 1, 4, 5, 2, 2).unbind(0)
    five = sampling(5)

    def denoiser(sample, timestep, frames, *, conditional, last_layer_only=False):
        alpha = five.scheduler.alphas_cumprod[int(timestep)]
        epsilon = (sample - alpha.sqrt() * clean[:, :, frames]) / (1 - alpha).sqrt()
        return alpha.sqrt() * epsilon - (1 - alpha).sqrt() * clean[:, :, frames]

    steps = []

    def on_step_end(step, timestep, latents):
        steps.append(step)
        return latents

    windows = context_windows(5, 3, 1)
    result = denoise(denoiser, noise, five, windows, on_step_end=on_step_end)
    torch.testing.assert_close(result, clean, rtol=0, atol=1e-4)
    assert steps == list(range(5))


def test_latents_of_the_caller_are_not_changed():
    latents = torch.randn(1, 4, 3, 2, 2)
    before = latents.clone()
    denoise(lambda sample, *_, **halves: sample, latents, sampling(2), [[0, 1, 2]])
    assert torch.equal(latents, before)
