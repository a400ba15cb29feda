"""Turned rectangles of a picture: what a network looks at, and the way back from its answer.

Pictures are arrays (H, W, 3), uint8, RGB. Points (n, 2) are (x, y) in pixels of the picture, y
downwards, (0, 0) the first pixel. Angles are in radians, clockwise as seen.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

RIGHT, UP, DOWN = 0.0, math.pi / 2, -math.pi / 2  # directions, counter-clockwise


@dataclass(frozen=True)
class Crop:
    """A rectangle about a centre, turned by an angle; it may reach beyond the picture."""

    centre: np.ndarray  # (2,)
    size: np.ndarray  # (2,), width and height
    angle: float = 0.0

    @classmethod
    def of_picture(cls, image: np.ndarray) -> "Crop":
        """The smallest square about a whole picture: its letterbox."""
        height, width = image.shape[:2]
        return cls(np.array([width, height]) / 2, np.full(2, max(width, height), float))

    @classmethod
    def about(cls, middle: np.ndarray, edge: np.ndarray, target: float) -> "Crop":
        """The square about a point that reaches to another, turned so that this one lies in the
        direction `target` from the middle.
        """
        size = np.full(2, 2 * np.linalg.norm(edge - middle))
        return cls(middle, size, turn(middle, edge, target))

    @classmethod
    def around(cls, points: np.ndarray, angle: float = 0.0) -> "Crop":
        """The upright box of some points (n, 2), then turned about its middle."""
        low, high = points.min(axis=0), points.max(axis=0)
        return cls((low + high) / 2, high - low, angle)

    def grown(self, factor: float, shift: float = 0.0) -> "Crop":
        """The square over the longer side times a factor, moved along its own y axis by a share of
        the height it had.
        """
        centre = self.centre + self.axes() @ [0, shift * self.size[1]]
        return replace(self, centre=centre, size=np.full(2, self.size.max() * factor))

    def place(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 2) given as fractions of the crop, in pixels of the picture."""
        return self.centre + ((points - 0.5) * self.size) @ self.axes().T

    def axes(self) -> np.ndarray:
        """The directions of the crop's own x and y, as columns."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return np.array([[cos, -sin], [sin, cos]])


def turn(start: np.ndarray, end: np.ndarray, target: float) -> float:
    """The angle of a crop in which one point lies in the direction `target` from another."""
    across, down = end - start
    return target + math.atan2(down, across)
