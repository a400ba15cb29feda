"""Reading and writing of images and video, with PyAV and Pillow.

Frames are `PIL.Image`, RGB, all of one size: a sequence where they are read, any iterable where they
are written.
"""

import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from itertools import chain, count
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageOps
from PIL.Image import Resampling

logger = logging.getLogger(__name__)

SLOWEST = 1001  # seconds per frame; the largest denominator of a rate, that of 29.97 per second
RANGELESS_MODES = "I", "F"  # Pillow's names of 32-bit numbers, of which nobody knows what is white
UNREADABLE = OSError, SyntaxError, ValueError, Image.DecompressionBombError
GIF_TICK = 10  # a GIF counts its delays in hundredths of a second


class PackedFrames(Sequence):
    """Images that are kept as PNG and unpacked each time they are asked for: a long video of pose maps
    takes a small part of the memory so."""

    def __init__(self, images: Iterable[Image.Image]):
        self._packed = [_packed(image) for image in images]

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, index):
        """A copy of an image, or the packed frames of a slice."""
        if isinstance(index, slice):
            part = PackedFrames([])
            part._packed = self._packed[index]
            return part
        with Image.open(BytesIO(self._packed[index])) as image:
            return image.copy()


@dataclass(frozen=True)
class Video:
    """Frames and their exact rate in frames per second."""

    frames: PackedFrames
    fps: Fraction


def _packed(image: Image.Image) -> bytes:
    file = BytesIO()
    to_rgb(image).save(file, "PNG", compress_level=1)
    return file.getvalue()


def load_image(path) -> Image.Image:
    """Read a picture as it is meant to be seen: RGB, EXIF rotation applied, alpha on white.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no picture.
    """
    _require_file(path)
    try:
        with Image.open(path) as image:
            return to_rgb(ImageOps.exif_transpose(image))
    except UNREADABLE as error:
        raise ValueError(f"{path} is not a readable image ({error})") from error


def to_rgb(image: Image.Image, background: str = "white") -> Image.Image:
    """RGB copy of a picture with 8 or 16 bits per channel; transparency shows the background.

    Raises:
        ValueError: the picture holds numbers of no known range (modes I and F).
    """
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.mode in RANGELESS_MODES:
        raise ValueError(f"images must have 8 or 16 bits per channel, got Pillow mode {image.mode}")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    canvas = Image.new("RGBA", image.size, background)
    return Image.alpha_composite(canvas, image).convert("RGB")


def resize(image: Image.Image, size: tuple[int, int], resampling: Resampling) -> Image.Image:
    """Resize as Pillow 13 does: rows first where only the height shrinks. Earlier versions, which
    Gradio still asks for, round one pixel in a hundred differently, and the networks notice."""
    width, height = size
    if height < image.height and width >= image.width:
        image = image.resize((image.width, height), resampling)
    return image.resize(size, resampling)


def fit_image(image: Image.Image, width: int, height: int) -> Image.Image:
    """RGB copy of exactly this size; what does not fit the aspect is cropped from both ends."""
    return ImageOps.fit(to_rgb(image), (width, height), Resampling.LANCZOS)


def read_video(path, num_frames: int | None = None, transform: Callable | None = None) -> Video:
    """Decode the first `num_frames` frames of a video file, or all of them.

    Each frame passes through `transform`, from image to image, as it is decoded: the place to change
    its size. An image is unpacked each time it is asked for: make a list to work with many at once.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, no video, or broken before its first frame; `num_frames` is
            below 1.
    """
    _require_file(path)
    if num_frames is not None and num_frames < 1:
        raise ValueError(f"num_frames must be at least 1, got {num_frames}")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video or container.format.name == "tty":  # text drawn as art
                raise ValueError(f"{path} is not a readable video (no video stream)")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            fps = stream.average_rate or stream.guessed_rate
            wanted = count() if num_frames is None else range(num_frames)
            images = (frame.to_image() for _, frame in zip(wanted, container.decode(stream)))
            frames = PackedFrames(map(transform, images) if transform else images)
            if num_frames is None and len(frames) < stream.frames:
                logger.warning("%s breaks off: %d of %d frames", path, len(frames), stream.frames)
    except av.FFmpegError as error:
        raise ValueError(f"{path} is not a readable video ({error.strerror})") from error
    if not frames or not fps:
        raise ValueError(f"{path} is not a readable video (no frame found)")
    return Video(frames, Fraction(fps))


def write_video(frames: Iterable[Image.Image], path, fps: Fraction | float) -> Path:
    """Write an mp4 (H.264, yuv420p) that browsers and players take.

    Frames are taken one by one: a generator may still be making them. yuv420p needs even sizes: an
    odd one is extended by repeating the last row or column.

    Raises:
        ValueError: no frames, sizes that differ, a rate that is not positive, another ending.
        FileNotFoundError: the folder does not exist.
    """
    path = check_output(path, ".mp4")
    first, frames = _checked(frames, fps)
    width, height = first.size
    even = width + width % 2, height + height % 2
    with replacing(path) as partial, av.open(str(partial), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(SLOWEST))
        stream.width, stream.height = even
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "17", "preset": "medium"}
        for image in frames:
            frame = av.VideoFrame.from_image(_extend(image, even))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_gif(frames: Iterable[Image.Image], path, fps: Fraction | float) -> Path:
    """Write an endlessly looping GIF. One palette for all frames keeps still areas still.

    A GIF's delays are whole hundredths of a second, and players slow down below two of them: above
    50 frames per second frames are left out, below it the duration is kept on average.

    Raises:
        ValueError: see `write_video`.
    """
    path = check_output(path, ".gif")
    frames = list(_checked(frames, fps)[1])
    step = max(1, -(-Fraction(fps) // 50))
    ends = [round(100 * (index + step) / Fraction(fps)) for index in range(0, len(frames), step)]
    delays = [GIF_TICK * (end - start) for start, end in zip([0, *ends], ends)]
    kept = [frame.convert("RGB") for frame in frames[::step]]
    palette = _shared_palette(kept)
    pictures = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in kept]
    with replacing(path) as partial:
        pictures[0].save(
            partial, "GIF", save_all=True, append_images=pictures[1:], duration=delays, loop=0
        )
    return path


def side_by_side(reference, pose_frames, frames) -> Iterator[Image.Image]:
    """Reference | pose | result, each panel of the result's size, one picture per result frame. They
    are made as they are asked for, once: to use them twice, make a list.

    Raises:
        ValueError: there is no pose frame left for a result frame.
    """
    pose_frames, still = iter(pose_frames), None
    for index, frame in enumerate(frames):
        still = still or to_rgb(reference).resize(frame.size, Resampling.LANCZOS)
        pose = next(pose_frames, None)
        if pose is None:
            raise ValueError(f"expected a pose frame for every frame, got {index}")
        yield _row([still, to_rgb(pose).resize(frame.size, Resampling.LANCZOS), frame])


def _row(panels: Sequence[Image.Image]) -> Image.Image:
    width, height = panels[0].size
    row = Image.new("RGB", (width * len(panels), height))
    for index, panel in enumerate(panels):
        row.paste(panel, (index * width, 0))
    return row


def check_output(path, ending: str) -> Path:
    """The path of a file that may be written.

    Raises:
        ValueError: it has another ending or is a folder.
        FileNotFoundError: the folder that it is to be written to does not exist.
    """
    path = Path(path)
    if path.suffix.lower() != ending:
        raise ValueError(f"output must end in {ending}, got {str(path)!r}")
    if path.is_dir():
        raise ValueError(f"output must be a file, {path} is a folder")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"output folder {path.parent} does not exist")
    return path


def _require_file(path) -> None:
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist or is no file")


def _checked(frames, fps) -> tuple[Image.Image, Iterator[Image.Image]]:
    """The first frame, and all of them as they come; raises ValueError at once where there are none,
    and at a frame whose size is not the first one's."""
    if not 1 / SLOWEST <= fps < math.inf:
        raise ValueError(f"fps must be at least 1/{SLOWEST} and finite, got {fps}")
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError("frames must be images, at least one, got none")

    def same_size(frame):
        if frame.size != first.size:
            raise ValueError(f"frames must share one size, got {first.size} and {frame.size}")
        return frame

    return first, map(same_size, chain([first], frames))


def _extend(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    image = image.convert("RGB")
    if image.size == size:
        return image
    width, height = image.size
    box = (0, 0, size[0], size[1])
    extended = image.crop(box)
    if size[0] > width:
        extended.paste(image.crop((width - 1, 0, width, height)), (width, 0))
    if size[1] > height:
        extended.paste(extended.crop((0, height - 1, size[0], height)), (0, height))
    return extended


def _shared_palette(frames: Sequence[Image.Image], samples: int = 8) -> Image.Image:
    """256 colours chosen from a strip of frames spread over the video."""
    chosen = frames[:: max(1, len(frames) // samples)][:samples]
    return _row(chosen).quantize(256, method=Image.Quantize.MEDIANCUT)


@contextmanager
def replacing(path: Path):
    """A file beside `path` to write to; takes its place when all went well, vanishes otherwise."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
