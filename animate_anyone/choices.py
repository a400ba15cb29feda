"""What the page sends and shows, and whether what it sends makes a video."""

import math
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from PIL import Image

from . import guard
from .base.checks import check_choice, check_count, check_guidance, check_multiple
from .base.excerpt import WHOLE, Excerpt
from .base.layout import ALIGNMENTS, SCHEDULES
from .media.images import load_image
from .media.read import Video, read_video
from .run.turns import Interrupted

ALIGNMENTS_SHOWN = "automatic", *ALIGNMENTS
SHAPES = {"square": (1, 1), "portrait": (3, 4), "landscape": (4, 3)}
SIDES = (64, 128, 192, 256, 384, 448, 512, 640, 768, 1024)  # pixels: the longer one
MOST_FRAMES = 240  # all of them are held in memory


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
    alignment: Any = "automatic"
    start: Any = 0
    fps: Any = None
    formats: Any = ()
    schedule: Any = "open"

    @property
    def excerpt(self) -> Excerpt:
        """The part of the video that is used; raises ValueError."""
        return Excerpt(self.start, None, self.fps)


FILES = Settings._fields[:2]
NUMBERS = {
    "longer_side": "Longer side",
    "length": "Length",
    "num_inference_steps": "Steps",
    "guidance_scale": "Guidance",
    "seed": "Seed",
    "start": "Begin at second",
}
FORMATS = {"webm": ".webm", "PNG files": ".zip"}  # besides mp4 and GIF


class Outputs(NamedTuple):
    """What the page shows; values left out stay as they are."""

    status: Any = gr.skip()
    preview: Any = gr.skip()
    result: Any = gr.skip()
    comparison: Any = gr.skip()
    files: Any = gr.skip()
    settings: Any = gr.skip()
    picture: Any = gr.skip()


def read_settings(**chosen) -> Settings:
    """Settings whose numbers are numbers, `"64"` and `2.0` among them; raises ValueError that says
    what is empty or none.
    """
    chosen = Settings(**chosen)._asdict()
    numbers = {name: number_of(label, chosen[name]) for name, label in NUMBERS.items()}
    fps = chosen["fps"] or None  # an empty field: as the video
    fps = None if fps is None else number_of("Frames per second", fps)
    return Settings(**chosen | numbers | {"fps": fps})


def number_of(label: str, value) -> int | float:
    """The number in a field; raises ValueError where it is empty or none."""
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
    reference, pose = read_first(settings.reference_image, settings.pose_video, settings.excerpt)
    size = resolve_size(pipe, settings.shape, settings.longer_side, reference, pose)
    check_choice("fit", settings.fit, ("crop", "pad"))
    check_choice("alignment", settings.alignment, ALIGNMENTS_SHOWN)
    check_choice("schedule", settings.schedule, SCHEDULES)
    for each in settings.formats or ():
        check_choice("formats", each, list(FORMATS))
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


def read_first(
    reference: Path | None, pose: Path | None, excerpt: Excerpt = WHOLE
) -> tuple[Image.Image, Video]:
    """Reference image and first frame of the pose video; raises ValueError or OSError."""
    for name, path in (("reference image", reference), ("video", pose)):
        if path is None:
            raise ValueError(f"The {name} is missing: upload one or click on an example")
    return load_image(reference), read_video(pose, 1, excerpt=excerpt)


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
