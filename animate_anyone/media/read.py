"""Videos that are read, with PyAV."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from itertools import chain, islice

import av
from PIL import Image

from ..base.files import local_url, require_file
from .images import to_rgb

logger = logging.getLogger(__name__)


class PackedFrames(Sequence):
    """Images that are kept as PNG and unpacked each time they are asked for: a long video of pose
    maps takes a small part of the memory so.
    """

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


@dataclass(frozen=True)
class Film:
    """A video that is being read: its frames as they are decoded, once.

    size        (width, height) in pixels
    fps         frames per second
    num_frames  how many the file says there are; 0 where it does not say
    """

    frames: Iterator[Image.Image]
    size: tuple[int, int]
    fps: Fraction
    num_frames: int


@contextmanager
def open_film(path) -> Iterator[Film]:
    """A video file, one frame at a time: memory does not grow with its length.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, no video, or broken before its first frame.
    """
    require_file(path)
    try:
        with av.open(local_url(path)) as container:
            if not container.streams.video or container.format.name == "tty":  # text drawn as art
                raise ValueError(f"{path} is not a readable video (no video stream)")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            fps = stream.average_rate or stream.guessed_rate
            images = (frame.to_image() for frame in container.decode(stream))
            first = next(images, None)
            if first is None or not fps:
                raise ValueError(f"{path} is not a readable video (no frame found)")
            yield Film(chain([first], images), first.size, Fraction(fps), stream.frames)
    except av.FFmpegError as error:
        raise ValueError(f"{path} is not a readable video ({error.strerror})") from error


def read_video(path, num_frames: int | None = None, transform: Callable | None = None) -> Video:
    """Decode the first `num_frames` frames of a video file, or all of them.

    Each frame passes through `transform`, from image to image, as it is decoded: the place to
    change its size. An image is unpacked each time it is asked for: make a list to work with many
    at once.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, no video, or broken before its first frame; `num_frames` is
            below 1.
    """
    if num_frames is not None and num_frames < 1:
        raise ValueError(f"num_frames must be at least 1, got {num_frames}")
    with open_film(path) as film:
        frames = PackedFrames(map(transform or to_rgb, islice(film.frames, num_frames)))
        if num_frames is None and len(frames) < film.num_frames:
            logger.warning("%s breaks off: %d of %d frames", path, len(frames), film.num_frames)
        return Video(frames, film.fps)
