"""What a video is made of: the reference and the pose frames, read, found, fitted, in one size."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .base.tables import spoken
from .latents import read_latents
from .media.images import fit_image, kept_box, load_image
from .media.read import PackedFrames, hint_at_rate, open_film, read_video
from .media.sound import Sound, find_sound
from .pose.align import align_poses
from .pose.detect import open_detector
from .pose.film import draw_poses, find_pose, find_poses, read_pose, read_poses
from .pose.gaps import runs
from .pose.keypoints import ANKLES, EARS, EYES, NOSE, WRISTS, Pose, PoseSequence, to_points
from .pose.keypoints_file import read_keypoints
from .pose.looks import check_is_film, check_is_poses, is_black, small
from .run.pipeline import OVAnimateAnyonePipeline
from .settings import AnimationSettings, PoseSettings

MOST_KEPT = 16  # films and references
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """What the pipeline sees, reference and poses of one size, and what is heard; latents that were
    kept need no pictures.
    """

    reference: Image.Image | None
    poses: PackedFrames
    fps: Fraction
    sound: Sound | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        assert self.reference is not None
        return self.reference.size


def check_files(settings: PoseSettings) -> tuple[int, int] | None:
    """Look at all files before any network runs.

    Returns:
        (width, height) of film or poses in pixels; None where there are none.

    Raises:
        FileNotFoundError, ValueError: one is missing, unreadable or of another kind, or has fewer
            frames than are wanted.
    """
    if settings.reference is not None:
        picture = load_image(settings.reference)
        if settings.reference_keypoints is not None:
            read_pose(settings.reference_keypoints, picture.size)
    if settings.driver is None:
        return None
    if settings.holds_keypoints:
        file = read_keypoints(settings.driver)
        return file.size
    if settings.video is not None:  # a pose video is looked at when it is read, before networks
        check_is_film(settings.driver)
    with open_film(settings.driver, settings.excerpt) as film:
        wanted, there = settings.num_frames or 0, film.num_frames
        if film.is_counted and there < wanted:
            raise ValueError(
                f"num_frames must be at most {there}, the frames of {settings.driver}, got {wanted}"
            )
        return film.size


def read_inputs(
    pipe: OVAnimateAnyonePipeline,
    settings: AnimationSettings,
    on_frame: Callable[[int, int], None] | None = None,
) -> Inputs:
    """Read reference and pose frames, or find these in a film, and fit both to the size of the
    result. `on_frame`: see `find_poses`.
    """
    if settings.from_latents is not None and not settings.shows_inputs:
        return Inputs(None, PackedFrames([]), _rate(settings), sound_of(settings))
    if settings.video is None and not settings.holds_keypoints:
        return _with_pose_video(pipe, settings)
    finder = PoseFinder(pipe.model_dir)
    return inputs_of(pipe, settings, finder.make(settings, on_frame), finder)


def inputs_of(
    pipe, settings: AnimationSettings, sequence: PoseSequence, finder: "PoseFinder | None" = None
) -> Inputs:
    """The inputs with poses that are found and fitted already. With what found them, a warning
    tells where head or feet of the character are cut off.
    """
    size = size_of(pipe, settings, [next(draw_poses(sequence))])
    frames = (fit_image(frame, *size, settings.fit, "black") for frame in draw_poses(sequence))
    pose = None
    if finder is not None and settings.alignment_used != "off":
        pose = finder.reference(settings)[0]
    reference = read_reference(settings.reference, size, settings.fit, pose)
    return Inputs(reference, PackedFrames(frames), sequence.fps, sound_of(settings))


def size_of(pipe, settings: AnimationSettings, poses) -> tuple[int, int]:
    """(width, height) of the result; that of latents that were kept is theirs."""
    if settings.from_latents is None or settings.width or settings.height:
        return pipe.resolve_size(poses, settings.width, settings.height)
    latents = read_latents(settings.from_latents, pipe.config.unet.in_channels)
    height, width = (pipe.config.vae_scale_factor * side for side in latents.shape[3:])
    return width, height


def read_reference(path, size: tuple[int, int], fit: str, pose: Pose | None = None):
    """The picture of the character, fitted; says what is cut off."""
    picture = load_image(path)
    told_cut(str(path), picture.size, size, fit, pose)
    return fit_image(picture, *size, fit)


def told_cut(name: str, before, after, fit: str, pose: Pose | None = None) -> None:
    """Say how much of a picture does not fit, and warn where its pose loses head or feet."""
    box = kept_box(before, after, fit)
    lost = 1 - (box[2] - box[0]) * (box[3] - box[1])
    if lost < 0.01:
        return
    shapes = [f"{width}x{height}" for width, height in (before, after)]
    hint = "--fit pad keeps all of it"
    logger.info("%s: %.0f %% of %s are cut off for %s; %s", name, 100 * lost, *shapes, hint)
    gone = [] if pose is None else lost_parts(pose, box)
    if gone:
        logger.warning("%s loses %s: %s", name, " and ".join(gone), hint)


def lost_parts(pose: Pose, box: tuple[float, float, float, float]) -> list[str]:
    """Which ends of a body lie outside of a box (left, upper, right, lower), in shares."""
    points = to_points(pose, (1, 1))
    left, upper, right, lower = box
    inside = (points >= (left, upper)) & (points <= (right, lower))
    parts = {"the head": [NOSE, *EYES, *EARS], "hands": WRISTS, "feet": ANKLES}
    return [
        name
        for name, ends in parts.items()
        if any(np.isfinite(points[end]).all() and not inside[end].all() for end in ends)
    ]


def _with_pose_video(pipe, settings: AnimationSettings) -> Inputs:
    path, excerpt = settings.pose, settings.excerpt
    first = read_video(path, 1, excerpt=excerpt).frames
    check_is_poses(path)
    size = size_of(pipe, settings, first)
    reference = read_reference(settings.reference, size, settings.fit)
    told_cut(str(path), first[0].size, size, settings.fit)
    empty: list[bool] = []

    def fitted(frame: Image.Image) -> Image.Image:
        empty.append(is_black(small(frame)))
        return fit_image(frame, *size, settings.fit, "black")

    pose = read_video(path, settings.num_frames, fitted, excerpt=excerpt)
    hint_at_rate(path, pose.fps)
    if any(empty):
        logger.warning("%s: nobody is seen in frames %s", path, spoken(runs(np.array(empty))))
    return Inputs(reference, pose.frames, pose.fps, sound_of(settings))


def sound_of(settings: PoseSettings) -> Sound | None:
    """What is heard; keypoints are silent."""
    if not settings.audio or settings.driver is None or settings.holds_keypoints:
        return None
    return find_sound(settings.driver, settings.excerpt)


def _rate(settings: AnimationSettings) -> Fraction:
    """Frames per second of a result without pictures beside it."""
    if settings.driver is None:
        return settings.excerpt.rate(Fraction(1))
    if settings.holds_keypoints:
        return settings.excerpt.rate(read_keypoints(settings.driver).fps)
    with open_film(settings.driver, settings.excerpt) as film:
        return film.fps


def make_poses(
    settings: PoseSettings, models_dir, on_frame: Callable[[int, int], None] | None = None
) -> PoseSequence:
    """The poses of a film or of a file of keypoints, fitted to the reference.

    Args:
        settings: `video` or a .json as `pose`, and how to fit.
        models_dir: folder with the networks of a detector; not used where all poses are in files.
        on_frame: see `find_poses`.

    Raises:
        FileNotFoundError, ValueError: something is wrong with the settings or their files; nobody
            is seen in the film or in the reference.
    """
    check_files(settings)
    return PoseFinder(models_dir).make(settings, on_frame)


class PoseFinder:
    """Finds the poses of films and references, and keeps them: a file that has not changed is not
    looked at again.

    Args:
        models_dir: folder with the networks of a detector, opened when it is needed.
    """

    def __init__(self, models_dir):
        self._open = cache(partial(open_detector, models_dir))
        self._kept: dict[tuple, Any] = {}

    def make(self, settings: PoseSettings, on_frame=None) -> PoseSequence:
        """See `make_poses`."""
        alignment = settings.alignment_used
        reference = None if alignment == "off" else self.reference(settings)
        sequence = self.sequence(settings, on_frame)
        return sequence if reference is None else align_poses(sequence, *reference, alignment)

    def sequence(self, settings: PoseSettings, on_frame=None) -> PoseSequence:
        """The poses as the film or the file of keypoints shows them."""
        path, excerpt, detector = settings.driver, settings.excerpt, settings.detector
        which = settings.person, settings.num_frames
        if settings.video is None:
            known = "keypoints", path, which, excerpt
            return self._keep(known, lambda: read_poses(path, *which, excerpt))
        return self._keep(
            ("film", path, which, excerpt, detector),
            lambda: find_poses(path, self._open(detector), *which, on_frame, excerpt),
        )

    def reference(self, settings: PoseSettings) -> tuple[Pose, tuple[int, int]]:
        """The character's pose in the reference picture, and its size."""
        if settings.reference is None:
            raise ValueError("alignment (--align) needs a reference picture, got none")
        picture = load_image(settings.reference)
        if settings.reference_keypoints is not None:
            return read_pose(settings.reference_keypoints, picture.size), picture.size
        key = "picture", settings.reference, settings.detector
        pose = self._keep(key, lambda: find_pose(picture, self._open(settings.detector)))
        if pose is None:
            raise ValueError(
                f"{settings.reference} must show somebody to fit the poses to, nobody is seen: give"
                " the pose with --reference-keypoints, or use --align off"
            )
        return pose, picture.size

    def _keep(self, key: tuple, find: Callable):
        """What was found in a file before, else what is found now."""
        facts = Path(key[1]).stat() if Path(key[1]).exists() else None
        key = *key, facts and (facts.st_size, facts.st_mtime_ns)
        if key not in self._kept:
            self._kept[key] = find()
        while len(self._kept) > MOST_KEPT:
            self._kept.pop(next(iter(self._kept)))
        return self._kept[key]
