"""One picture: read as it is meant to be seen, fitted to a size, set beside others.

Pictures are `PIL.Image`, RGB.
"""

import logging
from collections.abc import Iterator, Sequence
from io import BytesIO

import numpy as np
import pillow_heif
from PIL import Image, ImageCms, ImageOps
from PIL.Image import Resampling

from ..base.checks import RANGELESS_MODES
from ..base.files import require_file

logger = logging.getLogger(__name__)
pillow_heif.register_heif_opener()  # photos of phones; Pillow itself reads all else, AVIF too

DRAWN = 48  # highest channel from which a pixel of a pose frame is not black
UNREADABLE = OSError, SyntaxError, ValueError, Image.DecompressionBombError


def load_image(path) -> Image.Image:
    """Read a picture as it is meant to be seen: sRGB by its colour profile, EXIF rotation applied,
    alpha on white. All that Pillow reads, and HEIC.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no picture.
    """
    require_file(path)
    try:
        with Image.open(path) as image:
            return to_rgb(to_srgb(ImageOps.exif_transpose(image)))
    except UNREADABLE as error:
        raise ValueError(f"{path} is not a readable image ({error})") from error


def to_srgb(image: Image.Image) -> Image.Image:
    """The picture in the colours that screens take for granted. Without a profile, or with one that
    cannot be used, it already is.
    """
    profile = image.info.get("icc_profile")
    if not profile or image.mode in RANGELESS_MODES or image.mode.startswith("I;16"):
        return image
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    if image.mode not in ("L", "RGB", "CMYK", "LAB"):
        image = image.convert("RGB")
    converted = image.convert("RGB")
    try:
        source, target = ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB") or converted
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        logger.debug("a colour profile cannot be used (%s)", error)
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


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
    """RGB copy of exactly this size.

    Args:
        fit: "crop" cuts what does not fit the aspect from both ends; "pad" adds bars; "stretch"
            changes the aspect, as the reference implementation does.
        background: colour of the bars, and of what is transparent.
    """
    image = to_rgb(image, background)
    if fit == "stretch":
        return resize(image, (width, height), Resampling.LANCZOS)
    if fit == "crop":
        return ImageOps.fit(image, (width, height), Resampling.LANCZOS)
    return ImageOps.pad(image, (width, height), Resampling.LANCZOS, color=background)


def kept_box(before: tuple[int, int], after: tuple[int, int], fit: str) -> tuple:
    """What `fit_image` keeps of a picture: (left, upper, right, lower) as shares of its sides."""
    if fit != "crop":
        return 0.0, 0.0, 1.0, 1.0
    shapes = before[0] / before[1], after[0] / after[1]
    across, down = min(1, shapes[1] / shapes[0]), min(1, shapes[0] / shapes[1])
    return (1 - across) / 2, (1 - down) / 2, (1 + across) / 2, (1 + down) / 2


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
