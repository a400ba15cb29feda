"""A page in the browser: reference image, pose video and settings in, the animated character out.
From top to bottom: the settings, the run that follows a click, the page."""

import random
import time
import weakref
from collections import namedtuple
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from mimetypes import guess_type
from pathlib import Path
from tempfile import TemporaryDirectory

import gradio as gr
import torch
from PIL import Image, ImageOps
from PIL.Image import Resampling

from .checks import (
    check_choice,
    check_count,
    check_frames,
    check_guidance,
    check_multiple,
    check_type,
)
from .pipeline import Interrupted, OVAnimateAnyonePipeline
from .video import Video, fit_image, load_image, read_video, side_by_side, write_gif, write_video

SHAPES = {"square": (1, 1), "portrait": (3, 4), "landscape": (4, 3)}
SIDES = (64, 128, 192, 256, 384, 448, 512, 640, 768, 1024)  # pixels: the longer one
MOST_FRAMES = 240  # all of them are held in memory
REFRESH = 0.5  # seconds between two looks at a run; Cancel is heard as often
PREVIEW_SHARE = 0.1  # of the time, at most, goes into previews
CLEANING = (3600, 86400)  # every hour, Gradio removes files older than a day
WORKERS = weakref.WeakKeyDictionary()  # one thread per pipeline: it does one run at a time

# What the page sends; files are {"path": …} in Gradio's own cache, or None.
Settings = namedtuple(
    "Settings",
    "reference_image pose_video shape longer_side fit"
    " length unit num_inference_steps guidance_scale seed",
)
# What the page shows; values left out stay as they are.
Outputs = namedtuple(
    "Outputs", "status preview result comparison files settings", defaults=[gr.skip()] * 6
)


def check_settings(pipe, settings: Settings) -> tuple[Image.Image, tuple[int, int], int]:
    """Reference image, (width, height) and number of frames of a run that is possible; raises
    ValueError, TypeError or OSError where a setting is out of range or a file is unreadable."""
    reference, pose = read_inputs(settings.reference_image, settings.pose_video)
    size = resolve_size(pipe, settings.shape, settings.longer_side, reference, pose)
    check_choice("fit", settings.fit, ("crop", "pad"))
    check_type("length", settings.length, int | float)
    lengths = {"frames": settings.length, "seconds": round(settings.length * pose.fps)}
    check_choice("unit", settings.unit, list(lengths))
    num_frames = lengths[settings.unit]
    check_count("length in frames", num_frames)
    if num_frames > MOST_FRAMES:
        raise ValueError(f"length must be at most {MOST_FRAMES} frames, got {num_frames}")
    check_frames(num_frames, num_frames)
    check_count("num_inference_steps", settings.num_inference_steps)
    check_guidance(settings.guidance_scale)
    if not (isinstance(settings.seed, int) and 0 <= settings.seed < 2**53):  # exact in browsers
        raise ValueError(f"seed must be an integer from 0 to 2**53 - 1, got {settings.seed}")
    return reference, size, num_frames


def read_inputs(reference: dict | None, pose: dict | None) -> tuple[Image.Image, Video]:
    """Reference image and first frame of the pose video; raises ValueError or OSError."""
    for name, file in (("reference image", reference), ("pose video", pose)):
        if not (file and file["path"]):
            raise ValueError(f"The {name} is missing: upload one or click on an example")
    return load_image(reference["path"]), read_video(pose["path"], 1)


def resolve_size(pipe, shape: str, longer_side: int, reference, pose: Video) -> tuple[int, int]:
    """(width, height) of a shape, multiples of the VAE's factor; raises ValueError or TypeError."""
    own = pipe.generation_config.width, pipe.generation_config.height
    shapes = SHAPES | {"pose video": pose.frames[0].size, "reference image": reference.size}
    shapes["recommended"] = own if all(own) else pose.frames[0].size
    check_choice("shape", shape, list(shapes))
    check_multiple("longer_side", longer_side, pipe.vae_scale_factor)
    if longer_side > SIDES[-1]:
        raise ValueError(f"longer_side must be at most {SIDES[-1]}, got {longer_side}")
    scale = longer_side / max(shapes[shape]) / pipe.vae_scale_factor
    width, height = (max(1, round(side * scale)) * pipe.vae_scale_factor for side in shapes[shape])
    return width, height


def fit_picture(image: Image.Image, size: tuple[int, int], fit: str, bars: str) -> Image.Image:
    """A picture of exactly this size, never stretched: cropped, or with bars of a colour."""
    if fit == "crop":
        return fit_image(image, *size)
    return ImageOps.pad(image, size, Resampling.LANCZOS, color=bars)


@contextmanager
def told_in_page(*files: dict | None):
    """Show what is wrong with the input as a message instead of a stack trace."""
    try:
        yield
    except (ValueError, TypeError, OSError, Interrupted) as error:
        message = str(error)
        for path in (file["path"] for file in files if file and file["path"]):
            message = message.replace(path, Path(path).name)  # Gradio's folder says nothing
        raise gr.Error(message, print_exception=False) from error


class Progress:
    """How far a run is, kept by the pipeline's callback; `stopped` makes the callback stop it."""

    def __init__(self, steps: int):
        self.started = self.first_end = self.next_preview = time.monotonic()
        self.done, self.steps = 0, steps
        self.preview, self.stopped = None, False

    def __call__(self, pipe, step: int, timestep, values: dict) -> dict:
        """See `callback_on_step_end`; decodes the middle frame as often as PREVIEW_SHARE allows."""
        now = time.monotonic()
        self.first_end = self.first_end if self.done else now
        self.done, self.steps = step + 1, pipe.num_timesteps
        if self.stopped:  # asked for before the pipeline began, which clears its own flag
            pipe.interrupt()
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
            return Outputs(bar("Decoding the frames"), shown)
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
    closed, Gradio closes this generator, and the pipeline stops."""
    settings = Settings(**chosen)
    with told_in_page(settings.reference_image, settings.pose_video):
        reference, size, num_frames = check_settings(pipe, settings)
        fitted = partial(fit_picture, size=size, fit=settings.fit, bars="black")
        pose = read_video(settings.pose_video["path"], num_frames, fitted)
        if len(pose.frames) < num_frames:
            gr.Warning(f"The pose video has only {len(pose.frames)} frames, all are used.")
        reference = fit_picture(reference, size, settings.fit, "white")
        progress = Progress(settings.num_inference_steps)
        run = WORKERS.setdefault(pipe, ThreadPoolExecutor(1)).submit(
            pipe,
            reference,
            pose.frames,
            width=size[0],
            height=size[1],
            num_inference_steps=settings.num_inference_steps,
            guidance_scale=settings.guidance_scale,
            generator=torch.Generator().manual_seed(settings.seed),
            callback_on_step_end=progress,
        )
        try:
            while not run.done():  # waiting without a pause would be deaf to Cancel
                yield progress.outputs()
                wait([run], REFRESH)
        except GeneratorExit:
            progress.stopped = True
            if not run.cancel() and run.running():
                pipe.interrupt()
            raise
        frames = run.result().frames[0]
        yield Outputs(bar("Writing the videos"))
        with TemporaryDirectory() as folder:  # Gradio keeps a copy, as long as CLEANING lets it
            files = write_files(Path(folder), settings, pose, reference, frames)
            names = {name: Path(chosen[name]["path"]).name for name in Settings._fields[:2]}
            found = {"width": size[0], "height": size[1], "num_frames": len(frames)}
            used = {**chosen, **names, **found, "fps": str(pose.fps)}
            status = f"Finished in {time.monotonic() - progress.started:.1f} s."
            yield Outputs(status, None, *map(gr.Video, files[:2]), gr.File(files), used)


def write_files(folder: Path, settings: Settings, pose: Video, reference, frames) -> list[str]:
    """mp4 of the result, mp4 of reference, pose and result side by side, GIF of the result."""
    names = [Path(file["path"]).stem[:30] for file in settings[:2]]
    stem = folder / "-".join([*names, str(settings.seed)])
    panels = side_by_side(reference, pose.frames, frames)
    return [
        str(write_video(frames, f"{stem}.mp4", pose.fps)),
        str(write_video(panels, f"{stem}-side-by-side.mp4", pose.fps)),
        str(write_gif(frames, f"{stem}.gif", pose.fps)),
    ]


def show_inputs(pipe, reference_image, pose_video, shape, longer_side, fit):
    """Reference and first pose as the model will see them, in one framed picture."""
    if not (reference_image and pose_video):
        return gr.Image(visible=False)
    with told_in_page(reference_image, pose_video):
        reference, pose = read_inputs(reference_image, pose_video)
        width, height = size = resolve_size(pipe, shape, longer_side, reference, pose)
        gap = max(size) // 30
        framed = Image.new("RGB", (2 * width + 3 * gap, height + 2 * gap), "silver")
        framed.paste(fit_picture(reference, size, fit, "white"), (gap, gap))
        framed.paste(fit_picture(pose.frames[0], size, fit, "black"), (width + 2 * gap, gap))
    label = f"What the model sees, {width} × {height} pixels each"
    return gr.Image(ImageOps.contain(framed, (640, 150)), label=label, visible=True)


def begin(pipe, **chosen) -> list:
    """Check the settings before the run waits for its turn."""
    with told_in_page(chosen["reference_image"], chosen["pose_video"]):
        check_settings(pipe, Settings(**chosen))
    return [*switch(running=True), "Waiting for its turn"]


def switch(running: bool) -> list:
    """Generate, Cancel, preview and results, as they are during a run and outside it."""
    buttons = [gr.Button(interactive=not running), gr.Button(interactive=running)]
    return [*buttons, gr.Image(None, visible=running), gr.Tabs(visible=not running)]


def make_demo(pipeline_or_model_dir, examples: Iterable[Path] = ()) -> gr.Blocks:
    """The page, not yet launched; `launch` shows it on this machine alone unless told otherwise.

    Args:
        pipeline_or_model_dir: a pipeline, or a folder that `convert_models` wrote, for the CPU.
        examples: pictures and pose videos to offer; files that do not exist are left out.
    """
    pipe = pipeline_or_model_dir
    if not isinstance(pipe, OVAnimateAnyonePipeline):
        pipe = OVAnimateAnyonePipeline.from_pretrained(pipe)
    own = pipe.generation_config
    side = max(own.width or 0, own.height or 0) or 512  # that of Stable Diffusion 1.x
    shapes = ["recommended", "pose video", "reference image", *SHAPES]
    examples = sorted(str(path) for path in examples if Path(path).is_file())
    with gr.Blocks(
        title="Animate", fill_width=True, analytics_enabled=False, delete_cache=CLEANING
    ) as demo:
        gr.Markdown("# Animate a character\nA picture shows who moves, a video of skeletons how.")
        with gr.Row():
            with gr.Column(scale=3):
                with gr.Row():
                    reference = gr.Image(label="Reference image", sources="upload", height=240)
                    pose = gr.Video(label="Pose video", sources="upload", height=240)
                with gr.Row():
                    for kind, part in (("image", reference), ("video", pose)):
                        files = [[p] for p in examples if str(guess_type(p)[0]).startswith(kind)]
                        gr.Examples(files, [part], label=f"Example {kind}s", visible=bool(files))
                seen = gr.Image(height=200, visible=False, interactive=False, buttons=[])
                with gr.Row():
                    shape = gr.Dropdown(shapes, label="Shape of the result")
                    longer = gr.Dropdown(sorted({side, *SIDES}), value=side, label="Longer side")
                    fit = gr.Radio(["crop", "pad"], value="crop", label="Inputs of another shape")
                with gr.Row():
                    steps = gr.Slider(1, 100, own.num_inference_steps, step=1, label="Steps")
                    guidance = gr.Slider(1, 10, own.guidance_scale, step=0.1, label="Guidance")
                with gr.Row(equal_height=True):
                    length = gr.Number(24, label="Length", min_width=80)
                    unit = gr.Radio(["frames", "seconds"], value="frames", label="Unit", scale=2)
                    seed = gr.Number(0, label="Seed", precision=0, min_width=80)
                    dice = gr.Button("⚄", min_width=60, scale=0)
            with gr.Column(scale=2):
                with gr.Row():
                    start = gr.Button("Generate", variant="primary")
                    cancel = gr.Button("Cancel", variant="stop", interactive=False)
                status = gr.HTML("Choose an image and a video.", padding=True)
                preview = gr.Image(label="Preview", visible=False, height=400, buttons=[])
                with gr.Tabs() as tabs:
                    with gr.Tab("Result"):
                        result = gr.Video(show_label=False, autoplay=True, loop=True, height=400)
                    with gr.Tab("Side by side"):
                        panels = gr.Video(show_label=False, autoplay=True, loop=True, height=400)
                    with gr.Tab("Downloads"):
                        files = gr.File(show_label=False, file_count="multiple", interactive=False)
                    with gr.Tab("Settings"):
                        used = gr.JSON(show_label=False)
        framing = [reference, pose, shape, longer, fit]
        chosen = dict(zip(Settings._fields, [*framing, length, unit, steps, guidance, seed]))
        sent = {"inputs_kwargs": chosen, "preprocess": False, "show_progress_on": preview}
        aside = {"show_progress": "hidden", "api_visibility": "private"}
        switched = [start, cancel, preview, tabs]
        shown = [status, preview, result, panels, files, used]
        begun = start.click(partial(begin, pipe), outputs=[*switched, status], **sent, **aside)
        run = begun.success(partial(generate, pipe), outputs=shown, api_name="generate", **sent)
        run.then(lambda: switch(running=False), outputs=switched, **aside)
        run.failure(lambda: "Stopped.", outputs=status, **aside)
        cancel.click(None, cancels=run)
        dice.click(lambda: random.randrange(2**32), outputs=seed, **aside)
        for part in framing:
            part.change(partial(show_inputs, pipe), framing, seen, preprocess=False, **aside)
    demo.launch = partial(demo.launch, share=False, run_history=False, show_error=True, quiet=True)
    return demo
