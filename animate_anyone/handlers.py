"""What follows a click in the page: a run or a search for poses that tells how far it is."""

import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import islice
from pathlib import Path

import gradio as gr
from PIL import Image, ImageOps

from .base.tables import spoken
from .choices import (
    FILES,
    FORMATS,
    Outputs,
    Settings,
    check_settings,
    number_of,
    read_first,
    read_settings,
    resolve_size,
    told_in_page,
)
from .inputs import Inputs, PoseFinder, inputs_of, read_inputs
from .jobs import animate
from .media.images import fit_image, load_image, overlay, row
from .media.read import open_film
from .pose.film import draw_poses
from .pose.keypoints import PoseSequence
from .pose.looks import is_film
from .preview import Preview
from .run.pipeline import OVAnimateAnyonePipeline
from .run.turns import Interrupted
from .settings import AnimationSettings, Output

REFRESH = 0.5  # seconds between two looks at a run; Cancel is heard as often
# One thread per pipeline: it does one run at a time.
WORKERS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
FINDERS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


class Progress:
    """How far a run is, kept by the pipeline's callback and by the search for poses; `stopped`
    makes them stop it.
    """

    def __init__(self, steps: int):
        self.started = self.first_end = time.monotonic()
        self.look = Preview(self._show)
        self.done, self.steps = 0, steps
        self.preview: Image.Image | None = None
        self.stopped = False
        self.thread: int | None = None  # that runs it
        self.frames = 0, 0  # of a film: those that were searched, and all

    def on_frame(self, done: int, total: int) -> None:
        """See `find_poses`."""
        self.frames = done, total
        if self.stopped:
            raise Interrupted("the search for poses was interrupted")

    def __call__(self, pipe, step: int, timestep, values: dict) -> dict:
        """See `callback_on_step_end`."""
        self.first_end = self.first_end if self.done else time.monotonic()
        self.done, self.steps = step + 1, pipe.num_timesteps
        if self.stopped:  # asked for before the pipeline began
            pipe.interrupt(self.thread)
            return values
        return self.look(pipe, step, timestep, values)

    def _show(self, picture: Image.Image) -> None:
        self.preview = ImageOps.contain(picture, (400, 400))

    def outputs(self) -> Outputs:
        """Step, remaining time, and the preview when there is a new one."""
        preview, self.preview = self.preview, None
        shown = gr.Image(preview) if preview else gr.skip()
        if self.done == self.steps:
            return Outputs(bar("Decoding the frames and writing the videos"), shown)
        searched, frames = self.frames
        if searched < frames:
            return Outputs(bar(f"Finding poses: frame {searched} of {frames}", searched / frames))
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
        inputs = None
        if job.video is None:
            inputs = read_inputs(pipe, job)
            job = shortened(job, len(inputs.poses))
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
        paths, inputs = run.result()
        job = shortened(job, len(inputs.poses))
        files = [str(path) for path in paths]  # Gradio keeps a copy, as CLEANING lets it
        found = {"width": size[0], "height": size[1], "num_frames": job.num_frames}
        names = {name: chosen[name].name for name in FILES}
        used = settings._asdict() | names | found | {"fps": str(inputs.fps)}
        status = f"Finished in {time.monotonic() - progress.started:.1f} s."
        still = job.num_frames == 1
        result, comparison = gr.Video(files[0], visible=not still), gr.Video(files[1])
        picture = gr.Image(files[-1] if still else None, visible=still)
        yield Outputs(status, None, result, comparison, gr.File(files), used, picture)


def _work(pipe, job: AnimationSettings, progress: Progress, inputs: Inputs | None):
    """A run in the worker's thread; returns its files and inputs. What cannot be written is kept in
    the working folder: that of the job is gone soon.
    """
    progress.thread = threading.get_ident()
    if inputs is None:
        poses = finder(pipe).make(job, progress.on_frame)
        progress.frames = 0, 0
        inputs = inputs_of(pipe, job, poses)
        job = replace(job, num_frames=len(inputs.poses))
    return animate(pipe, job, progress, inputs=inputs, rescue_dir=Path.cwd()), inputs


def shortened(job: AnimationSettings, num_frames: int) -> AnimationSettings:
    """The job with no more frames than there are; the page tells if that changes it."""
    if job.num_frames is not None and num_frames < job.num_frames:
        gr.Warning(f"The video has only {num_frames} frames, all are used.")
    return replace(job, num_frames=min(num_frames, job.num_frames or num_frames))


def finder(pipe) -> PoseFinder:
    """What finds poses for a pipeline, and keeps them for the next run."""
    return FINDERS.setdefault(pipe, PoseFinder(pipe.model_dir))


def find(pipe, **chosen) -> Iterator[tuple]:
    """Find the poses of a film and show them, fitted, over the film and over the reference: a
    picture, and a line of text.
    """
    with told_in_page(*map(chosen.get, FILES)):
        settings = read_settings(**chosen)
        size, num_frames = check_settings(pipe, settings)
        job = plan(settings, size, num_frames, Path())
        if job.video is None:
            raise ValueError("The video shows skeletons already: there is nothing to find")
        progress = Progress(1)
        with ThreadPoolExecutor(1) as worker:
            search = worker.submit(lambda: _found(pipe, job, progress))
            try:
                while not search.done():
                    yield gr.skip(), progress.outputs().status
                    wait([search], REFRESH)
            except GeneratorExit:
                progress.stopped = True
                raise
            sequence, fitted = search.result()
        label = "The poses in the film, then fitted to the character"
        shown = gr.Image(overlays(job, sequence, fitted), label=label, visible=True)
        yield shown, told(sequence)


def _found(pipe, job: AnimationSettings, progress: Progress):
    poses = finder(pipe)
    return poses.sequence(job, progress.on_frame), poses.make(job)


def told(sequence: PoseSequence) -> str:
    """What was found, in a line."""
    spans = spoken(sequence.unseen)
    lost = f"; nobody is seen in frames {spans}" if spans else ""
    return f"Poses found in {len(sequence)} frames{lost}."


def overlays(job: AnimationSettings, sequence: PoseSequence, fitted: PoseSequence) -> Image.Image:
    """First, middle and last pose over the film, then fitted over the reference, in a row."""
    chosen = sorted({0, len(sequence) // 2, len(sequence) - 1})
    reference, panels = load_image(job.reference), []
    with open_film(job.video, job.excerpt) as film:
        kept = {
            i: frame for i, frame in enumerate(islice(film.frames, chosen[-1] + 1)) if i in chosen
        }
    pictures = [(kept[i], sequence) for i in chosen] + [(reference, fitted)] * len(chosen)
    for index, (picture, poses) in zip(2 * chosen, pictures):
        one = replace(poses, poses=[poses.poses[index]])
        panels.append(
            ImageOps.pad(overlay(picture, next(draw_poses(one))), (240, 240), color="white")
        )
    return row(panels)


def plan(settings: Settings, size: tuple[int, int], num_frames: int, folder: Path):
    """The job of a click: mp4 of the result, mp4 of all three side by side, GIF of the result, and
    what else is wished.
    """
    names = [path.stem[:30] for path in settings[:2]]
    stem = folder / "-".join([*names, str(settings.seed)])
    more = [FORMATS[name] for name in settings.formats or ()]
    more += [".png"] if num_frames == 1 else []
    return AnimationSettings(
        reference=str(settings.reference_image),
        **driver(settings),
        outputs=(
            Output(f"{stem}.mp4", only_result=True),
            Output(f"{stem}-side-by-side.mp4"),
            *(Output(f"{stem}{ending}", only_result=True) for ending in (".gif", *more)),
        ),
        width=size[0],
        height=size[1],
        num_frames=num_frames,
        start=settings.start,
        fps=settings.fps,
        context_schedule=settings.schedule,
        fit=settings.fit,
        num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale,
        seed=settings.seed,
    )


def driver(settings: Settings) -> dict:
    """Where the poses come from: a film, which is told from a pose video by its look."""
    path = str(settings.pose_video)
    if not is_film(path):
        return {"pose": path}
    automatic = settings.alignment == "automatic"
    return {"video": path, "alignment": None if automatic else settings.alignment}


def show_inputs(pipe, reference_image, pose_video, shape, longer_side, fit):
    """Reference and first pose as the model will see them, in one framed picture."""
    if not (reference_image and pose_video):
        return gr.Image(visible=False)
    with told_in_page(reference_image, pose_video):
        reference, pose = read_first(reference_image, pose_video)
        side = number_of("Longer side", longer_side)
        width, height = size = resolve_size(pipe, shape, side, reference, pose)
        gap = max(size) // 30
        framed = Image.new("RGB", (2 * width + 3 * gap, height + 2 * gap), "silver")
        framed.paste(fit_image(reference, *size, fit), (gap, gap))
        framed.paste(fit_image(pose.frames[0], *size, fit, "black"), (width + 2 * gap, gap))
    kind = "a film: Find poses shows what is made of it" if is_film(pose_video) else "a pose video"
    label = f"What the model sees, {width} × {height} pixels each. The video is {kind}."
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
