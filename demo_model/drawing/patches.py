"""Coloured patches: the cut-out pieces a figure is laid together from, back to front."""

from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw

from demo_model.drawing.character import Colour, ink
from demo_model.drawing.shapes import Outline, grown

EDGE = 0.075  # width of the outlines on a head, in head radii


@dataclass(frozen=True, eq=False)
class Patch:
    outline: Outline
    colour: Colour


class Sprite:
    """Patches that move together, in units of their own about their own origin."""

    def __init__(self, patches: list[Patch]):
        self.points = np.concatenate([np.zeros((0, 2)), *(patch.outline for patch in patches)])
        self.ends = np.cumsum([len(patch.outline) for patch in patches]).tolist()
        self.colours = [patch.colour for patch in patches]

    def draw(self, draw: ImageDraw.ImageDraw, origin: np.ndarray, axes: np.ndarray) -> None:
        """Draw with the origin at a place in pixels; axes (2, 2) are the images of x and y."""
        flat = (origin + self.points @ axes).ravel().tolist()
        start = 0
        for end, colour in zip(self.ends, self.colours):
            draw.polygon(flat[2 * start : 2 * end], fill=colour)
            start = end


def inked(outlines: list[Outline], colour: Colour, width: float) -> list[Patch]:
    """Shapes of one colour, fused, with one outline of the colour's ink around them all."""
    edge = [Patch(grown(outline, width), ink(colour)) for outline in outlines]
    return edge + [Patch(outline, colour) for outline in outlines]
