"""From files to poses: a film, a file of keypoints, a picture."""

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from ..base.excerpt import WHOLE, Excerpt
from ..base.tables import spoken
from ..media.read import hint_at_rate, open_film
from ..media.timing import frames_of
from .detect import open_detector
from .detector import PoseDetector
from .draw import draw_pose
from .keypoints import BODY_POINTS, MIN_SCORE, Pose, PoseSequence, to_points
from .keypoints_file import read_keypoints
from .looks import check_is_film
from .track import follow_performer, prominence

logger = logging.getLogger(__name__)

SHORT_SIDE, LONGEST_SIDE = 512, 4096  # pixels of pose frames: the lines of a pose are made for it
UNSURE = 0.7  # mean score
SAME_SHAPE = 0.02  # of a picture and of the canvas that its keypoints are on


def find_poses(
    video,
    detector: PoseDetector | str | Path,
    person: int | None = None,
    num_frames: int | None = None,
    on_frame: Callable[[int, int], None] | None = None,
    excerpt: Excerpt = WHOLE,
) -> PoseSequence:
    """Find the poses of one performer in a film. Its frames are seen one at a time: memory does not
    grow with its length.

    Args:
        video: a film of somebody moving.
        detector: of `open_detector`, or the folder with its networks.
        person: the N-th from the left in the first frame that shows anybody; None: the largest and
            surest over the whole film.
        num_frames: how many frames to look at, from the first on; None: all.
        on_frame: called as (frames done, frames there are, 0 if unknown) after each; what it raises
            ends the search.
        excerpt: the part of the film that is looked at.

    Raises:
        FileNotFoundError: no such file, or no detector in the folder.
        ValueError: no readable film, a video of skeletons, nobody in it, or not so many people.
    """
    check_is_film(video)
    detector = opened(detector)
    with open_film(video, excerpt) as film:
        hint_at_rate(video, film.fps)
        if film.is_hdr:
            logger.warning("%s is an HDR film: its colours will be pale", video)
        total = min(num_frames or film.num_frames, film.num_frames) or num_frames or 0
        people = detector.follow(islice(film.frames, num_frames))
        with closing(watched(people, total, on_frame)) as seen:  # its bar ends before an error
            sequence = performer_of(str(video), seen, film.size, film.fps, person)
    warn_if_unsure(str(video), sequence)
    return sequence


def warn_if_unsure(name: str, sequence: PoseSequence) -> None:
    """A detector that never saw people of this kind finds them all the same, somewhere: it is less
    sure then. Measured as the mean score of body points: 0.94 and 0.84 where the kind is right,
    0.59 for a real dancer through the eyes of a detector of drawn characters.
    """
    scores = np.concatenate([pose.body_score for pose in sequence.poses])
    mean = float(scores[scores >= MIN_SCORE].mean())
    if mean < UNSURE:
        text = "%s: the poses are unsure (confidence %.2f of 1): look at them with `pose --output`;"
        logger.warning(f"{text} another --detector may see more", name, mean)


def opened(detector: PoseDetector | str | Path) -> PoseDetector:
    """A detector, or that of a folder."""
    return detector if isinstance(detector, PoseDetector) else open_detector(detector)


def watched(people: Iterator, total: int, on_frame: Callable | None) -> Generator[Sequence[Pose]]:
    """Those who are found in each frame, with a bar that tells how far it is."""
    with tqdm(people, desc="Finding poses", unit="frame", total=total or None) as bar:
        for done, everybody in enumerate(bar, start=1):
            yield everybody
            if on_frame is not None:
                on_frame(done, total)


def read_poses(
    path, person: int | None = None, num_frames: int | None = None, excerpt: Excerpt = WHOLE
) -> PoseSequence:
    """Read one performer's poses from a file of keypoints, as they are there; short gaps are
    bridged.

    Raises:
        FileNotFoundError, ValueError: see `read_keypoints`; nobody is there, or not so many; the
            excerpt begins after the end.
    """
    file = read_keypoints(path)
    length = float(1 / file.fps)
    timed = ((index * length, length, frame) for index, frame in enumerate(file.people))
    people = list(islice(frames_of(timed, excerpt, file.fps), num_frames))
    if not people:
        raise ValueError(f"start must be before the end of {path}, got {excerpt.start:g}")
    fps = excerpt.rate(file.fps)
    return performer_of(str(path), people, file.size, fps, person, smooth=False)


def performer_of(name: str, people, size, fps, person, smooth: bool = True) -> PoseSequence:
    """One performer of a file; its name is in what is raised and warned."""
    try:
        sequence = follow_performer(people, size, fps, person, smooth)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if sequence.unseen:
        logger.warning(
            "%s: nobody is seen in frames %s, the pose next to them is held",
            name,
            spoken(sequence.unseen),
        )
    return sequence


def find_pose(picture: Image.Image, detector: PoseDetector | str | Path) -> Pose | None:
    """The largest and surest person in a picture; None where nobody is."""
    return largest(next(opened(detector).follow([picture])), picture.size)  # found as in a film


def read_pose(path, size: tuple[int, int]) -> Pose:
    """The pose in a picture of a size, from the first frame of a file of keypoints.

    Raises:
        FileNotFoundError, ValueError: see `read_keypoints`; nobody is there, or the canvas has
            another shape than the picture.
    """
    file = read_keypoints(path)
    shapes = size[0] / size[1], file.size[0] / file.size[1]
    if abs(shapes[0] / shapes[1] - 1) > SAME_SHAPE:
        raise ValueError(
            f"{path} must have the shape of the picture, {size[0]}x{size[1]}, got a canvas of"
            f" {file.size[0]}x{file.size[1]}"
        )
    pose = largest(file.people[0], file.size)
    if pose is None:
        raise ValueError(f"{path} must hold the pose of somebody, got nobody in its first frame")
    return pose


def largest(people: Sequence[Pose], size: tuple[int, int]) -> Pose | None:
    """Who is largest and surest."""

    def weight(pose: Pose) -> float:
        return prominence(pose, to_points(pose, size)[:BODY_POINTS])

    there = [pose for pose in people if weight(pose) > 0]
    return max(there, key=weight, default=None)


def draw_poses(sequence: PoseSequence) -> Iterator[Image.Image]:
    """Pose frames, drawn at the size that the pose guider learned from: the short side 512 pixels,
    unless the long one would exceed 4096.
    """
    scale = min(SHORT_SIDE / min(sequence.size), LONGEST_SIDE / max(sequence.size))
    width, height = (max(1, round(scale * side)) for side in sequence.size)
    for pose in sequence.poses:
        yield Image.fromarray(draw_pose(pose, width, height))
