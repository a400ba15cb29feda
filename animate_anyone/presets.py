"""How a video is sampled: as the caller asks, else as a preset says, else as the model recommends.

`benchmarks/quality.py` charts quality over time, and with it what the presets cost and give.
"""

from copy import deepcopy
from dataclasses import dataclass

import diffusers

from .checks import check_choice, check_count, check_guidance, check_interval, check_type
from .config import GenerationConfig


@dataclass(frozen=True)
class Preset:
    """How much less than the model recommends.

    scheduler          name of a diffusers class; None: the pipeline's own
    step_share         share of the recommended steps, rounded down
    guidance_interval  the share of the steps, from and up to, that guidance is used in
    """

    scheduler: str | None = None
    step_share: float = 1.0
    guidance_interval: tuple[float, float] = (0.0, 1.0)


PRESETS = {
    "quality": Preset(),
    "balanced": Preset("UniPCMultistepScheduler", 1 / 2, guidance_interval=(0.0, 0.5)),
    "fast": Preset("UniPCMultistepScheduler", 1 / 4, guidance_interval=(0.0, 0.4)),
}


@dataclass(frozen=True)
class Sampling:
    """All that decides between quality and time, see `OVAnimateAnyonePipeline.__call__`."""

    scheduler: diffusers.SchedulerMixin
    num_inference_steps: int
    guidance_scale: float
    guidance_interval: tuple[float, float]
    cache_interval: int
    deep_cache_interval: int


def settle(preset: str | None, recommended: GenerationConfig, current, **own) -> Sampling:
    """One sampling with every field filled in.

    Args:
        preset: a name of `PRESETS`, or None for "quality".
        recommended: steps and guidance of the model.
        current: scheduler of the pipeline; a preset's own is made from its config.
        own: fields of `Sampling` that the caller asks for; those that are None do not count.

    Raises:
        ValueError, TypeError: a field is out of range.
    """
    preset = "quality" if preset is None else preset
    check_type("preset", preset, str)
    check_choice("preset", preset, tuple(PRESETS))
    chosen = PRESETS[preset]
    fields = {
        "scheduler": None,
        "num_inference_steps": max(1, int(recommended.num_inference_steps * chosen.step_share)),
        "guidance_scale": recommended.guidance_scale,
        "guidance_interval": chosen.guidance_interval,
        "cache_interval": 1,
        "deep_cache_interval": 1,
    }
    fields |= {name: value for name, value in own.items() if value is not None}
    for name in ("num_inference_steps", "cache_interval", "deep_cache_interval"):
        check_count(name, fields[name])
        fields[name] = int(fields[name])  # NumPy's small integers end at 255 steps
    check_guidance(fields["guidance_scale"])
    check_interval("guidance_interval", fields["guidance_interval"])
    return Sampling(**fields | {"scheduler": _scheduler(fields["scheduler"], chosen, current)})


def _scheduler(wanted, chosen: Preset, current):
    """A copy of the caller's, which stays as it is; or the preset's; or the pipeline's own."""
    if wanted is not None:
        check_type("scheduler", wanted, diffusers.SchedulerMixin)
        if not hasattr(wanted, "init_noise_sigma"):
            raise ValueError(f"scheduler must be one of diffusion, got {type(wanted).__name__}")
        return deepcopy(wanted)
    if chosen.scheduler is None:
        return current
    return getattr(diffusers, chosen.scheduler).from_config(current.config)
