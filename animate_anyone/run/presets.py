"""How a video is sampled: as the caller asks, else as a preset says, else as the model recommends.

`benchmarks/quality.py` charts quality over time, and with it what the presets cost and give.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import diffusers

from ..base.checks import check_choice, check_count, check_guidance, check_interval, check_type
from ..base.config import GenerationConfig


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
    """All that decides between quality and time, see `OVAnimateAnyonePipeline.__call__`.

    scheduler            of diffusers; its timesteps are set
    guidance_scale       see `denoise.guided_prediction`
    guidance_interval    the share of the steps, from and up to, that guidance is used in
                         (Kynkäänniemi et al. 2024); outside of it only the conditional half is
                         computed
    cache_interval       the denoiser runs in every so many steps, in the first two (also of each
                         section that guidance_interval makes) and in the last, see `Forecast`
    deep_cache_interval  of the steps in which the denoiser runs, the first of every so many (also
                         of each section) runs all of it, the others its last layer alone
                         (DeepCache, Ma et al. 2023)
    """

    scheduler: diffusers.SchedulerMixin
    num_inference_steps: int
    guidance_scale: float = 1.0
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    cache_interval: int = 1
    deep_cache_interval: int = 1

    def guidance_at(self, share: float) -> float:
        """The scale when this share of the steps is done; 1 outside of the interval."""
        first, end = self.guidance_interval
        return self.guidance_scale if first <= share < end else 1.0


def resolve_sampling(preset: str | None, recommended: GenerationConfig, current, **own) -> Sampling:
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
    fields: dict[str, Any] = {
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
    scheduler = _scheduler(fields["scheduler"], chosen, current)
    scheduler.set_timesteps(fields["num_inference_steps"])
    return Sampling(**fields | {"scheduler": scheduler})


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


def build_scheduler(config: dict) -> diffusers.SchedulerMixin:
    """The scheduler of a config in diffusers' form; raises ValueError where there is no such
    class.
    """
    name = config["_class_name"]
    kind: Any = getattr(diffusers, name, None)
    if kind not in vars(diffusers).values() or not hasattr(kind, "set_timesteps"):
        raise ValueError(
            f"scheduler must be a class of diffusers {diffusers.__version__}, got {name!r}"
        )
    return kind.from_config(config)
