"""One video: files in, files out. Command line, page and notebook make their videos here."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from .base.checks import check_context
from .base.files import check_output, rescue
from .inputs import Inputs, check_files, read_inputs
from .latents import read_latents, save_latents
from .media.images import side_by_side
from .media.sound import Sound
from .media.write import WRITERS
from .pose.film import draw_poses
from .pose.keypoints import PoseSequence
from .pose.keypoints_file import write_keypoints
from .record import make_record, note_of, write_record
from .run.pipeline import OVAnimateAnyonePipeline
from .run.presets import Sampling, resolve_sampling
from .run.size import resolve_size
from .run.turns import Interrupted
from .run.windows import count_windows, plan_windows
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
    if inputs is None:
        check_run(pipe, settings)
        inputs = read_inputs(pipe, settings)
    latents = make_latents(pipe, inputs, settings, callback_on_step_end)
    return write_outputs(pipe, inputs, latents, settings, rescue_dir)


def check_outputs(settings: AnimationSettings) -> None:
    """Raises ValueError or OSError where a file cannot be written."""
    for output in settings.outputs:
        check_output(output.path, list(WRITERS))
    if settings.save_latents is not None:
        check_output(settings.save_latents, [".npy"])
    if settings.save_settings is not None:
        check_output(settings.save_settings, [".json"])


def check_run(pipe: OVAnimateAnyonePipeline, settings: AnimationSettings) -> None:
    """Raises what a run with these settings would raise, before a film is searched for poses."""
    if settings.from_latents is not None:
        read_latents(settings.from_latents, pipe.config.unet.in_channels)
    shape = check_files(settings)
    resolve_size(
        pipe.config,
        pipe.generation_config,
        shape or (settings.width or 8, settings.height or 8),
        settings.width,
        settings.height,
    )
    _sampling(pipe, settings)
    longest = pipe.config.unet.motion_max_frames
    check_context(settings.context_frames, settings.context_overlap, longest)
    context = settings.context_frames, settings.context_overlap
    plan_windows(settings.context_schedule, 1, *context, None)


def _sampling(pipe: OVAnimateAnyonePipeline, settings: AnimationSettings) -> Sampling:
    return resolve_sampling(
        settings.preset,
        pipe.generation_config,
        pipe.scheduler,
        num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale,
    )


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
        kept = _kept_latents(pipe, inputs, settings.from_latents)
        return kept[:, :, : settings.num_frames]
    assert inputs.reference is not None
    tell_cost(pipe, inputs, settings)
    return pipe(
        inputs.reference,
        inputs.poses,
        width=inputs.size[0],
        height=inputs.size[1],
        num_frames=settings.num_frames,
        num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale,
        preset=settings.preset,
        context_schedule=settings.context_schedule,
        context_frames=settings.context_frames,
        context_overlap=settings.context_overlap,
        generator=torch.Generator().manual_seed(settings.seed),
        output_type="latent",
        callback_on_step_end=callback_on_step_end,
    ).frames


def _kept_latents(pipe, inputs: Inputs, path: str) -> torch.Tensor:
    latents = read_latents(path, pipe.config.unet.in_channels)
    if inputs.reference is None:
        return latents
    factor = pipe.config.vae_scale_factor
    shape = inputs.size[1] // factor, inputs.size[0] // factor
    frames, most = latents.shape[2], len(inputs.poses)
    if tuple(latents.shape[3:]) != shape or frames > most:
        raise ValueError(
            f"{path} must hold latents of {shape[0]} rows, {shape[1]} columns and at most {most}"
            f" frames, to be shown beside the inputs, got {tuple(latents.shape[3:])} and {frames}"
        )
    return latents


def tell_cost(pipe: OVAnimateAnyonePipeline, inputs: Inputs, settings: AnimationSettings) -> None:
    """Say how often the large network will run: that is most of the time."""
    steps = _sampling(pipe, settings).num_inference_steps
    frames = settings.num_frames or len(inputs.poses)
    context = settings.context_frames, settings.context_overlap
    windows = count_windows(settings.context_schedule, frames, *context, steps)
    if windows > steps:
        text = "%d frames in windows of %d: %d windows in %d steps"
        logger.info(text, frames, settings.context_frames, windows, steps)


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
    note = _keep_record(pipe, settings, problems)
    frames: Iterable[Image.Image] | None = None
    for output in settings.outputs:
        with _noting(output.path, problems):
            if frames is None:
                frames = pipe.decode_frames(latents)
                frames = frames if len(settings.outputs) == 1 else list(frames)
            write_output(output, inputs, frames, note)
    if problems:
        beside = rescue_dir or Path(settings.outputs[0].path).parent
        kept = kept or rescue(partial(save_latents, latents), beside, "latents-{}.npy")
        hint = f"run it again with --from-latents {kept}, which takes no denoising"
        raise Unsaved(f"{'; '.join(problems)}; {hint if kept else 'nor could its latents'}")
    return [Path(output.path) for output in settings.outputs]


def write_poses(
    sequence: PoseSequence, video: Path | None, keypoints: Path | None, sound: Sound | None = None
) -> list[Path]:
    """Write poses as a pose video, as a file of keypoints, or both.

    Raises:
        Unsaved: a file could not be written; the message says where the poses are kept.
    """
    problems: list[str] = []
    done: list[Path] = []
    if keypoints is not None:
        with _noting(str(keypoints), problems):
            done.append(write_keypoints(sequence, keypoints))
    kept = done[0] if done else None
    if video is not None:
        with _noting(str(video), problems):
            write = WRITERS[Path(video).suffix.lower()]
            done.append(write(draw_poses(sequence), video, sequence.fps, sound=sound))
    if problems:
        beside = Path(video or keypoints or ".").parent
        kept = kept or rescue(partial(write_keypoints, sequence), beside, "poses-{}.json")
        hint = f"run `pose --pose {kept}`, which looks at no film"
        raise Unsaved(f"{'; '.join(problems)}; {hint if kept else 'nor could its keypoints'}")
    return done


def write_output(
    output: Output, inputs: Inputs, frames: Iterable[Image.Image], note: str | None = None
) -> Path:
    """Write one output of frames that are decoded, or are still being."""
    path = Path(output.path)
    shown = frames if output.only_result else side_by_side(inputs.reference, inputs.poses, frames)
    write = WRITERS[path.suffix.lower()]
    return write(shown, path, inputs.fps, sound=inputs.sound, note=note)


def _keep_record(pipe, settings: AnimationSettings, problems: list[str]) -> str | None:
    """Write what the result is made from if that is wished; returns the note for the result."""
    try:
        record = make_record(pipe, settings)
    except (OSError, ValueError, AttributeError):  # a note is worth less than the video
        logger.warning("what the result is made from could not be noted", exc_info=True)
        return None
    if settings.save_settings is not None:
        with _noting(settings.save_settings, problems):
            write_record(record, settings.save_settings)
    return note_of(record)


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
