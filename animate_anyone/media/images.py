"""One picture: read as it is meant to be seen, fitted to a size, set beside others.

Pictures are `PIL.Image`, RGB.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageOps
from PIL.Image import Resampling

from ..base.checks import RANGELESS_MODES
from ..base.files import require_file

DRAWN = 48  # highest channel from which a pixel of a pose frame is not black
UNREADABLE = OSError, SyntaxError, ValueError, Image.DecompressionBombError


def load_image(path) -> Image.Image:
    """Read a picture as it is meant to be seen: RGB, EXIF rotation applied, alpha on white.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no picture.
    """
    require_file(path)
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
    Gradio still asks for, round one pixel in a hundred differently, and the networks notice.
    """
    width, height = size
    if height < image.height and width >= image.width:
        image = image.resize((image.width, height), resampling)
    return image.resize(size, resampling)


def fit_image(
    image: Image.Image, width: int, height: int, fit: str = "crop", background: str = "white"
) -> Image.Image:
    """RGB copy of exactly this size, never stretched.

    Args:
        fit: "crop" cuts what does not fit the aspect from both ends; "pad" adds bars.
        background: colour of the bars, and of what is transparent.
    """
    image = to_rgb(image, background)
    if fit == "crop":
        return ImageOps.fit(image, (width, height), Resampling.LANCZOS)
    return ImageOps.pad(image, (width, height), Resampling.LANCZOS, color=background)


def side_by_side(reference, pose_frames, frames) -> Iterator[Image.Image]:
    """Reference | pose | result, each panel of the result's size, one picture per result frame.
    They are made as they are asked for, once: to use them twice, make a list.

    Raises:
        ValueError: there is no pose frame left for a result frame.
    """
    pose_frames, still = iter(pose_frames), None
    for index, frame in enumerate(frames):
        still = still or to_rgb(reference).resize(frame.size, Resampling.LANCZOS)
        pose = next(pose_frames, None)
        if pose is None:
            raise ValueError(f"expected a pose frame for every frame, got {index}")
        yield row([still, to_rgb(pose).resize(frame.size, Resampling.LANCZOS), frame])


def overlay(picture: Image.Image, drawing: Image.Image) -> Image.Image:
    """A pose frame drawn over a picture, which is dimmed; of the picture's size."""
    drawn = np.asarray(to_rgb(drawing).resize(picture.size, Resampling.LANCZOS))
    dimmed = (0.6 * np.asarray(to_rgb(picture))).astype(np.uint8)
    return Image.fromarray(np.where(drawn.max(axis=2, keepdims=True) > DRAWN, drawn, dimmed))


def row(panels: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one size beside each other."""
    width, height = panels[0].size
    row = Image.new("RGB", (width * len(panels), height))
    for index, panel in enumerate(panels):
        row.paste(panel, (index * width, 0))
    return row
