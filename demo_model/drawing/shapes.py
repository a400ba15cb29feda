"""Outlines as arrays of (x, y) points, y downwards: what the characters are cut out of."""

import numpy as np

Outline = np.ndarray  # (n, 2)


def ellipse(x: float, y: float, rx: float, ry: float, points: int = 28) -> Outline:
    """An ellipse about (x, y), beginning at its right end."""
    return arc(x, y, rx, ry, 0, 360 - 360 / points, points)


def arc(x: float, y: float, rx: float, ry: float, start: float, end: float, points: int) -> Outline:
    """Points along an ellipse between two angles in degrees, clockwise from the right."""
    angle = np.radians(np.linspace(start, end, points))
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def smooth(corners: list, steps: int = 5) -> Outline:
    """A closed Catmull-Rom spline through the corners."""
    p1 = np.array(corners, float)
    p0, p2, p3 = (np.roll(p1, shift, axis=0) for shift in (1, -1, -2))
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    curve = p1 + t / 2 * (
        p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0))
    )
    return curve.transpose(1, 0, 2).reshape(-1, 2)


def mirrored(right_half: list, steps: int = 5) -> Outline:
    """A smooth shape symmetric about x = 0 from its right half, listed top to bottom."""
    left_half = [(-x, y) for x, y in reversed(right_half) if x > 0]
    return smooth([*right_half, *left_half], steps)


def capsule(start: np.ndarray, end: np.ndarray, r0: float, r1: float) -> Outline:
    """A limb: the two points joined, with round ends of radius r0 and r1."""
    x, y = direction(start, end)
    cap = HALF_CIRCLE @ np.array([(x, y), (-y, x)])
    return np.concatenate([start - r0 * cap, end + r1 * cap])


def ribbon(path: Outline, width: float) -> Outline:
    """A line of some width along a path."""
    side = normals(np.gradient(path, axis=0)) * (width / 2)
    return np.concatenate([path + side, (path - side)[::-1]])


def grown(outline: Outline, margin: float) -> Outline:
    """The outline moved outwards by a margin: what is drawn in ink behind a shape."""
    closed = np.concatenate([outline[-1:], outline, outline[:1]])
    tangent = closed[2:] - closed[:-2]
    clockwise = np.sign(outline[:, 0] @ tangent[:, 1])  # of the enclosed area
    return outline + clockwise * margin * normals(tangent)


def direction(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The unit vector from start to end."""
    along = end - start
    return along / max(float(np.hypot(*along)), 1e-9)


def normals(tangent: np.ndarray) -> np.ndarray:
    length = np.maximum(np.hypot(tangent[:, 0], tangent[:, 1]), 1e-9)[:, None]
    return tangent[:, ::-1] * (1, -1) / length


HALF_CIRCLE = arc(0, 0, 1, 1, -90, 90, 9)
