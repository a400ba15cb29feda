"""What happens after each step: the progress bar moves, and the caller's callback is asked."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from tqdm.auto import tqdm

from ..base.checks import check_finite, check_same_form, check_type


@contextmanager
def watching(pipe, callback: Callable | None) -> Iterator[Callable]:
    """What `denoise` calls after each step of a pipeline's run: it moves the bar, and hands the
    latents to the callback and back.

    Raises:
        TypeError, ValueError, FloatingPointError: the callback's answer holds no such latents.
    """
    with tqdm(total=pipe.num_timesteps, desc="Denoising", unit="step") as bar:

        def on_step_end(step, timestep, latents, clean):
            bar.update()
            if callback is None:
                return latents
            values = {"latents": latents, "pred_original_sample": clean()}
            answer = callback(pipe, step, timestep, values)
            check_type("answer of callback_on_step_end", answer, Mapping | None)
            changed = (answer or {}).get("latents", latents)
            check_same_form("latents of callback_on_step_end", changed, latents)
            check_finite("latents of callback_on_step_end", changed.numpy())
            return changed

        yield on_step_end
