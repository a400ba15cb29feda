"""One video: files in, files out. Command line, page and notebook make their videos here."""

import logging
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from .base.checks import check_finite
from .base.files import check_output, replacing
from .inputs import Inputs, read_inputs
from .media.images import side_by_side
from .media.write import WRITERS
from .run.pipeline import OVAnimateAnyonePipeline
from .run.turns import Interrupted
from .settings import AnimationSettings, Output

logger = logging.getLogger(__name__)


def animate(
    pipe: OVAnimateAnyonePipeline,
    settings: AnimationSettings,
    callback_on_step_end: Callable | None = None,
    *,
    inputs: Inputs | None = None,
    rescue_dir: Path | None = None,
) -> list[Path]:
    """Make one video: check, read, denoise, decode, write.

    Args:
        pipe: an open pipeline.
        settings: what goes in and comes out.
        callback_on_step_end: see `OVAnimateAnyonePipeline.__call__`.
        inputs: those of `read_inputs`, where they are there already.
        rescue_dir: where latents are kept if the video cannot be written; None: beside it.

    Returns:
        The files of `settings.outputs`.

    Raises:
        ValueError, TypeError, OSError: something is wrong with the settings or their files, told
            before a network runs.
        Unsaved: the video could not be written.
        Interrupted, FloatingPointError: see `OVAnimateAnyonePipeline.__call__`.
    """
    check_outputs(settings)
    inputs = inputs or read_inputs(pipe, settings)
    latents = make_latents(pipe, inputs, settings, callback_on_step_end)
    return write_outputs(pipe, inputs, latents, settings, rescue_dir)


def check_outputs(settings: AnimationSettings) -> None:
    """Raises ValueError or OSError where a file cannot be written."""
    for output in settings.outputs:
        check_output(output.path, list(WRITERS))
    if settings.save_latents is not None:
        check_output(settings.save_latents, [".npy"])


def make_latents(
    pipe: OVAnimateAnyonePipeline,
    inputs: Inputs,
    settings: AnimationSettings,
    callback_on_step_end: Callable | None = None,
) -> torch.Tensor:
    """Denoised latents (1, c, f, h, w): computed, or read where the settings name a file of
    them.
    """
    if settings.from_latents is not None:
        return _read_latents(pipe, inputs, settings.from_latents)
    return pipe(
        inputs.reference,
        inputs.poses,
        width=inputs.size[0],
        height=inputs.size[1],
        num_frames=settings.num_frames,
        num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale,
        preset=settings.preset,
        generator=torch.Generator().manual_seed(settings.seed),
        output_type="latent",
        callback_on_step_end=callback_on_step_end,
    ).frames


def _read_latents(pipe, inputs: Inputs, path: str) -> torch.Tensor:
    try:
        latents = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is not a readable .npy file of latents ({error})") from error
    factor = pipe.config.vae_scale_factor
    width, height = inputs.size
    frames = latents.shape[2] if latents.ndim == 5 else 1
    expected = 1, pipe.config.unet.in_channels, frames, height // factor, width // factor
    if (
        latents.dtype != np.float32
        or latents.shape != expected
        or not 1 <= frames <= len(inputs.poses)
    ):
        raise ValueError(
            f"{path} must hold float32 latents of shape {expected} and at most {len(inputs.poses)}"
            f" frames, got {latents.dtype} of {latents.shape}"
        )
    check_finite(path, latents)
    return torch.from_numpy(latents)


class Unsaved(OSError):
    """A finished video could not be written; the message says where its latents are kept."""


def write_outputs(
    pipe: OVAnimateAnyonePipeline,
    inputs: Inputs,
    latents: torch.Tensor,
    settings: AnimationSettings,
    rescue_dir: Path | None = None,
) -> list[Path]:
    """Decode and write. What fails does not keep the rest from being written.

    Raises:
        Unsaved: a file could not be written.
        Interrupted: see `OVAnimateAnyonePipeline.interrupt`.
    """
    problems: list[str] = []
    kept: str | Path | None = settings.from_latents
    if settings.save_latents is not None:
        with _noting(settings.save_latents, problems):
            kept = save_latents(latents, settings.save_latents)
    frames: Iterable[Image.Image] | None = None
    for output in settings.outputs:
        with _noting(output.path, problems):
            if frames is None:
                frames = pipe.decode_frames(latents)
                frames = frames if len(settings.outputs) == 1 else list(frames)
            write_output(output, inputs, frames)
    if problems:
        kept = kept or _keep(latents, rescue_dir or Path(settings.outputs[0].path).parent)
        hint = f"run it again with --from-latents {kept}, which takes no denoising"
        raise Unsaved(f"{'; '.join(problems)}; {hint if kept else 'nor could its latents'}")
    return [Path(output.path) for output in settings.outputs]


def write_output(output: Output, inputs: Inputs, frames: Iterable[Image.Image]) -> Path:
    """Write one file of frames that are decoded, or are still being."""
    path = Path(output.path)
    shown = frames if output.only_result else side_by_side(inputs.reference, inputs.poses, frames)
    return WRITERS[path.suffix.lower()](shown, path, inputs.fps)


def save_latents(latents: torch.Tensor, path) -> Path:
    """Write latents as .npy."""
    with replacing(path) as partial, partial.open("wb") as file:
        np.save(file, latents.numpy())
    return Path(path)


@contextmanager
def _noting(path: str, problems: list[str]) -> Iterator[None]:
    """Note what goes wrong with a file instead of ending there: hours of work wait to be kept."""
    try:
        yield
    except Interrupted:
        raise
    except Exception as error:
        logger.debug("%s", path, exc_info=True)
        problems.append(
            f"{path} could not be written ({getattr(error, 'strerror', None) or error})"
        )


def _keep(latents: torch.Tensor, beside: Path) -> Path | None:
    """Latents in a new file: beside the output, in the working folder or among temporary files,
    where there is room.
    """
    for folder in (beside, Path.cwd(), Path(tempfile.gettempdir())):
        path = folder.absolute() / f"latents-{secrets.token_hex(4)}.npy"
        try:
            return save_latents(latents, path)
        except OSError:
            logger.debug("%s cannot be written", path, exc_info=True)
    return None
