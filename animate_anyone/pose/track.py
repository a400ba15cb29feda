"""From everybody in each frame of a film to one performer, without gaps and without jitter.

The frames of a film are seen one at a time; the points of all of them are small.
Axes: f frames, points (f, 128, 2) as in `keypoints`, in pixels, NaN where missing.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.signal import savgol_filter

from .gaps import runs, without_short_gaps
from .keypoints import (
    BODY_POINTS,
    Pose,
    PoseSequence,
    all_points,
    from_points,
    to_points,
    to_scores,
)

logger = logging.getLogger(__name__)

LONGEST_GAP = 0.5  # seconds that are bridged; who was away for longer may be anywhere
FARTHEST = 0.5  # from where somebody is expected, in the size of their body
SAME_SIZE = 2.0  # between somebody who was away for long and a newcomer
MEMORY = 0.2  # seconds over which a speed is averaged
SMOOTHING, DEGREE = 0.2, 2  # seconds that a smoothed point is fitted to, by a polynomial


@dataclass
class Performer:
    """Somebody in a film: in which frames, in which poses, and where they are expected next."""

    frames: list[int] = field(default_factory=list)
    poses: list[Pose] = field(default_factory=list)
    weight: float = 0.0  # how large and how sure over the whole film
    points: np.ndarray = field(default_factory=lambda: np.full((BODY_POINTS, 2), np.nan))
    speed: np.ndarray = field(default_factory=lambda: np.zeros(2))  # pixels per frame

    def expected(self, frame: int, longest: int) -> np.ndarray:
        """Where the points of the body (18, 2) would be by now."""
        return self.points + self.speed * min(frame - self.frames[-1], longest)

    def seen(self, frame: int, pose: Pose, points: np.ndarray, memory: float) -> None:
        """Note where they are in a frame, with the points of the body in pixels."""
        moved = points - self.points
        if np.isfinite(moved).any():
            away = frame - self.frames[-1]
            share = min(1.0, away / memory)
            self.speed += share * (np.nanmedian(moved, axis=0) / away - self.speed)
        self.points = np.where(np.isfinite(points), points, self.points + self.speed)
        self.weight += prominence(pose, points)
        self.frames.append(frame)
        self.poses.append(pose)


class Cast:
    """All performers of a film, who are told apart from frame to frame.

    Args:
        size: (width, height) of the frames in pixels.
        fps: frames per second.
    """

    def __init__(self, size: tuple[int, int], fps: Fraction):
        self.size, self.fps = size, fps
        self.performers: list[Performer] = []
        self.num_frames = 0
        self.longest_gap = max(1, round(LONGEST_GAP * fps))

    def see(self, people: Sequence[Pose]) -> None:
        """Everybody in the next frame."""
        frame, memory = self.num_frames, max(1.0, MEMORY * float(self.fps))
        there = [(pose, to_points(pose, self.size)[:BODY_POINTS]) for pose in people]
        there = [(pose, body) for pose, body in there if np.isfinite(body).any()]
        people, bodies = [pose for pose, _ in there], [body for _, body in there]
        bodies_left = dict(enumerate(bodies))
        present = [p for p in self.performers if frame - p.frames[-1] <= self.longest_gap]
        absent = [p for p in self.performers if frame - p.frames[-1] > self.longest_gap]
        places = [performer.expected(frame, self.longest_gap) for performer in present]
        for row, column in pairs(distances(places, bodies), FARTHEST):
            present[row].seen(frame, people[column], bodies_left.pop(column), memory)
        left = list(bodies_left)
        changes = [[grown(p.points, bodies[column]) for column in left] for p in absent]
        for row, column in pairs(np.array(changes).reshape(len(absent), len(left)), SAME_SIZE):
            returned = absent[row]
            returned.points, returned.speed = np.full((BODY_POINTS, 2), np.nan), np.zeros(2)
            returned.seen(frame, people[left[column]], bodies_left.pop(left[column]), memory)
        for column, body in bodies_left.items():
            newcomer = Performer()
            newcomer.seen(frame, people[column], body, memory)
            self.performers.append(newcomer)
        self.num_frames += 1

    def check_person(self, person: int | None) -> None:
        """Raises ValueError where the first frame that shows anybody shows fewer people."""
        if person is not None and self.performers and not 1 <= person <= len(self._first()):
            raise ValueError(
                f"person must be from 1 to {len(self._first())}, the number of people in frame"
                f" {self.performers[0].frames[0]}, got {person}"
            )

    def _first(self) -> list[Performer]:
        """Those of the first frame that shows anybody, from left to right."""
        first = min(performer.frames[0] for performer in self.performers)
        there = [performer for performer in self.performers if performer.frames[0] == first]
        return sorted(there, key=lambda performer: np.nanmean(performer.poses[0].body[:, 0]))

    def choose(self, person: int | None = None) -> Performer:
        """The performer who is largest and surest, or the N-th from the left in the first frame
        that shows anybody; raises ValueError where there is none.
        """
        if not self.performers:
            raise ValueError(f"somebody must be seen, got nobody in {self.num_frames} frames")
        if person is None:
            return max(self.performers, key=lambda performer: performer.weight)
        self.check_person(person)
        return self._first()[person - 1]


def follow_performer(
    people: Iterable[Sequence[Pose]],
    size: tuple[int, int],
    fps: Fraction,
    person: int | None = None,
    smooth: bool = True,
) -> PoseSequence:
    """One performer of a film.

    Who is who follows from places and speeds: people are not swapped where they cross. Gaps of up
    to half a second are bridged; in longer ones the last pose is held. Jitter is smoothed by
    polynomials over a fifth of a second (Savitzky and Golay 1964), which does not lag.

    Args:
        people: everybody in each frame.
        size: (width, height) of the frames in pixels.
        fps: frames per second.
        person: the N-th from the left in the first frame that shows anybody; None: the largest and
            surest over the whole film.
        smooth: for what a detector found; without it, points that are not trusted are kept.

    Raises:
        ValueError: nobody is there, or not so many.
    """
    cast = Cast(size, fps)
    for everybody in people:
        cast.see(everybody)
        cast.check_person(person)
    performer = cast.choose(person)
    points = np.full((cast.num_frames, len(to_scores(performer.poses[0])), 2), np.nan)
    scores = np.ones(points.shape[:2])
    points[performer.frames] = [to_points(pose, size) for pose in performer.poses]
    scores[performer.frames] = [to_scores(pose) for pose in performer.poses]
    unsure = np.isnan(points)
    absent = unsure.all(axis=(1, 2))
    points = without_short_gaps(points, cast.longest_gap)
    unseen = hold_poses(points, absent, cast.longest_gap)
    if smooth:
        points = smoothed(points, fps)
    else:  # a file keeps what it holds, also what is not trusted
        given = np.full_like(points, np.nan)
        given[performer.frames] = [all_points(pose, size) for pose in performer.poses]
        kept = unsure & np.isfinite(given)
        points, unsure = np.where(kept, given, points), unsure & ~kept
    bridged = unsure[..., 0] & np.isfinite(points[..., 0])
    scores = np.where(bridged, 1.0, scores)
    poses = [from_points(*pose, size) for pose in zip(points, scores)]
    return PoseSequence(poses, *size, fps, tuple(unseen))


def hold_poses(points: np.ndarray, absent: np.ndarray, longest: int) -> list[tuple[int, int]]:
    """Fill frames in which the performer is away for long with the pose before them, or with the
    first one; returns the first and the last frame of each such time.
    """
    unseen = []
    for first, last in runs(absent):
        inside = first > 0 and last < len(points) - 1
        if inside and last - first < longest:
            continue
        points[first : last + 1] = points[first - 1 if first else last + 1]
        unseen.append((first, last))
    return unseen


def smoothed(points: np.ndarray, fps: Fraction) -> np.ndarray:
    """Points on smooth ways, each over the frames that show it without a break."""
    points, window = points.copy(), 2 * round(SMOOTHING * float(fps) / 2) + 1
    for point in range(points.shape[1]):
        for first, last in runs(np.isfinite(points[:, point, 0])):
            frames = np.s_[first : last + 1, point]
            width = min(window, (last - first) // 2 * 2 + 1)
            if width > DEGREE + 1:
                points[frames] = savgol_filter(points[frames], width, DEGREE, axis=0)
    return points


def pairs(costs: np.ndarray, limit: float) -> list[tuple[int, int]]:
    """Rows and columns that belong together at the least cost, none above the limit."""
    if not costs.size:
        return []
    rows, columns = linear_sum_assignment(np.minimum(costs, 10 * limit))
    return [(int(r), int(c)) for r, c in zip(rows, columns) if costs[r, c] <= limit]


def distances(places: Sequence[np.ndarray], bodies: Sequence[np.ndarray]) -> np.ndarray:
    """How far bodies (18, 2) are from places, as shares of their size: (places, bodies)."""
    costs = np.full((len(places), len(bodies)), np.inf)
    for row, place in enumerate(places):
        for column, body in enumerate(bodies):
            apart = np.linalg.norm(place - body, axis=1)
            if np.isfinite(apart).any():
                costs[row, column] = np.nanmedian(apart) / max(extent(place), extent(body), 1.0)
    return costs


def grown(before: np.ndarray, after: np.ndarray) -> float:
    """How many times larger one body is than another, whichever is."""
    sizes = max(extent(before), 1.0), max(extent(after), 1.0)
    return max(sizes) / min(sizes)


def prominence(pose: Pose, points: np.ndarray) -> float:
    """How large and how sure a pose is, whose body (18, 2) is at these points."""
    return extent(points) * float(np.mean(pose.body_score))


def extent(points: np.ndarray) -> float:
    """The diagonal of the box of some points; 0 where there are none."""
    seen = points[np.isfinite(points[:, 0])]
    return float(np.linalg.norm(seen.max(axis=0) - seen.min(axis=0))) if len(seen) else 0.0
