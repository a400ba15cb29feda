"""A decoded frame → a picture as players show it: upright, square pixels, true colours."""

import struct
from fractions import Fraction

import av
from av.sidedata.sidedata import Type
from av.video.reformatter import Colorspace
from PIL import Image
from PIL.Image import Resampling, Transpose

from .images import to_rgb

UNSPECIFIED = 2  # as FFmpeg counts colour spaces
HIGH_DEFINITION = 720  # lines from which untagged colours are BT.709, as players take them
MOST_UNEVEN = 16  # times as wide as high, or as high as wide: more is no pixel but a broken header


def to_picture(frame: av.VideoFrame, aspect: Fraction | None, background: str) -> Image.Image:
    """RGB picture of a frame.

    Args:
        frame: as the decoder gives it.
        aspect: width of a pixel over its height; None: square.
        background: what transparency shows.
    """
    if any(part.is_alpha for part in frame.format.components) or frame.format.has_palette:
        picture = to_rgb(Image.fromarray(frame.to_ndarray(format="rgba")), background)
    else:
        untagged = frame.colorspace == UNSPECIFIED
        high = untagged and min(frame.width, frame.height) >= HIGH_DEFINITION
        space = {"src_colorspace": Colorspace.ITU709} if high else {}
        picture = Image.fromarray(frame.to_ndarray(format="rgb24", **space))
    return turned(with_square_pixels(picture, aspect), display_matrix(frame))


def with_square_pixels(picture: Image.Image, aspect: Fraction | None) -> Image.Image:
    """The picture, wider or higher so that nothing is lost."""
    if not aspect or aspect == 1 or not 1 / MOST_UNEVEN <= aspect <= MOST_UNEVEN:
        return picture
    width, height = picture.size
    size = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
    return picture.resize(size, Resampling.BICUBIC)


def display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int] | None:
    """How a player turns and mirrors the frame: x' = a x + c y, y' = b x + d y, as (a, b, c, d)."""
    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return None
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    return a, b, c, d


def turned(picture: Image.Image, matrix: tuple[int, int, int, int] | None) -> Image.Image:
    """The picture turned by quarters and mirrored; angles between them are rounded."""
    if matrix is None:
        return picture
    a, b, c, d = matrix
    across, down = a, d
    if abs(b) > abs(a):
        picture, across, down = picture.transpose(Transpose.TRANSPOSE), c, b
    if across < 0:
        picture = picture.transpose(Transpose.FLIP_LEFT_RIGHT)
    if down < 0:
        picture = picture.transpose(Transpose.FLIP_TOP_BOTTOM)
    return picture
