"""What follows a click in the page: settings are checked, a run tells how far it is."""

import math
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from PIL import Image, ImageOps

from . import guard
from .base.checks import check_choice, check_count, check_guidance, check_multiple
from .inputs import read_inputs
from .jobs import animate
from .media.images import fit_image, load_image
from .media.read import Video, read_video
from .run.pipeline import OVAnimateAnyonePipeline
from .run.turns import Interrupted
from .settings import AnimationSettings, Output

SHAPES = {"square": (1, 1), "portrait": (3, 4), "landscape": (4, 3)}
SIDES = (64, 128, 192, 256, 384, 448, 512, 640, 768, 1024)  # pixels: the longer one
MOST_FRAMES = 240  # all of them are held in memory
REFRESH = 0.5  # seconds between two looks at a run; Cancel is heard as often
PREVIEW_SHARE = 0.1  # of the time, at most, goes into previews
# One thread per pipeline: it does one run at a time.
WORKERS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


class Settings(NamedTuple):
    """What the page sends; the first two are paths that `guard.Files` let in, or None."""

    reference_image: Any
    pose_video: Any
    shape: Any
    longer_side: Any
    fit: Any
    length: Any
    unit: Any
    num_inference_steps: Any
    guidance_scale: Any
    seed: Any


FILES = Settings._fields[:2]
NUMBERS = {
    "longer_side": "Longer side",
    "length": "Length",
    "num_inference_steps": "Steps",
    "guidance_scale": "Guidance",
    "seed": "Seed",
}


class Outputs(NamedTuple):
    """What the page shows; values left out stay as they are."""

    status: Any = gr.skip()
    preview: Any = gr.skip()
    result: Any = gr.skip()
    comparison: Any = gr.skip()
    files: Any = gr.skip()
    settings: Any = gr.skip()


def read_settings(**chosen) -> Settings:
    """Settings whose numbers are numbers, `"64"` and `2.0` among them; raises ValueError that says
    what is empty or none.
    """
    numbers = {name: _number(label, chosen[name]) for name, label in NUMBERS.items()}
    return Settings(**chosen | numbers)


def _number(label: str, value) -> int | float:
    if value is None or value == "":
        raise ValueError(f"{label} is empty, expected a number")
    try:
        number = value if isinstance(value, int) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise ValueError(f"{label} must be a number, got {value!r}")
    return int(number) if number == int(number) else number


def check_settings(pipe, settings: Settings) -> tuple[tuple[int, int], int]:
    """(width, height) and number of frames of a run that is possible; raises ValueError, TypeError
    or OSError where a setting is out of range or a file is unreadable.
    """
    reference, pose = read_first(settings.reference_image, settings.pose_video)
    size = resolve_size(pipe, settings.shape, settings.longer_side, reference, pose)
    check_choice("fit", settings.fit, ("crop", "pad"))
    check_choice("unit", settings.unit, ("frames", "seconds"))
    seconds = settings.unit == "seconds" and settings.length <= MOST_FRAMES
    num_frames = round(settings.length * pose.fps) if seconds else settings.length
    check_count("length in frames", num_frames)
    if num_frames > MOST_FRAMES:
        raise ValueError(f"length must be at most {MOST_FRAMES} frames, got {num_frames}")
    check_count("num_inference_steps", settings.num_inference_steps)
    check_guidance(settings.guidance_scale)
    if not (isinstance(settings.seed, int) and 0 <= settings.seed < 2**53):  # exact in browsers
        raise ValueError(f"seed must be an integer from 0 to 2**53 - 1, got {settings.seed}")
    return size, num_frames


def read_first(reference: Path | None, pose: Path | None) -> tuple[Image.Image, Video]:
    """Reference image and first frame of the pose video; raises ValueError or OSError."""
    for name, path in (("reference image", reference), ("pose video", pose)):
        if path is None:
            raise ValueError(f"The {name} is missing: upload one or click on an example")
    return load_image(reference), read_video(pose, 1)


def resolve_size(pipe, shape: str, longer_side: int, reference, pose: Video) -> tuple[int, int]:
    """(width, height) of a shape, multiples of the VAE's factor; raises ValueError or TypeError."""
    own = pipe.generation_config.width, pipe.generation_config.height
    shapes = SHAPES | {"pose video": pose.frames[0].size, "reference image": reference.size}
    shapes["recommended"] = own if all(own) else pose.frames[0].size
    factor = pipe.config.vae_scale_factor
    check_choice("shape", shape, list(shapes))
    check_multiple("longer_side", longer_side, factor)
    if longer_side > SIDES[-1]:
        raise ValueError(f"longer_side must be at most {SIDES[-1]}, got {longer_side}")
    scale = longer_side / max(shapes[shape]) / factor
    width, height = (max(1, round(side * scale)) * factor for side in shapes[shape])
    return width, height


@contextmanager
def told_in_page(*paths: Path | None):
    """Show what is wrong with the input as a message instead of a stack trace."""
    try:
        yield
    except (ValueError, TypeError, OSError, FloatingPointError, MemoryError, Interrupted) as error:
        message = guard.plain(error, *filter(None, paths))  # Gradio's folder says nothing
        raise gr.Error(message, print_exception=False) from error


class Progress:
    """How far a run is, kept by the pipeline's callback; `stopped` makes the callback stop it."""

    def __init__(self, steps: int):
        self.started = self.first_end = self.next_preview = time.monotonic()
        self.done, self.steps = 0, steps
        self.preview: Image.Image | None = None
        self.stopped = False
        self.thread: int | None = None  # that runs it

    def __call__(self, pipe, step: int, timestep, values: dict) -> dict:
        """See `callback_on_step_end`; decodes the middle frame as often as PREVIEW_SHARE allows."""
        now = time.monotonic()
        self.first_end = self.first_end if self.done else now
        self.done, self.steps = step + 1, pipe.num_timesteps
        if self.stopped:  # asked for before the pipeline began
            pipe.interrupt(self.thread)
        elif now >= self.next_preview and self.done < self.steps:
            middle = values["latents"].shape[2] // 2
            frame = pipe.decode(values["latents"][:, :, middle : middle + 1])[0][0]
            self.preview = ImageOps.contain(frame, (400, 400))
            self.next_preview = now + (time.monotonic() - now) / PREVIEW_SHARE
        return values

    def outputs(self) -> Outputs:
        """Step, remaining time, and the preview when there is a new one."""
        preview, self.preview = self.preview, None
        shown = gr.Image(preview) if preview else gr.skip()
        if self.done == self.steps:
            return Outputs(bar("Decoding the frames and writing the videos"), shown)
        text = f"{'Step' if self.done else 'Preparing, then step'} {self.done + 1} of {self.steps}"
        if self.done > 1:  # the first step compiles as well: it says nothing about the others
            left = (time.monotonic() - self.first_end) / (self.done - 1) * (self.steps - self.done)
            text += f", about {int(left) // 60}:{int(left) % 60:02d} min left"
        return Outputs(bar(text, self.done / self.steps), shown)


def bar(text: str, share: float = 0) -> str:
    """A line of text above a progress bar."""
    colours = f"var(--color-accent) {share:.0%}, var(--border-color-primary) 0"
    style = f"height: 8px; border-radius: 4px; background: linear-gradient(to right, {colours})"
    return f'{text}<div style="{style}"></div>'


def generate(pipe: OVAnimateAnyonePipeline, **chosen) -> Iterator[Outputs]:
    """Animate by the `Settings` chosen, telling how far it is. When the page cancels it or is
    closed, Gradio closes this generator, and the pipeline stops.
    """
    with told_in_page(*map(chosen.get, FILES)), tempfile.TemporaryDirectory() as folder:
        settings = read_settings(**chosen)
        size, num_frames = check_settings(pipe, settings)
        job = plan(settings, size, num_frames, Path(folder))
        inputs = read_inputs(pipe, job)
        if len(inputs.poses) < num_frames:
            gr.Warning(f"The pose video has only {len(inputs.poses)} frames, all are used.")
            job = replace(job, num_frames=len(inputs.poses))
        progress = Progress(settings.num_inference_steps)
        worker = WORKERS.setdefault(pipe, ThreadPoolExecutor(1))
        run = worker.submit(_work, pipe, job, progress, inputs)
        try:
            while not run.done():  # waiting without a pause would be deaf to Cancel
                yield progress.outputs()
                wait([run], REFRESH)
        except GeneratorExit:
            progress.stopped = True
            if not run.cancel() and progress.thread is not None:
                pipe.interrupt(progress.thread)  # and not what another cell runs meanwhile
            raise
        files = [str(path) for path in run.result()]  # Gradio keeps a copy, as CLEANING lets it
        found = {"width": size[0], "height": size[1], "num_frames": job.num_frames}
        names = {name: chosen[name].name for name in FILES}
        used = settings._asdict() | names | found | {"fps": str(inputs.fps)}
        status = f"Finished in {time.monotonic() - progress.started:.1f} s."
        result, comparison = map(gr.Video, files[:2])
        yield Outputs(status, None, result, comparison, gr.File(files), used)


def _work(pipe, job: AnimationSettings, progress: Progress, inputs) -> list[Path]:
    """A run in the worker's thread. What cannot be written is kept in the working folder: that of
    the job is gone soon.
    """
    progress.thread = threading.get_ident()
    return animate(pipe, job, progress, inputs=inputs, rescue_dir=Path.cwd())


def plan(settings: Settings, size: tuple[int, int], num_frames: int, folder: Path):
    """The job of a click: mp4 of the result, mp4 of all three side by side, GIF of the result."""
    names = [path.stem[:30] for path in settings[:2]]
    stem = folder / "-".join([*names, str(settings.seed)])
    return AnimationSettings(
        reference=str(settings.reference_image),
        pose=str(settings.pose_video),
        outputs=(
            Output(f"{stem}.mp4", only_result=True),
            Output(f"{stem}-side-by-side.mp4"),
            Output(f"{stem}.gif", only_result=True),
        ),
        width=size[0],
        height=size[1],
        num_frames=num_frames,
        fit=settings.fit,
        num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale,
        seed=settings.seed,
    )


def show_inputs(pipe, reference_image, pose_video, shape, longer_side, fit):
    """Reference and first pose as the model will see them, in one framed picture."""
    if not (reference_image and pose_video):
        return gr.Image(visible=False)
    with told_in_page(reference_image, pose_video):
        reference, pose = read_first(reference_image, pose_video)
        side = _number("Longer side", longer_side)
        width, height = size = resolve_size(pipe, shape, side, reference, pose)
        gap = max(size) // 30
        framed = Image.new("RGB", (2 * width + 3 * gap, height + 2 * gap), "silver")
        framed.paste(fit_image(reference, *size, fit), (gap, gap))
        framed.paste(fit_image(pose.frames[0], *size, fit, "black"), (width + 2 * gap, gap))
    label = f"What the model sees, {width} × {height} pixels each"
    return gr.Image(ImageOps.contain(framed, (640, 150)), label=label, visible=True)


def begin(pipe, **chosen) -> list:
    """Check the settings before the run waits for its turn."""
    with told_in_page(*map(chosen.get, FILES)):
        check_settings(pipe, read_settings(**chosen))
    return [*switch(running=True), "Waiting for its turn"]


def switch(running: bool) -> list:
    """Generate, Cancel, preview and results, as they are during a run and outside it."""
    buttons = [gr.Button(interactive=not running), gr.Button(interactive=running)]
    return [*buttons, gr.Image(None, visible=running), gr.Tabs(visible=not running)]
