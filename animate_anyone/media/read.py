"""Videos that are read, with PyAV: as players show them, at a constant rate."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from itertools import chain, islice

import av
from av.stream import Disposition
from av.video.reformatter import ColorTrc
from PIL import Image

from ..base.excerpt import WHOLE, Excerpt
from ..base.files import local_url, require_file
from .images import to_rgb
from .timing import frames_of, usual_rate
from .upright import to_picture

logger = logging.getLogger(__name__)

HDR = ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67  # PQ and HLG
LOOKED_AT = 250  # frames whose times tell the usual rate
MANY = 31  # frames per second: a film that has more does as well with half of them
MOST_PIXELS = 2**27  # of a frame: 16K
LONGEST_PAUSE = 600.0  # seconds between two frames: more is a broken time
SEEK_FROM = 2.0  # seconds: what begins earlier is found as quickly by decoding
# FFmpeg's own decoders drop the transparency of these.
WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


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


def _packed(image: Image.Image) -> bytes:
    file = BytesIO()
    to_rgb(image).save(file, "PNG", compress_level=1)
    return file.getvalue()


@dataclass(frozen=True)
class Video:
    """Frames and their exact rate in frames per second."""

    frames: PackedFrames
    fps: Fraction


@dataclass(frozen=True)
class Film:
    """A video that is being read: its frames as they are decoded, once.

    size        (width, height) in pixels, upright
    fps         frames per second of `frames`
    num_frames  about how many there are; 0 where the file does not say
    is_counted  whether the file itself counts its frames
    is_hdr      whether its colours have more light than sRGB: they come out pale
    begin       when the first frame is shown, in seconds on the file's clock
    """

    frames: Iterator[Image.Image]
    size: tuple[int, int]
    fps: Fraction
    num_frames: int
    begin: float
    is_counted: bool = False
    is_hdr: bool = False


@contextmanager
def open_film(path, excerpt: Excerpt = WHOLE, background: str = "black") -> Iterator[Film]:
    """A video file, one frame at a time: memory does not grow with its length. Frames are upright,
    have square pixels, and come at a constant rate: the usual one of the file, or another.

    Args:
        path: of any format that FFmpeg reads.
        excerpt: which part, and how many frames per second.
        background: what transparency shows.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, no video, or broken before its first frame; the excerpt
            begins after its end.
    """
    require_file(path)
    try:
        clock = _read_clock(path)
        with av.open(local_url(path)) as container:
            stream = _video_stream(container, path)
            begin = clock.begin + excerpt.start
            fps = excerpt.rate(clock.fps)
            decoded = _decode(container, stream, clock, excerpt.start, path)
            wanted = frames_of(decoded, excerpt, clock.fps, clock.begin)
            aspect = stream.sample_aspect_ratio
            pictures = (to_picture(frame, aspect, background) for frame in wanted)
            first = next(pictures, None)
            if first is None:
                raise ValueError(_why_empty(path, excerpt, clock))
            count = round(excerpt.length(clock.length) * fps)
            frames = chain([first], pictures)
            counted, hdr = stream.frames > 0, stream.codec_context.color_trc in HDR
            yield Film(frames, first.size, fps, count, begin, counted, hdr)
    except (av.FFmpegError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{path} is not a readable video ({reason})") from error


def read_video(
    path,
    num_frames: int | None = None,
    transform: Callable | None = None,
    *,
    excerpt: Excerpt = WHOLE,
    background: str = "black",
) -> Video:
    """Decode the first `num_frames` frames of a video file, or all of them.

    Each frame passes through `transform`, from image to image, as it is decoded: the place to
    change its size. An image is unpacked each time it is asked for: make a list to work with many
    at once.

    Args:
        path, excerpt, background: see `open_film`.

    Raises:
        FileNotFoundError, ValueError: see `open_film`; `num_frames` is below 1.
    """
    if num_frames is not None and num_frames < 1:
        raise ValueError(f"num_frames must be at least 1, got {num_frames}")
    with open_film(path, excerpt, background) as film:
        frames = PackedFrames(map(transform or to_rgb, islice(film.frames, num_frames)))
        return Video(frames, film.fps)


def hint_at_rate(path, fps: Fraction) -> None:
    """Say where a film has more frames per second than it needs."""
    if fps > MANY:
        half = float(fps / 2)
        logger.info("%s: %.4g frames a second; --fps %.4g takes half the time", path, fps, half)


@dataclass(frozen=True)
class Clock:
    """When a file's frames are shown: rate, first frame, and seconds in all, 0 if unknown."""

    fps: Fraction
    begin: float
    length: float


def _read_clock(path) -> Clock:
    """The times of the first frames, without decoding them."""
    with av.open(local_url(path)) as container:
        stream = _video_stream(container, path)
        packets = (p for p in container.demux(stream) if p.size and not p.is_discard)
        stamps = [packet.pts for packet in islice(packets, LOOKED_AT)]
        times = [float(pts * stream.time_base) for pts in stamps if pts is not None]
        fps = usual_rate(times, (stream.average_rate, stream.guessed_rate))
        if fps is None:
            raise ValueError(f"{path} is not a readable video (no frame found)")
        length = 0.0
        if stream.duration:
            length = float(stream.duration * stream.time_base)
        elif container.duration:
            length = container.duration / av.time_base
        return Clock(fps, min(times, default=0.0), length)


def _video_stream(container, path):
    """The picture of a film. Text is none: FFmpeg would draw it as art."""
    stream = container.streams.best("video")
    cover = stream is not None and stream.disposition & Disposition.attached_pic
    if stream is None or cover or container.format.name == "tty":
        raise ValueError(f"{path} is not a readable video (no video stream)")
    if stream.codec_context is None:
        raise ValueError(f"{path} is not a readable video (its codec is not known)")
    if stream.width * stream.height > MOST_PIXELS:
        raise ValueError(
            f"{path} is not a readable video ({stream.width}x{stream.height} pixels, expected at"
            f" most {MOST_PIXELS} in all)"
        )
    stream.thread_type = "AUTO"
    return stream


def _decode(container, stream, clock: Clock, start: float, path) -> Iterator[tuple]:
    """(begin, length, frame) in seconds, from the last one that begins before `start` on, or from
    an earlier one.
    """
    sought = start >= SEEK_FROM and _can_seek(path, clock.begin + start)
    if sought:
        _seek(container, stream, clock.begin + start)
    end, shift, last = clock.begin, 0.0, -math.inf
    for frame in _frames(container, stream):
        begin = end if frame.pts is None else shift + float(frame.pts * frame.time_base)
        if begin < last or begin > end + LONGEST_PAUSE and last > -math.inf:
            shift, begin = shift + end - begin, end  # files that were joined, or a broken time
        last = begin
        told = float((frame.duration or 0) * frame.time_base)
        length = max(told, float(1 / clock.fps))  # some files tell too short ones
        end = begin + length
        yield begin, length, frame
    whole = float((stream.duration or 0) * stream.time_base)
    if not sought and end - clock.begin < whole - 1.5 / clock.fps:
        logger.warning("%s breaks off after %.1f of %.1f seconds", path, end - clock.begin, whole)


def _can_seek(path, time: float) -> bool:
    """Whether a file can be read from the key frame before a time on, and not only in order."""
    try:
        with av.open(local_url(path)) as container:
            stream = container.streams.best("video")
            _seek(container, stream, time)
            first = next((packet for packet in container.demux(stream) if packet.is_keyframe), None)
            stamp = None if first is None else first.pts
            return stamp is not None and float(stamp * stream.time_base) <= time
    except av.FFmpegError:
        return False


def _seek(container, stream, time: float) -> None:
    container.seek(int(time / stream.time_base), stream=stream, backward=True)


def _frames(container, stream) -> Iterator[av.VideoFrame]:
    """What the stream's decoder gives, with transparency where there is any."""
    name = WITH_ALPHA.get(stream.codec_context.name)
    clear = name is not None and stream.metadata.get("alpha_mode") == "1"
    decoder = av.CodecContext.create(name, "r") if clear else stream.codec_context
    for packet in container.demux(stream):
        if not packet.size and packet.dts is not None:
            continue  # the same frame again
        for frame in decoder.decode(packet if packet.size else None):
            frame.time_base = stream.time_base
            yield frame


def _why_empty(path, excerpt: Excerpt, clock: Clock) -> str:
    if excerpt.start:
        lasts = f", which lasts {clock.length:.2f} seconds" if clock.length else ""
        return f"start must be before the end of {path}{lasts}, got {excerpt.start:g}"
    return f"{path} is not a readable video (no frame found)"
