"""Videos that are written: mp4, webm, GIF or PNG files, with PyAV and Pillow.

Frames are `PIL.Image`, RGB, all of one size, any iterable of them.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from itertools import chain
from pathlib import Path
from zipfile import ZipFile

import av
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..base.files import check_output, local_url, replacing, replacing_folder
from .images import row
from .sound import Sound, SoundTrack

SLOWEST = 1001  # seconds per frame; the largest denominator of a rate, that of 29.97 per second
GIF_TICK = 10  # a GIF counts its delays in hundredths of a second


@dataclass(frozen=True)
class Encoding:
    """How a format stores frames."""

    codec: str
    options: dict[str, str]
    container: dict[str, str]


ENCODINGS = {
    "mp4": Encoding("libx264", {"crf": "17", "preset": "medium"}, {"movflags": "+faststart"}),
    "webm": Encoding(
        "libvpx-vp9",
        {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
        {"fflags": "+bitexact"},  # no random numbers inside: same frames, same file
    ),
}


def write_video(
    frames: Iterable[Image.Image],
    path,
    fps: Fraction | float,
    *,
    sound: Sound | None = None,
    note: str | None = None,
) -> Path:
    """Write an mp4 (H.264) or a webm (VP9) that browsers and players take: yuv420p, BT.709.

    Frames are taken one by one: a generator may still be making them. yuv420p needs even sizes: an
    odd one is extended by repeating the last row or column.

    Args:
        frames: at least one.
        path: ends in .mp4 or .webm.
        fps: frames per second.
        sound: is heard with it, as long as there are frames.
        note: goes into the file as a comment.

    Raises:
        ValueError: no frames, sizes that differ, a rate that is not positive, another ending.
        FileNotFoundError: the folder does not exist.
    """
    path = check_output(path, [f".{format}" for format in ENCODINGS])
    first, frames = _checked(frames, fps)
    width, height = first.size
    even = width + width % 2, height + height % 2
    rate = Fraction(fps).limit_denominator(SLOWEST)
    format = path.suffix.lower().removeprefix(".")
    with replacing(path) as partial, _opened(partial, format, note) as container:
        stream = _add_stream(container, ENCODINGS[format], rate, even)
        with _heard(sound, container, format) as write_until:
            for count, image in enumerate(frames, start=1):
                frame = av.VideoFrame.from_image(_extend(image, even))
                container.mux(stream.encode(_in_bt709(frame)))
                write_until(float(count / rate))
            container.mux(stream.encode(None))
    return path


def _opened(path: Path, format: str, note: str | None):
    container = av.open(
        local_url(path), "w", format=format, container_options=ENCODINGS[format].container
    )
    if note is not None:
        container.metadata["comment"] = note
    return container


def _add_stream(container, encoding: Encoding, rate: Fraction, size: tuple[int, int]):
    stream = container.add_stream(encoding.codec, rate=rate, options=encoding.options)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    coder = stream.codec_context
    coder.colorspace, coder.color_range = Colorspace.ITU709, ColorRange.MPEG
    coder.color_primaries, coder.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    return stream


def _in_bt709(frame: av.VideoFrame) -> av.VideoFrame:
    """What the tags of the stream say."""
    return frame.reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        dst_color_primaries=ColorPrimaries.BT709,
        dst_color_trc=ColorTrc.BT709,
    )


@contextmanager
def _heard(sound: Sound | None, container, format: str) -> Iterator:
    """A function that writes the sound up to a time."""
    if sound is None:
        yield lambda seconds: None
        return
    track = SoundTrack(sound, container, format)
    try:
        yield track.write_until
    finally:
        track.close()


def write_gif(
    frames: Iterable[Image.Image],
    path,
    fps: Fraction | float,
    *,
    sound: Sound | None = None,
    note: str | None = None,
) -> Path:
    """Write an endlessly looping GIF, without sound. One palette for all frames keeps still areas
    still.

    A GIF's delays are whole hundredths of a second, and players slow down below two of them: above
    50 frames per second frames are left out, below it the duration is kept on average.

    Args, Raises: see `write_video`.
    """
    path = check_output(path, [".gif"])
    frames = list(_checked(frames, fps)[1])
    step = max(1, -(-Fraction(fps) // 50))
    ends = [round(100 * (index + step) / Fraction(fps)) for index in range(0, len(frames), step)]
    delays = [GIF_TICK * (end - start) for start, end in zip([0, *ends], ends)]
    kept = [frame.convert("RGB") for frame in frames[::step]]
    palette = _shared_palette(kept)
    pictures = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in kept]
    with replacing(path) as partial:
        pictures[0].save(
            partial,
            "GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=delays,
            loop=0,
            **({} if note is None else {"comment": note.encode()}),
        )
    return path


def write_frames(
    frames: Iterable[Image.Image],
    path,
    fps: Fraction | float,
    *,
    sound: Sound | None = None,
    note: str | None = None,
) -> Path:
    """Write a new folder of PNG files, 00001.png and so on, without loss and without sound; a path
    that ends in .zip becomes one file that holds them, one in .png holds a single frame.

    Args, Raises: see `write_video`; a folder's path has no ending, and nothing lies there but an
        empty folder. ValueError: several frames for one .png.
    """
    path = check_output(path, ["", ".zip", ".png"])
    pictures = _as_png(_checked(frames, fps)[1], note)
    if path.suffix.lower() == ".png":
        _, content = next(pictures)
        if next(pictures, None) is not None:
            raise ValueError(f"{path} holds one frame, got more: --frames 1 makes one")
        with replacing(path) as partial:
            partial.write_bytes(content)
        return path
    if path.suffix:
        with replacing(path) as partial, ZipFile(partial, "w") as archive:
            for name, content in pictures:
                archive.writestr(name, content)
        return path
    with replacing_folder(path) as folder:
        for name, content in pictures:
            (folder / name).write_bytes(content)
    return path


def _as_png(frames: Iterable[Image.Image], note: str | None) -> Iterator[tuple[str, bytes]]:
    """Name and content of a file for each frame."""
    info = PngInfo()
    if note is not None:
        info.add_itxt("Comment", note)
    for number, frame in enumerate(frames, start=1):
        file = BytesIO()
        frame.convert("RGB").save(file, "PNG", pnginfo=info)
        yield f"{number:05}.png", file.getvalue()


# Ending of a file → what writes it; without an ending it is a folder.
WRITERS = {
    ".mp4": write_video,
    ".webm": write_video,
    ".gif": write_gif,
    ".zip": write_frames,
    ".png": write_frames,
    "": write_frames,
}


def _checked(frames, fps) -> tuple[Image.Image, Iterator[Image.Image]]:
    """The first frame, and all of them as they come; raises ValueError at once where there are
    none, and at a frame whose size is not the first one's.
    """
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
    return row(chosen).quantize(256, method=Image.Quantize.MEDIANCUT)
