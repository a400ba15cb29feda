"""Videos that are written: mp4 and GIF, with PyAV and Pillow.

Frames are `PIL.Image`, RGB, all of one size, any iterable of them.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
from PIL import Image

from ..base.files import check_output, local_url, replacing
from .images import row

SLOWEST = 1001  # seconds per frame; the largest denominator of a rate, that of 29.97 per second
GIF_TICK = 10  # a GIF counts its delays in hundredths of a second


def write_video(frames: Iterable[Image.Image], path, fps: Fraction | float) -> Path:
    """Write an mp4 (H.264, yuv420p) that browsers and players take.

    Frames are taken one by one: a generator may still be making them. yuv420p needs even sizes: an
    odd one is extended by repeating the last row or column.

    Raises:
        ValueError: no frames, sizes that differ, a rate that is not positive, another ending.
        FileNotFoundError: the folder does not exist.
    """
    path = check_output(path, [".mp4"])
    first, frames = _checked(frames, fps)
    width, height = first.size
    even = width + width % 2, height + height % 2
    with replacing(path) as partial, av.open(local_url(partial), "w", format="mp4") as container:
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
            partial, "GIF", save_all=True, append_images=pictures[1:], duration=delays, loop=0
        )
    return path


# Ending of a file → what writes it.
WRITERS = {".mp4": write_video, ".gif": write_gif}


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
