"""What all stages of training share: schedule, moving average, log and checkpoints.

A run can be stopped at any moment and continues from its last checkpoint with the same batches: the
batch of a step is a function of (seed, step) alone.
"""

import copy
import csv
import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from tqdm.auto import tqdm

logger = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 300
OUTER = ("conv_in", "conv_out", "position_embedding", "patch_embedding")
ADAM_SHARE = 0.15  # AdamW's learning rate, as a share of Muon's
LOG_EVERY = 20  # steps, whose mean losses make one row


class Trainer:
    """Muon and AdamW with warm-up and cosine decay, and an exponential moving average.

    Muon (Jordan et al. 2024) moves the matrices inside of a network, AdamW the rest: first and last
    layers, embeddings, biases and norms. The autoencoder learns several times
    faster this way than with AdamW alone.

    Args:
        module: what is trained; parameters that do not require gradients are left alone.
        folder: receives `checkpoint.pt`, outside of git.
        log: a CSV file, kept in git: it tells of all runs, on whatever machine.
        steps: length of the whole training, over all runs.
        learning_rate: of Muon at its highest; AdamW's is `ADAM_SHARE` of it.
        decay: of the moving average, reached gradually.
    """

    def __init__(
        self,
        module: nn.Module,
        folder: Path,
        log: Path,
        steps: int,
        learning_rate: float,
        decay: float = 0.999,
    ):
        self.module = module
        self.average = copy.deepcopy(module).eval().requires_grad_(False)
        self.steps, self.learning_rate, self.decay = steps, learning_rate, decay
        self.step, self.seconds = 0, 0.0
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        self.trained = {name for name, _ in named}
        self.inner = [p for name, p in named if is_inner(name, p)]
        # Muon takes matrices only: convolutions are seen as (out, in h w), sharing their memory.
        self.matrices = [nn.Parameter(p.data.flatten(1)) for p in self.inner]
        outer = [p for name, p in named if not is_inner(name, p)]
        self.optimizers = [torch.optim.AdamW(outer, betas=(0.9, 0.95))]
        if self.inner:
            self.optimizers.append(torch.optim.Muon(self.matrices, weight_decay=0.01))
        self.path, self.log = folder / "checkpoint.pt", log
        for parent in (folder, log.parent):
            parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self._load()

    def run(self, loss_of: Callable[[int], dict], minutes: float = math.inf) -> bool:
        """Train until done or out of time; `loss_of(step)` gives named losses, the first of which
        is minimised. Returns whether the training is complete.
        """
        start = saved = time.monotonic()
        before, recent = self.seconds, []
        with tqdm(total=self.steps, initial=self.step, unit="step", mininterval=10) as bar:
            while self.step < self.steps and time.monotonic() - start < 60 * minutes:
                recent.append(self._update(loss_of))
                self.seconds = before + time.monotonic() - start
                bar.set_postfix(recent[-1], refresh=False)
                bar.update()
                if self.step % LOG_EVERY == 0:
                    self._write(recent)
                    recent = []
                if time.monotonic() - saved >= CHECKPOINT_SECONDS:
                    self.save()
                    saved = time.monotonic()
        if recent:
            self._write(recent)
        self.save()
        return self.step >= self.steps

    def start_from(self, state: dict[str, torch.Tensor], step: int) -> None:
        """Go on from weights without a checkpoint: the optimizer begins anew."""
        for module in (self.module, self.average):
            unknown = module.load_state_dict(state, strict=False).unexpected_keys
            if unknown:
                raise ValueError(f"weights have unknown keys: {', '.join(unknown[:3])}")
        self.step, self.seconds = step, self._logged_seconds(step)
        logger.info("continuing from weights of step %d of %d", self.step, self.steps)

    def save(self) -> None:
        """Write the checkpoint in one step."""
        state = {
            "module": self._trained(self.module.state_dict()),
            "average": self._trained(self.average.state_dict()),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "seconds": self.seconds,
        }
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.path)

    def _load(self) -> None:
        state = torch.load(self.path, weights_only=True)
        for name in ("module", "average"):
            getattr(self, name).load_state_dict(self._trained(state[name]), strict=False)
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.seconds = state["step"], state["seconds"]
        self._logged_seconds(self.step)
        logger.info("continuing at step %d of %d", self.step, self.steps)

    def _trained(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What is trained of a state: the rest may have been trained elsewhere since."""
        return {name: value for name, value in state.items() if name in self.trained}

    def _update(self, loss_of) -> dict[str, float]:
        rate = self.learning_rate * cosine(self.step, self.steps)
        losses = loss_of(self.step)
        next(iter(losses.values())).backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        for matrix, parameter in zip(self.matrices, self.inner):
            matrix.grad = None if parameter.grad is None else parameter.grad.flatten(1)
        for optimizer, share in zip(self.optimizers, (ADAM_SHARE, 1)):
            for group in optimizer.param_groups:
                group["lr"] = share * rate
            optimizer.step()
        self.module.zero_grad(set_to_none=True)
        self.step += 1
        decay = min(self.decay, self.step / (self.step + 10))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.module.parameters()):
                mean.lerp_(value, 1 - decay)
        return {name: loss.item() for name, loss in losses.items()}

    def _write(self, recent: list[dict[str, float]]) -> None:
        new = not self.log.exists()
        with self.log.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", "seconds", "learning_rate", *recent[0]])
            rate = self.learning_rate * cosine(self.step - 1, self.steps)
            means = [sum(losses[name] for losses in recent) / len(recent) for name in recent[0]]
            values = [f"{mean:.5g}" for mean in means]
            writer.writerow([self.step, f"{self.seconds:.0f}", f"{rate:.3g}", *values])

    def _logged_seconds(self, step: int) -> float:
        """Training time up to a step; rows of later steps, which will be trained again, go."""
        if not self.log.exists():
            return 0.0
        header, *rows = csv.reader(self.log.read_text().splitlines())
        rows = [row for row in rows if int(row[0]) <= step]
        with self.log.open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        return float(rows[-1][1]) if rows else 0.0


def is_inner(name: str, parameter: nn.Parameter) -> bool:
    """Whether Muon moves a parameter: a matrix or convolution between hidden features."""
    return parameter.ndim >= 2 and not any(part in name for part in OUTER)


def begin_as_identity(module: nn.Module) -> None:
    """Zero the last layer of every residual branch, so that at first each passes its input on."""
    for name, parameter in module.named_parameters():
        if name.endswith(("conv2.weight", "proj_out.weight")):
            nn.init.zeros_(parameter)


def cosine(step: int, steps: int, warm_up: int = 100, floor: float = 0.02) -> float:
    """Share of the learning rate: a linear rise, then half a cosine down to `floor`."""
    if step < warm_up:
        return (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def batch_rng(seed: int, step: int) -> torch.Generator:
    """The random generator of a step."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)
