"""Fit the poses of a film to the body of the character that shall move so.

The skeleton of a tall adult moves a child's picture badly: pose frames must have the character's
own proportions, where the character stands. Fits from one frame fail where that frame is a bad
one (seated, side-on); here every length is measured over the whole film.

All is measured in pixels. Axes: f frames; points (f, 128, 2) as in `keypoints`, NaN where missing.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..base.layout import ALIGNMENTS
from .gaps import completed
from .keypoints import (
    ANKLES,
    EARS,
    ELBOWS,
    EYES,
    FACE,
    HANDS,
    HIPS,
    KNEES,
    NECK,
    NOSE,
    SHOULDERS,
    WRISTS,
    Pose,
    PoseSequence,
    from_points,
    to_points,
    to_scores,
)

logger = logging.getLogger(__name__)

# Of a length over the frames: a limb that points at the viewer looks short, and one whose points
# are a little wrong looks long as often as short.
PERCENTILE = 75
LEAST_SHARE = 0.1  # of the frames must show a length
LEAST_LENGTH = 1 / 2000  # of the longer side of the picture: ratios of shorter ones tell nothing
LIMITS = 0.6, 1.6  # of a length's ratio, as a share of that of the whole body
GROUND_PERCENTILE = 90  # of the lower ankle's height: most frames are no jump
NOTHING_SHARED = (
    "film and reference must both show the same part of a body, got none: use --align off, or give"
    " the reference's pose with --reference-keypoints"
)
HEAD = [NOSE, *EYES, *EARS]
# Lengths of a body, each from a point to a point or to the middle of two; a side has one each.
LENGTHS: dict[str, tuple] = {
    "shoulder": ((NECK, SHOULDERS[0]), (NECK, SHOULDERS[1])),
    "upper_arm": tuple(zip(SHOULDERS, ELBOWS)),
    "forearm": tuple(zip(ELBOWS, WRISTS)),
    "trunk": ((NECK, HIPS),),
    "hip": (tuple(HIPS),),
    "thigh": tuple(zip(HIPS, KNEES)),
    "shin": tuple(zip(KNEES, ANKLES)),
    "neck": ((NECK, EARS),),
    "head": (tuple(EARS),),
}
LEG, HEIGHT = ("thigh", "shin"), ("trunk", "thigh", "shin")
NEEDED_FOR_LIMBS = "shoulder", "upper_arm", "forearm", "trunk"


@dataclass(frozen=True)
class Fit:
    """How the poses of a film are changed.

    mode     "global" or "limbs"
    scale    of the whole body
    ratios   of the `LENGTHS`; each is `scale` in the mode "global"
    reason   why this mode was chosen; empty where it was asked for
    """

    mode: str
    scale: float
    ratios: Mapping[str, float]
    reason: str = ""

    def __str__(self) -> str:
        because = f", because {self.reason}" if self.reason else ""
        return f"{self.mode}, scale {self.scale:.2f}{because}"


def align_poses(
    sequence: PoseSequence,
    reference: Pose,
    reference_size: tuple[int, int],
    alignment: str | None = None,
) -> PoseSequence:
    """Fit the poses of a film to the body in a reference picture.

    "global" scales the whole skeleton and moves it to where the character stands. "limbs" also
    gives each limb the character's length, and keeps its angle. The performer's way through the
    picture is kept, scaled; poses may leave the picture.

    The scale is the median of three ratios: of the trunks, of the shoulders' widths, and of the
    heights from neck to ankle. A length in the film is a high percentile over its frames, of the
    mean of both sides; in the reference it is that of the longer side. Ratios are kept within 0.6
    and 1.6 of the scale, which stands in where a length is not seen. Hands are scaled as their
    forearm, the face as the head. Where both show hips and ankles, the ground is laid onto the
    reference's, and neck, hips and feet stand on average where the reference's do; else the neck
    does.

    Args:
        sequence: one performer of a film.
        reference: the character's pose in the reference picture.
        reference_size: (width, height) of that picture, in pixels.
        alignment: "off", "global" or "limbs"; None: "limbs" where both bodies show trunk,
            shoulders and an arm, else "global". A log message says which, and why.

    Returns:
        Poses as fractions of the reference picture; with "off" the same poses as before.

    Raises:
        ValueError: an unknown alignment, no length that both bodies show, or a body that is nearly
            a point.
    """
    if alignment not in (None, *ALIGNMENTS):
        raise ValueError(f"alignment must be one of {ALIGNMENTS}, got {alignment!r}")
    if alignment == "off":
        return sequence
    film = np.stack([to_points(pose, sequence.size) for pose in sequence.poses])
    own = to_points(reference, reference_size)
    least = LEAST_LENGTH * max(sequence.size), LEAST_LENGTH * max(reference_size)
    fit = measure(film, own, alignment, least)
    fitted = fitted_points(film, own, fit)
    logger.info("fit to the reference: %s", fit)
    poses = [
        from_points(points, to_scores(pose), reference_size)
        for points, pose in zip(fitted, sequence.poses)
    ]
    return PoseSequence(poses, *reference_size, sequence.fps, sequence.unseen)


def fitted_points(film: np.ndarray, reference: np.ndarray, fit: Fit) -> np.ndarray:
    """A film's points by a fit, missing where they were."""
    whole = completed(film)
    fitted = placed(rebuilt(whole, fit.ratios), whole, reference, fit)
    fitted[np.isnan(film)] = np.nan
    return fitted


def measure(
    film: np.ndarray,
    reference: np.ndarray,
    alignment: str | None = None,
    least: tuple[float, float] = (0.0, 0.0),
) -> Fit:
    """The fit of a film's points to a reference's (128, 2); see `align_poses`. Shorter lengths than
    the least ones in the film and in the reference count as not seen.
    """
    lengths = {name: film_length(sides) for name, sides in lengths_of(film).items()}
    own = {name: np.fmax.reduce(sides)[0] for name, sides in lengths_of(reference[None]).items()}
    lengths, own = long_enough(lengths, least[0], "film"), long_enough(own, least[1], "reference")
    ratios = {name: own[name] / lengths[name] for name in LENGTHS if lengths[name] > 0}
    ratios = {name: ratio for name, ratio in ratios.items() if ratio > 0}
    scale = whole_scale(ratios, lengths, own)
    unseen = [name.replace("_", " ") for name in NEEDED_FOR_LIMBS if name not in ratios]
    mode, reason = alignment or ("global" if unseen else "limbs"), ""
    if alignment is None:
        lacking = f"film or reference does not show the {', '.join(unseen)}"
        reason = lacking if unseen else "both show the whole upper body"
    if mode == "global":
        return Fit(mode, scale, dict.fromkeys(LENGTHS, scale), reason)
    low, high = (share * scale for share in LIMITS)
    kept = {name: float(np.clip(ratios.get(name, scale), low, high)) for name in LENGTHS}
    return Fit(mode, scale, kept, reason)


def lengths_of(film: np.ndarray) -> dict[str, np.ndarray]:
    """The `LENGTHS` in each frame, of each side that has one: (sides, f), NaN where not seen."""
    return {
        name: np.stack(
            [np.linalg.norm(at(film, start) - at(film, end), axis=-1) for start, end in sides]
        )
        for name, sides in LENGTHS.items()
    }


def film_length(sides: np.ndarray) -> float:
    """A length (sides, f) of the film's performer; NaN where too few frames show it."""
    seen = sides[:, np.isfinite(sides).any(axis=0)]
    if seen.shape[1] < max(1, LEAST_SHARE * sides.shape[1]):
        return np.nan
    return float(np.percentile(np.nanmean(seen, axis=0), PERCENTILE))


def long_enough(lengths: Mapping[str, float], least: float, where: str) -> dict[str, float]:
    """The lengths, NaN where they are too short (of somebody side-on, some are); raises ValueError
    where most are.
    """
    seen = [length for length in lengths.values() if np.isfinite(length)]
    if seen and np.median(seen) < least:
        raise ValueError(
            f"the body in the {where} must have lengths of at least {least:.2g} pixels to be"
            f" fitted, got {np.median(seen):.2g} for most: use --align off"
        )
    return {name: length if length >= least else np.nan for name, length in lengths.items()}


def whole_scale(ratios: Mapping, lengths: Mapping, own: Mapping) -> float:
    """By how much larger the reference's body is; raises ValueError where nothing tells."""
    known = [ratios[name] for name in ("trunk", "shoulder") if name in ratios]
    if all(name in ratios for name in HEIGHT):
        known.append(sum(own[name] for name in HEIGHT) / sum(lengths[name] for name in HEIGHT))
    known = known or list(ratios.values())
    if not known:
        raise ValueError(NOTHING_SHARED)
    return float(np.median(known))


def at(points: np.ndarray, place) -> np.ndarray:
    """A point (..., 2), or the middle of several."""
    return points[..., place, :].mean(axis=-2) if isinstance(place, list) else points[..., place, :]


def rebuilt(film: np.ndarray, ratios: Mapping[str, float]) -> np.ndarray:
    """The skeleton with other lengths, outwards from the neck, which stays where it is. Each limb
    keeps its angle.
    """
    if np.isnan(film[0, NECK]).any():  # nothing to begin at: all of it is scaled alike
        return film * float(np.median(list(ratios.values())))
    built = film.copy()
    neck, hips, head = film[:, NECK], at(film, HIPS), head_centre(film)
    middle = neck + (hips - neck) * ratios["trunk"]
    for side, hand in ((0, HANDS[1]), (1, HANDS[0])):  # the left hand is the first
        shoulder, elbow, wrist = SHOULDERS[side], ELBOWS[side], WRISTS[side]
        hip, knee, ankle = HIPS[side], KNEES[side], ANKLES[side]
        built[:, hip] = middle + (film[:, hip] - hips) * ratios["hip"]
        chain = [(NECK, shoulder, "shoulder"), (shoulder, elbow, "upper_arm")]
        chain += [(elbow, wrist, "forearm"), (hip, knee, "thigh"), (knee, ankle, "shin")]
        for start, end, name in chain:
            built[:, end] = built[:, start] + (film[:, end] - film[:, start]) * ratios[name]
        fingers = film[hand] - film[:, [wrist]]
        built[hand] = built[:, [wrist]] + fingers * ratios["forearm"]
    new_head = neck + (head - neck) * ratios["neck"]
    for part in (np.s_[:, HEAD], FACE):
        built[part] = new_head[:, None] + (film[part] - head[:, None]) * ratios["head"]
    return built


def head_centre(film: np.ndarray) -> np.ndarray:
    """Between the ears, else the nose: (f, 2)."""
    ears = at(film, EARS)
    return np.where(np.isfinite(ears), ears, film[:, NOSE])


def placed(built: np.ndarray, film: np.ndarray, reference: np.ndarray, fit: Fit) -> np.ndarray:
    """The rebuilt skeleton where the reference stands, moving as the film does."""
    hips, own_hips = at(film, HIPS), at(reference, HIPS)
    own_ground = np.fmax.reduce(reference[ANKLES, 1])
    if not np.isfinite([*hips[0], *film[0, ANKLES, 1], *own_hips, own_ground]).all():
        anchor = shared_anchor(film, reference)
        there = at(film, anchor)
        way = (there - [there[:, 0].mean(), np.median(there[:, 1])]) * fit.scale
        return built + (at(reference, anchor) + way - at(built, anchor))[:, None]
    lower, new_lower = (points[:, ANKLES, 1].max(axis=1) for points in (film, built))
    pace = np.mean([fit.ratios[name] for name in LEG])
    start = hips[0, 0], np.percentile(lower, GROUND_PERCENTILE)
    way = (np.stack([hips[:, 0], lower], axis=1) - start) * pace
    here = np.stack([at(built, HIPS)[:, 0], new_lower], axis=1)
    moved = built + (way - here + [0, own_ground])[:, None]
    # Neck, hips and feet lean to different sides: together they tell best where a body stands.
    bases = HIPS, ANKLES, NECK
    apart = [at(reference, base)[0] - at(moved, base)[:, 0].mean() for base in bases]
    moved[..., 0] += np.nanmean(apart)
    return moved


def shared_anchor(film: np.ndarray, reference: np.ndarray):
    """A point that both show, the neck if they do; raises ValueError where there is none."""
    for place in (NECK, NOSE, HIPS, *SHOULDERS, *HIPS, *KNEES, *ANKLES, *ELBOWS, *WRISTS, EARS):
        if np.isfinite([*at(film, place)[0], *at(reference, place)]).all():
            return place
    raise ValueError(NOTHING_SHARED)
