"""Poses in a file that other tools read and write, too.

It is the JSON of OpenPose as editors of poses and ComfyUI's ControlNet nodes exchange it: a list
with one object per frame, in it `people` with flat lists of x, y and confidence in pixels of a
canvas. Our files hold `fps` beside them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from ..base.files import check_output, replacing, require_file
from .keypoints import BODY_POINTS, FACE_POINTS, HAND_POINTS, MISSING, Pose, PoseSequence

DEFAULT_FPS = Fraction(30)  # of files that tell none
FARTHEST = 10  # canvases that a point may lie away
LARGEST_CANVAS = 100_000  # pixels
LONGEST_SHOWN = 60  # characters of a value in a message
# Lists of a person → how many points; OpenPose's faces end with two pupils, which we do without.
LISTS = {
    "pose_keypoints_2d": (BODY_POINTS,),
    "hand_left_keypoints_2d": (HAND_POINTS,),
    "hand_right_keypoints_2d": (HAND_POINTS,),
    "face_keypoints_2d": (FACE_POINTS, FACE_POINTS + 2),
}


@dataclass(frozen=True)
class KeypointsFile:
    """Everybody in each frame; size in pixels, frames per second."""

    people: Sequence[Sequence[Pose]]
    size: tuple[int, int]
    fps: Fraction


def write_keypoints(sequence: PoseSequence, path) -> Path:
    """Write one performer's poses, as `read_keypoints` reads them.

    Raises:
        ValueError, OSError: the path is no `.json`, or cannot be written.
    """
    path = check_output(path, [".json"])
    frames = [frame_of(pose, sequence) for pose in sequence.poses]
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.write("[\n")
        file.write(",\n".join(json.dumps(frame) for frame in frames))
        file.write("\n]\n")
    return path


def frame_of(pose: Pose, sequence: PoseSequence) -> dict:
    """The object of a frame."""
    hands_score = np.asarray(pose.hands_score)
    lists = {
        "pose_keypoints_2d": (pose.body, pose.body_score),
        "hand_left_keypoints_2d": (pose.hands[0], hands_score[0]),
        "hand_right_keypoints_2d": (pose.hands[1], hands_score[1]),
        "face_keypoints_2d": (pose.face, pose.face_score),
    }
    person = {name: flat(*values, sequence.size) for name, values in lists.items()}
    fps = sequence.fps
    rate = int(fps) if fps.denominator == 1 else f"{fps.numerator}/{fps.denominator}"
    return {
        "people": [person],
        "canvas_width": sequence.width,
        "canvas_height": sequence.height,
        "fps": rate,
    }


def flat(points, scores, size: tuple[int, int]) -> list[float]:
    """x, y, confidence of each point; three zeros where it is missing."""
    pixels = np.asarray(points, float) * size
    there = np.isfinite(pixels).all(axis=1) & (np.asarray(points) != MISSING).all(axis=1)
    rows = np.column_stack([pixels, scores])
    rows[~there] = 0
    return [round(value, 3) for value in rows.ravel().tolist()]


def read_keypoints(path) -> KeypointsFile:
    """Read a file of keypoints: a list of frames, or a single frame.

    Points are in pixels of the canvas; files whose points all are at most 1 hold fractions of it.
    What has confidence 0 is missing. Lists of hands and faces may be null, empty or left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such file, is broken, or has other numbers of points.
    """
    require_file(path)
    try:
        frames = json.loads(Path(path).read_text(encoding="utf-8-sig"))  # Windows' editors mark it
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    frames = [frames] if isinstance(frames, dict) else frames
    if not isinstance(frames, list) or not frames:
        raise ValueError(f"{path} must hold a list of frames, got {describe(frames)}")
    try:
        sides = [canvas(frame) for frame in frames]
        check_same("canvas", [f"{width}x{height}" for width, height in sides])
        size = sides[0]
        raw = [[lists_of(person) for person in people_of(frame)] for frame in frames]
        scale = scale_of([values for frame in raw for person in frame for values in person], size)
        rates = [rate_of(frame["fps"]) for frame in frames if "fps" in frame] or [DEFAULT_FPS]
        check_same("fps", rates)
    except ValueError as error:
        raise ValueError(f"{path} is no file of keypoints: {error}") from None
    people = [[to_pose(person, scale) for person in frame] for frame in raw]
    return KeypointsFile(people, size, rates[0])


def check_same(name: str, values: Sequence) -> None:
    """Raises ValueError where values of a name differ from frame to frame."""
    first, *others = dict.fromkeys(values)
    if others:
        raise ValueError(f"all frames must have one {name}, got {first} and {others[0]}")


def canvas(frame) -> tuple[int, int]:
    """(width, height) of a frame; raises ValueError."""
    if not isinstance(frame, dict):
        raise ValueError(f"a frame must be an object, got {describe(frame)}")
    width, height = (side_of(frame, name) for name in ("canvas_width", "canvas_height"))
    return width, height


def side_of(frame: dict, name: str) -> int:
    """A side of the canvas; raises ValueError."""
    side = frame.get(name)
    if not isinstance(side, int | float) or isinstance(side, bool):
        side = 0
    if not (1 <= side <= LARGEST_CANVAS and side == int(side)):
        raise ValueError(
            f"{name} must be whole pixels from 1 to {LARGEST_CANVAS}, got {shown(frame.get(name))}"
        )
    return int(side)


def people_of(frame: dict) -> list:
    """Those in a frame; raises ValueError."""
    people = frame.get("people")
    if not isinstance(people, list):
        raise ValueError(f"people must be a list, got {describe(people)}")
    return people


def lists_of(person) -> list[np.ndarray]:
    """Body, left hand, right hand and face of a person, each (points, 3); raises ValueError."""
    if not isinstance(person, dict):
        raise ValueError(f"a person must be an object, got {describe(person)}")
    found = []
    for name, counts in LISTS.items():
        values = person.get(name)
        values = [0] * (3 * counts[0]) if values in (None, []) else values
        if not isinstance(values, list) or len(values) not in [3 * count for count in counts]:
            expected = " or ".join(str(3 * count) for count in counts)
            raise ValueError(f"{name} must be {expected} numbers, got {describe(values)}")
        wrong = [shown(value) for value in values if not is_number(value)]
        if wrong:
            raise ValueError(f"{name} must be finite numbers of at most 9 digits, got {wrong[0]}")
        found.append(np.array(values, float).reshape(-1, 3)[: counts[0]])
    return found


def is_number(value) -> bool:
    """Whether it is a coordinate or a confidence; neither `true` nor what no picture reaches is."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9


def scale_of(lists: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """What points are divided by to be fractions: the size, or 1 where they are already; raises
    ValueError where they lie far away.
    """
    there = [values[values[:, 2] > 0, :2] for values in lists]
    farthest = max((np.abs(points).max() for points in there if len(points)), default=0)
    if farthest > FARTHEST * max(size):
        raise ValueError(f"points must lie near the canvas {size}, got a coordinate {farthest:g}")
    return np.ones(2) if farthest <= 1 else np.array(size)


def rate_of(given) -> Fraction:
    """Frames per second: a number or a fraction such as "30000/1001"; raises ValueError."""
    try:
        # A fraction of "1e99999999" would be written out; a float of it is infinite at once.
        exact = given if isinstance(given, str) and "/" in given else float(given)
        fps = Fraction(exact).limit_denominator(1001)
    except (ValueError, TypeError, ZeroDivisionError, OverflowError):
        fps = Fraction(0)
    if isinstance(given, bool) or not 0 < fps <= 1000:
        raise ValueError(f"fps must be a number above 0 and at most 1000, got {shown(given)}")
    return fps


def to_pose(lists: list[np.ndarray], scale: np.ndarray) -> Pose:
    """A pose of a person's lists."""
    points, scores = [], []
    for values in lists:
        there = values[:, 2] > 0
        places = values[:, :2] / scale
        places[places == MISSING] = np.nextafter(MISSING, 0)  # it is there, one canvas outside
        points.append(np.where(there[:, None], places, np.nan))
        scores.append(np.clip(np.where(there, values[:, 2], 0), 0, 1))
    body, left, right, face = points
    hands, hands_score = np.stack([left, right]), np.stack([scores[1], scores[2]])
    return Pose(body, scores[0], hands, face, hands_score, scores[3])


def shown(value) -> str:
    """A value in a message: never long, never nested."""
    text = describe(value) if isinstance(value, list | dict) else repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


def describe(value) -> str:
    """What a value is, in a word or two."""
    return f"a list of {len(value)}" if isinstance(value, list) else f"{type(value).__name__}"
