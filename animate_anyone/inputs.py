"""What a video is made of: the reference and the pose frames, read, found, fitted, in one size."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any

from PIL import Image

from .media.images import fit_image, load_image
from .media.read import PackedFrames, read_video
from .pose.align import align_poses
from .pose.detect import open_detector
from .pose.film import draw_poses, find_pose, find_poses, read_pose, read_poses
from .pose.keypoints import Pose, PoseSequence
from .pose.looks import check_is_poses
from .run.pipeline import OVAnimateAnyonePipeline
from .settings import AnimationSettings, PoseSettings

MOST_KEPT = 16  # films and references


@dataclass(frozen=True)
class Inputs:
    """What the pipeline sees: reference and poses of one size, at the pose video's rate."""

    reference: Image.Image
    poses: PackedFrames
    fps: Fraction

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.reference.size


def read_inputs(
    pipe: OVAnimateAnyonePipeline,
    settings: AnimationSettings,
    on_frame: Callable[[int, int], None] | None = None,
) -> Inputs:
    """Read reference and pose frames, or find these in a film, and fit both to the size of the
    result. `on_frame`: see `find_poses`.
    """
    if settings.video is None and not settings.holds_keypoints:
        return _with_pose_video(pipe, settings)
    return inputs_of(pipe, settings, make_poses(settings, pipe.model_dir, on_frame))


def inputs_of(pipe, settings: AnimationSettings, sequence: PoseSequence) -> Inputs:
    """The inputs with poses that are found and fitted already."""
    width, height = pipe.resolve_size([next(draw_poses(sequence))], settings.width, settings.height)
    frames = (
        fit_image(frame, width, height, settings.fit, "black") for frame in draw_poses(sequence)
    )
    reference = fit_image(load_image(settings.reference), width, height, settings.fit)
    return Inputs(reference, PackedFrames(frames), sequence.fps)


def _with_pose_video(pipe, settings: AnimationSettings) -> Inputs:
    reference, first = load_image(settings.reference), read_video(settings.pose, 1).frames
    check_is_poses(settings.pose)
    width, height = pipe.resolve_size(first, settings.width, settings.height)
    pose = read_video(
        settings.pose,
        settings.num_frames,
        lambda frame: fit_image(frame, width, height, settings.fit, "black"),
    )
    reference = fit_image(reference, width, height, settings.fit)
    return Inputs(reference, pose.frames, pose.fps)


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
        path = settings.video or settings.pose
        which = settings.person, settings.num_frames
        if settings.video is None:
            return self._keep((read_poses, path, *which), lambda: read_poses(path, *which))
        key = find_poses, path, *which, settings.detector
        return self._keep(
            key, lambda: find_poses(path, self._open(settings.detector), *which, on_frame)
        )

    def reference(self, settings: PoseSettings) -> tuple[Pose, tuple[int, int]]:
        """The character's pose in the reference picture, and its size."""
        if settings.reference is None:
            raise ValueError("alignment (--align) needs a reference picture, got none")
        picture = load_image(settings.reference)
        if settings.reference_keypoints is not None:
            return read_pose(settings.reference_keypoints, picture.size), picture.size
        key = find_pose, settings.reference, settings.detector
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
