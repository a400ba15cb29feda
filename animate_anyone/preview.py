"""How far a video is, as a picture: its middle frame, as it would be in the end."""

import time
from collections.abc import Callable

from PIL import Image

from .base.files import replacing

SHARE = 0.1  # of the time, at most, goes into previews


class Preview:
    """A `callback_on_step_end` that decodes a frame as often as its share of the time allows.

    Args:
        show: gets the picture.
    """

    def __init__(self, show: Callable[[Image.Image], object]):
        self.show = show
        self._next = time.monotonic()

    def __call__(self, pipe, step: int, timestep, values: dict) -> dict:
        """See `OVAnimateAnyonePipeline.__call__`."""
        now = time.monotonic()
        if now >= self._next and step + 1 < pipe.num_timesteps:
            clean = values["pred_original_sample"]
            middle = clean.shape[2] // 2
            self.show(pipe.decode(clean[:, :, middle : middle + 1])[0][0])
            self._next = now + (time.monotonic() - now) / SHARE
        return values


def preview_file(path) -> Preview:
    """One that keeps a PNG file up to date; a viewer never sees half of it."""

    def write(picture: Image.Image) -> None:
        with replacing(path) as partial:
            picture.save(partial, "PNG")

    return Preview(write)
