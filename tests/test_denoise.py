"""Windows and the sampling loop, with denoisers that are plain functions."""

import threading
from concurrent.futures import ThreadPoolExecutor

import diffusers
import pytest
import torch
from diffusers import DDIMScheduler

from animate_anyone.base.config import DEFAULT_SCHEDULER
from animate_anyone.run.denoise import (
    denoise,
    guided_prediction,
    predicted_clean,
    windowed_prediction,
)
from animate_anyone.run.presets import Sampling
from animate_anyone.run.windows import context_schedule, plan_windows


def sampling(steps: int, **settings) -> Sampling:
    """DDIM, by default without guidance."""
    ddim = DDIMScheduler.from_config(DEFAULT_SCHEDULER)
    ddim.set_timesteps(steps)
    return Sampling(ddim, steps, **settings)


def whole(num_frames: int):
    """One window in every step."""
    return lambda *_: [(list(range(num_frames)), [1.0] * num_frames)]


def test_overlapping_windows_are_averaged():
    sample = torch.zeros(1, 1, 3, 1, 1)

    def denoiser(sample, timestep, frames, *, conditional, last_layer_only=False):
        return torch.full_like(sample, float(frames[0] + 1))

    flat = [([0, 1], [1.0, 1.0]), ([1, 2], [1.0, 1.0])]
    assert windowed_prediction(denoiser, sample, 0.0, flat, 1.0).flatten().tolist() == [1, 1.5, 2]
    weighted = [([0, 1], [1.0, 1.0]), ([1, 2], [3.0, 0.5])]
    prediction = windowed_prediction(denoiser, sample, 0.0, weighted, 1.0)
    assert prediction.flatten().tolist() == [1.0, (1 + 3 * 2) / 4, 2.0]


def test_uniform_windows_give_the_plain_mean_bit_for_bit():
    sample, answers = torch.randn(1, 2, 30, 3, 3), torch.randn(2, 1, 2, 24, 3, 3).unbind(0)
    windows = context_schedule("uniform", 30)
    total, count = torch.zeros_like(sample), torch.zeros(30)
    for (frames, _), answer in zip(windows, answers):
        total[:, :, frames] += answer
        count[frames] += 1
    given = iter(answers)
    prediction = windowed_prediction(lambda *_, **halves: next(given), sample, 0.0, windows, 1.0)
    assert torch.equal(prediction, total / count[:, None, None])


def test_a_frame_twice_in_a_window_counts_twice():
    """With the weight and the prediction of each place."""
    sample = torch.tensor([10.0, 20.0]).reshape(1, 1, 2, 1, 1)

    def denoiser(sample, timestep, frames, *, conditional, last_layer_only=False):
        return sample + torch.arange(3.0).reshape(1, 1, 3, 1, 1)

    windows = [([0, 1, 0], [1.0, 0.5, 3.0])]
    prediction = windowed_prediction(denoiser, sample, 0.0, windows, 1.0)
    assert prediction.flatten().tolist() == [(10 + 3 * 12) / 4, 21.0]


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
    denoise(counting(calls), noise, sampling(8, guidance_scale=2.0, **options), whole(1))
    assert [step for step, half in calls if half] == conditional
    assert [step for step, half in calls if not half] == unconditional


@pytest.mark.parametrize(
    ("interval", "steps"), [(1, list(range(8))), (2, [0, 1, 2, 4, 6, 7]), (3, [0, 1, 3, 6, 7])]
)
def test_cache_interval(interval, steps):
    """The denoiser is asked in fewer steps; what it would say is a line, so nothing changes."""
    calls, noise = [], torch.randn(1, 1, 1, 2, 2)
    exact = denoise(counting([]), noise, sampling(8), whole(1))
    result = denoise(counting(calls), noise, sampling(8, cache_interval=interval), whole(1))
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
    denoise(denoiser, noise, sampling(8, guidance_scale=2.0, **options), whole(1))
    assert (seen[False], seen[True]) == (full, last_layer_only)


@pytest.mark.parametrize(
    ("options", "layouts"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"deep_cache_interval": 3}, [0, 0, 0, 1, 1, 1]),
        ({"cache_interval": 2}, [0, 1, 2, 3, 4]),  # steps 0, 1, 2, 4 and 5
        ({"cache_interval": 2, "deep_cache_interval": 2}, [0, 0, 1, 1, 2]),
    ],
)
def test_windows_move_when_all_layers_run(options, layouts):
    """And with them in the order of the schedule, without gaps: its fractions fill the stride."""
    seen = []

    def denoiser(sample, timestep, frames, *, conditional, last_layer_only=False):
        seen.append(frames[0])
        return sample

    def moving(step, num_steps):
        assert num_steps == 6
        return [([step], [1.0]), ([index for index in range(6) if index != step], [1.0] * 5)]

    denoise(denoiser, torch.randn(1, 1, 6, 2, 2), sampling(6, **options), moving)
    assert seen[::2] == layouts


def test_windows_spread_over_threads():
    """All at once, and summed in the same order as one after the other."""
    sample, windows = torch.randn(1, 1, 8, 2, 2), context_schedule("uniform", 8, 3, 1)
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

    def on_step_end(step, timestep, latents, clean):
        steps.append(step)
        return latents

    windows = plan_windows("open", 5, 3, 1, None)
    result = denoise(denoiser, noise, five, windows, on_step_end=on_step_end)
    torch.testing.assert_close(result, clean, rtol=0, atol=1e-4)
    assert steps == list(range(5))


def test_latents_of_the_caller_are_not_changed():
    latents = torch.randn(1, 4, 3, 2, 2)
    before = latents.clone()
    denoise(lambda sample, *_, **halves: sample, latents, sampling(2), whole(3))
    assert torch.equal(latents, before)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize(
    "name", ["DDIMScheduler", "UniPCMultistepScheduler", "EulerDiscreteScheduler"]
)
def test_the_clean_video_is_known_where_the_prediction_is_right(name, kind):
    """Noise is added to known latents by the scheduler; the right answer gives them back."""
    config = {"beta_schedule": "scaled_linear", "timestep_spacing": "trailing"}  # whole timesteps
    rng = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(1, 4, 2, 3, 3, generator=rng) for _ in range(2))
    for index in (1, 3, 5):
        scheduler = getattr(diffusers, name).from_config(config, prediction_type=kind)
        scheduler.set_timesteps(8)
        timestep = scheduler.timesteps[index]
        noisy = scheduler.add_noise(clean, noise, timestep[None])
        sample = scheduler.scale_model_input(noisy, timestep)
        kept = scheduler.alphas_cumprod[int(timestep)]
        answers = {
            "epsilon": noise,
            "v_prediction": kept.sqrt() * noise - (1 - kept).sqrt() * clean,
            "sample": clean,
        }
        got = predicted_clean(scheduler, sample, answers[kind], timestep)
        torch.testing.assert_close(got, clean, atol=1e-3, rtol=0)
