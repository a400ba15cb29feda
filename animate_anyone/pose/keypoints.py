"""Poses: the points of one person in one picture, and of one performer in a whole film."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

BODY_POINTS, HAND_POINTS, FACE_POINTS = 18, 21, 68
MISSING = -1.0  # a coordinate of a point that is not there
MIN_SCORE = 0.3  # points that the detector trusts less than this are missing

# OpenPose body points, as the person's own right and left (a facing person's right is image left).
BODY_NAMES = (
    *("nose", "neck"),
    *("right_shoulder", "right_elbow", "right_wrist"),
    *("left_shoulder", "left_elbow", "left_wrist"),
    *("right_hip", "right_knee", "right_ankle"),
    *("left_hip", "left_knee", "left_ankle"),
    *("right_eye", "left_eye", "right_ear", "left_ear"),
)
NOSE, NECK = 0, 1
SHOULDERS, ELBOWS, WRISTS = [2, 5], [3, 6], [4, 7]  # the right one first
HIPS, KNEES, ANKLES = [8, 11], [9, 12], [10, 13]
EYES, EARS = [14, 15], [16, 17]


@dataclass
class Pose:
    """One person in one picture.

    Coordinates are (x, y) as fractions of the picture's width and height, y downwards; a point may
    lie outside. A missing point is -1 or NaN; scores are the detector's confidence in [0, 1].
    """

    body: np.ndarray  # (18, 2), in the order of BODY_NAMES
    body_score: np.ndarray  # (18,)
    hands: np.ndarray  # (2, 21, 2), the person's left one first; wrist, then thumb to little finger
    face: np.ndarray  # (68, 2), the points of the 300-W challenge
    # (2, 21) and (68,); left out: all that are there are sure
    hands_score: np.ndarray = field(default_factory=lambda: np.ones((2, HAND_POINTS)))
    face_score: np.ndarray = field(default_factory=lambda: np.ones(FACE_POINTS))


@dataclass(frozen=True)
class PoseSequence:
    """One performer in each frame of a film.

    Args:
        poses: one per frame.
        width, height: of the picture that the points are fractions of, in pixels.
        fps: frames per second.
        unseen: the first and the last frame of each time in which nobody was seen for long; their
            poses are those of the nearest frame before or after.
    """

    poses: Sequence[Pose]
    width: int
    height: int
    fps: Fraction
    unseen: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        return len(self.poses)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.width, self.height


# The points of a pose as one array: body, left hand, right hand, face.
LEFT_HAND, RIGHT_HAND = BODY_POINTS, BODY_POINTS + HAND_POINTS  # where each of them begins
FIRST_OF_FACE = RIGHT_HAND + HAND_POINTS
ALL_POINTS = FIRST_OF_FACE + FACE_POINTS
HANDS = np.s_[..., LEFT_HAND:RIGHT_HAND, :], np.s_[..., RIGHT_HAND:FIRST_OF_FACE, :]
FACE = np.s_[..., FIRST_OF_FACE:, :]


def to_points(pose: Pose, size: tuple[int, int]) -> np.ndarray:
    """All points (128, 2) of a pose in pixels; NaN where they are missing or not trusted."""
    points = all_points(pose, size)
    points[~(to_scores(pose) >= MIN_SCORE)] = np.nan
    return points


def all_points(pose: Pose, size: tuple[int, int]) -> np.ndarray:
    """All points (128, 2) of a pose in pixels, however little they are trusted; NaN where they are
    missing.
    """
    points = np.concatenate([pose.body, *pose.hands, pose.face]).astype(float)
    points[(points == MISSING).any(axis=1) | ~(to_scores(pose) > 0)] = np.nan
    return points * size


def to_scores(pose: Pose) -> np.ndarray:
    """All scores (128,) of a pose."""
    return np.concatenate([pose.body_score, np.ravel(pose.hands_score), pose.face_score])


def from_points(points: np.ndarray, scores: np.ndarray, size: tuple[int, int]) -> Pose:
    """A pose from its points (128, 2) in pixels, NaN where missing, and their scores (128,)."""
    fractions = points / size
    scores = np.where(np.isfinite(fractions[:, 0]), scores, 0.0)
    return Pose(
        body=fractions[:LEFT_HAND],
        body_score=scores[:LEFT_HAND],
        hands=fractions[LEFT_HAND:FIRST_OF_FACE].reshape(2, HAND_POINTS, 2),
        face=fractions[FIRST_OF_FACE:],
        hands_score=scores[LEFT_HAND:FIRST_OF_FACE].reshape(2, HAND_POINTS),
        face_score=scores[FIRST_OF_FACE:],
    )
