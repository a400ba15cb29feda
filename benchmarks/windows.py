"""What windows do to a long video: seams between them, and what the first and last frames suffer.

    python -m benchmarks.windows --write docs/windows.md

The truth of a network is what it makes of 32 frames in one window, as many as its position table
has. They are made again, from the same noise, in windows of 12, and compared frame by frame.
*Made up* knows the clean video, and in each window adds an offset and a drift of its own. *Toy* is
the denoising UNet at toy width with random weights, which make its motion modules strong: every
frame depends on all others in its window.

The *seam* is the error of the differences between neighbouring frames where windows begin or end,
as a multiple of that elsewhere. Where windows move, the places count where most of them do, as many
as one step has. *Jump* is that error itself. *First*, *middle* and *last* are errors of
the first 4 frames, the last 13, and the others. Errors are shares of the true video's deviation.
"""

import argparse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler

from animate_anyone.base.config import DEFAULT_SCHEDULER
from animate_anyone.base.files import replacing
from animate_anyone.convert.checkpoints import load_part
from animate_anyone.run.denoise import Denoiser, denoise
from animate_anyone.run.presets import Sampling
from animate_anyone.run.windows import Window, context_schedule
from benchmarks.common import table
from tools.random_weights import write_weights

TOY_WEIGHTS = Path("build/toy_weights")
FRAMES, LENGTH, STEPS = 32, 12, 8
FIRST, LAST = 4, 13  # frames at the ends that are looked at
FASTEST = 0.5  # of waves, in radians per frame
OVERLAPS = 2, 4, 6

Plan = Callable[[int, int], list[Window]]


@dataclass(frozen=True)
class Layout:
    """One way to lay windows; `moving` lets them move from step to step."""

    schedule: str
    weighting: str
    overlap: int
    moving: bool

    def plan(self) -> Plan:
        """Windows of (step, num_steps)."""

        def windows(step: int, num_steps: int) -> list[Window]:
            return context_schedule(
                self.schedule,
                FRAMES,
                LENGTH,
                self.overlap,
                step if self.moving else 0,
                num_steps,
                weighting=self.weighting,
            )

        return windows


def layouts() -> list[Layout]:
    """Today's first, then all others; "loop" has no ends to look at."""
    found = [Layout("uniform", "flat", 4, False)]
    for overlap in OVERLAPS:
        for weighting in ("flat", "ramp", "triangular"):
            for schedule, moving in (("uniform", False), ("open", False), ("open", True)):
                layout = Layout(schedule, weighting, overlap, moving)
                found += [layout] if layout not in found else []
    return found


def made_up(clean: torch.Tensor, offset: float = 0.2, drift: float = 0.2) -> Denoiser:
    """Knows the clean video (1, c, f, h, w); what a window adds depends on its frames alone."""
    alphas = DDIMScheduler.from_config(DEFAULT_SCHEDULER).alphas_cumprod

    def denoiser(sample, timestep, frames, *, conditional, last_layer_only=False):
        alpha = alphas[int(timestep)]
        noise = (sample - alpha.sqrt() * clean[:, :, frames]) / (1 - alpha).sqrt()
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * clean[:, :, frames]
        if len(frames) == FRAMES:
            return velocity
        generator = torch.Generator().manual_seed(frames[0])
        own, slope = torch.randn((2, *clean.shape[:2], 1, *clean.shape[3:]), generator=generator)
        place = torch.linspace(-1, 1, len(frames))[:, None, None]
        return velocity + offset * own + drift * place * slope

    return denoiser


def toy(weights: Path, seed: int) -> Denoiser:
    """The UNet at toy width, with poses that change little by little."""
    unet, generator = strong_unet(weights), torch.Generator().manual_seed(seed)
    poses = waves(unet.config.block_out_channels[0], generator)
    embedding = torch.randn((1, 1, unet.config.cross_attention_dim), generator=generator)

    def denoiser(sample, timestep, frames, *, conditional, last_layer_only=False):
        with torch.inference_mode():
            return unet(sample, torch.tensor([timestep]), embedding, poses[:, :, frames])

    return denoiser


@cache
def strong_unet(weights: Path) -> torch.nn.Module:
    """Random weights give motion modules as strong as all else; trained ones change little."""
    if not weights.is_dir():
        write_weights(weights)
    return load_part("denoising_unet", weights)


def waves(channels: int, generator: torch.Generator) -> torch.Tensor:
    """A video of deviation 1 whose neighbouring frames are alike, and that neither repeats nor is
    another at its ends, (1, c, f, 4, 4): each number is a wave of its own speed.
    """
    speed, phase = torch.rand((2, 1, channels, 1, 4, 4), generator=generator)
    time = torch.arange(FRAMES)[:, None, None]
    return 2**0.5 * (FASTEST * speed * time + 2 * torch.pi * phase).cos()


def run(denoiser: Denoiser, noise: torch.Tensor, plan: Plan, **caches) -> torch.Tensor:
    """Denoised latents (1, c, f, h, w)."""
    scheduler = DDIMScheduler.from_config(DEFAULT_SCHEDULER)
    scheduler.set_timesteps(STEPS)
    return denoise(denoiser, noise, Sampling(scheduler, STEPS, **caches), plan)


def undivided(step: int, num_steps: int) -> list[Window]:
    """All frames in one window."""
    return context_schedule("uniform", FRAMES, FRAMES)


def borders(plan: Plan) -> list[int]:
    """Frames before which windows begin or end in most steps, as many as one step has."""
    counts, most = Counter(), 0
    for step in range(STEPS):
        ends = {(f[0], f[-1] + 1) for f, _ in plan(step, STEPS)}
        places = {place for pair in ends for place in pair if 0 < place < FRAMES}
        counts.update(places)
        most = max(most, len(places))
    return sorted(place for place, _ in counts.most_common(most))


def judge(result: torch.Tensor, truth: torch.Tensor, plan: Plan) -> dict[str, float]:
    """Seam, error at the borders, and errors of the first, last and other frames."""
    error = result - truth
    steps = error.diff(dim=2).square().mean(dim=(0, 1, 3, 4)).sqrt()  # before frames 1, 2 …
    at = np.zeros(len(steps), bool)
    at[np.array(borders(plan)) - 1] = True
    frames = error.square().mean(dim=(0, 1, 3, 4)).sqrt() / truth.std()
    return {
        "seam": float(steps[at].mean() / steps[~at].mean()),
        "jump": float(steps[at].mean() / truth.std()),
        "first": float(frames[:FIRST].mean()),
        "middle": float(frames[FIRST:-LAST].mean()),
        "last": float(frames[-LAST:].mean()),
    }


def compare(found: list[Layout], make: Callable[[int], tuple], seeds: int, **caches) -> list[dict]:
    """Means over seeds, one dictionary per layout."""
    scores: list[list[dict]] = [[] for _ in found]
    for seed in range(seeds):
        denoiser, noise = make(seed)
        truth = run(denoiser, noise, undivided)
        for layout, own in zip(found, scores):
            own.append(judge(run(denoiser, noise, layout.plan(), **caches), truth, layout.plan()))
    return [{key: float(np.mean([s[key] for s in own])) for key in own[0]} for own in scores]


def of_made_up(seed: int) -> tuple[Denoiser, torch.Tensor]:
    """Denoiser and noise."""
    generator = torch.Generator().manual_seed(seed)
    clean = waves(4, generator)
    return made_up(clean), torch.randn(clean.shape, generator=generator)


def of_toy(seed: int) -> tuple[Denoiser, torch.Tensor]:
    """Denoiser and noise, smooth as well: such a network does not take noise away."""
    return toy(TOY_WEIGHTS, seed), waves(4, torch.Generator().manual_seed(seed + 1000))


NETWORKS = {"made up": of_made_up, "toy": of_toy}
CACHES = {"none": {}, "cache_interval=2": {"cache_interval": 2}}
CACHED = [Layout("uniform", "flat", 4, False), Layout("open", "ramp", 4, True)]


def row(layout: Layout, score: dict[str, float]) -> list[str]:
    """What a layout is, and how it does."""
    calls = sum(len(layout.plan()(step, STEPS)) for step in range(STEPS)) / STEPS
    kind = [layout.schedule, "moving" if layout.moving else "still", layout.weighting]
    return [*kind, str(layout.overlap), f"{calls:.1f}", *(f"{v:.3f}" for v in score.values())]


def section(name: str, seeds: int) -> str:
    """Heading and table of a network."""
    found = layouts()
    scores = compare(found, NETWORKS[name], seeds)
    heads = ["schedule", "windows", "weights", "overlap", "calls per step", *scores[0]]
    rows = [row(layout, score) for layout, score in zip(found, scores)]
    return f"## Network: {name}\n\n{table(heads, rows, numbers_from=3)}\n"


def cached_section(seeds: int) -> str:
    """What a forecast makes of windows that move."""
    rows = []
    for title, caches in CACHES.items():
        scores = compare(CACHED, of_made_up, seeds, **caches)
        rows += [[title, *row(layout, score)] for layout, score in zip(CACHED, scores)]
    heads = ["cache", "schedule", "windows", "weights", "overlap", "calls per step", *scores[0]]
    return f"## Forecasts\n\n{table(heads, rows, numbers_from=4)}\n"


MARK = "<!-- below: python -m benchmarks.windows --write docs/windows.md -->\n"


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--write", type=Path, help="page whose end, from its mark on, is replaced")
    options = parser.parse_args()
    torch.set_num_threads(1)  # networks as small as these lose by more
    parts = [section(name, options.seeds) for name in NETWORKS]
    text = "\n".join([*parts, cached_section(options.seeds)])
    print(text)
    if options.write:
        page = options.write.read_text(encoding="utf-8").partition(MARK)[0]
        with replacing(options.write) as partial:
            partial.write_text(f"{page}{MARK}\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
