"""Points that some frames of a film miss.

Axes: f frames; points (f, 128, 2) as in `keypoints`, NaN where missing.
"""

import numpy as np

from .keypoints import (
    ALL_POINTS,
    ANKLES,
    EARS,
    ELBOWS,
    EYES,
    FIRST_OF_FACE,
    HIPS,
    KNEES,
    LEFT_HAND,
    NECK,
    NOSE,
    RIGHT_HAND,
    SHOULDERS,
    WRISTS,
)

# Each point and the one that it moves with, from the neck outwards.
PARENTS: dict[int, int | None] = {
    NECK: None,
    **dict.fromkeys([NOSE, *SHOULDERS, *HIPS], NECK),
    **dict(zip(ELBOWS + WRISTS + KNEES + ANKLES, SHOULDERS + ELBOWS + HIPS + KNEES)),
    **dict.fromkeys(EYES + EARS, NOSE),
    **dict.fromkeys(range(LEFT_HAND, RIGHT_HAND), WRISTS[1]),
    **dict.fromkeys(range(RIGHT_HAND, FIRST_OF_FACE), WRISTS[0]),
    **dict.fromkeys(range(FIRST_OF_FACE, ALL_POINTS), NOSE),
}


def completed(film: np.ndarray) -> np.ndarray:
    """The points with what some frames miss put where it would be as seen from its parent. What no
    frame shows stays missing.
    """
    whole = film.copy()
    for child, parent in PARENTS.items():
        known = parent is not None and np.isfinite(whole[0, parent]).all()
        base = whole[:, parent] if known else 0.0
        whole[:, child] = base + bridged(film[:, child] - base)
    return whole


def bridged(values: np.ndarray) -> np.ndarray:
    """Coordinates (f, 2) with straight lines over what is missing, and held at both ends."""
    seen = np.isfinite(values).all(axis=1)
    if seen.all() or not seen.any():
        return values
    frames = np.arange(len(values))
    return np.stack([np.interp(frames, frames[seen], axis[seen]) for axis in values.T], axis=1)


def without_short_gaps(film: np.ndarray, longest: int) -> np.ndarray:
    """The points, completed where at most `longest` frames in a row miss one between two that show
    it.
    """
    filled, whole = film.copy(), completed(film)
    for point in range(film.shape[1]):
        for first, last in runs(np.isnan(film[:, point, 0])):
            inside = first > 0 and last < len(film) - 1
            if inside and last - first < longest:
                filled[first : last + 1, point] = whole[first : last + 1, point]
    return filled


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """The first and the last index of each row of true values in (f,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return [(int(first), int(end) - 1) for first, end in zip(edges[::2], edges[1::2])]
