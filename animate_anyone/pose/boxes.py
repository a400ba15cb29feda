"""Boxes that detectors propose: where they lie, how much they overlap, which of them are one.

Axes: n proposals, k points per proposal. A box is (x0, y0, x1, y1).
"""

import numpy as np


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of one box (4,) with others (n, 4): shape (n,)."""
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[2:], boxes[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    return shared / np.maximum(area(box) + area(boxes) - shared, np.finfo(float).tiny)


def area(boxes: np.ndarray) -> np.ndarray:
    """Of one box or of many."""
    return (boxes[..., 2:] - boxes[..., :2]).prod(axis=-1)


def groups(boxes: np.ndarray, scores: np.ndarray, limit: float) -> list[np.ndarray]:
    """Proposals of the same thing: the surest one first, then those that overlap with it by more
    than `limit`, and so on with the rest. Returns arrays of indices into (n, 4) and (n,).
    """
    left, found = np.argsort(-scores, kind="stable"), []
    while len(left):
        same = overlap(boxes[left[0]], boxes[left]) > limit
        same[0] = True  # a box without area overlaps with nothing
        found.append(left[same])
        left = left[~same]
    return found
