"""What makes a video, in values that JSON can hold: checked once, used by command line, page and
notebook.
"""

import json
import os
from dataclasses import asdict, dataclass

from .base.checks import check_choice, check_count, check_type
from .base.excerpt import Excerpt
from .base.layout import ALIGNMENTS, CONTEXT_FRAMES, CONTEXT_OVERLAP, DETECTORS, SCHEDULES

MOST_FRAMES = 10**7  # four days at 30 a second


@dataclass(frozen=True)
class Output:
    """What is written, by its ending: an mp4, a webm, a GIF, a zip or folder of PNG files.
    It shows reference, pose and result side by side, or the result alone.
    """

    path: str
    only_result: bool = False

    def __post_init__(self):
        check_type("output", self.path, str)
        check_type("only_result", self.only_result, bool)


@dataclass(frozen=True, kw_only=True)
class PoseSettings:
    """Where the poses come from, which part of it is used, and how they are fitted; exactly one of
    `video` and `pose`.

    video                film of somebody moving
    pose                 video of pose frames, or a .json file of keypoints
    reference            picture of the character that the poses are fitted to
    reference_keypoints  .json file with the pose in that picture, instead of looking for it
    alignment            see `align_poses`; None: by what film and reference show
    person               the N-th from the left in the first frame; None: the largest and surest
    detector             "dwpose" or "blazepose"; None: the first of them that is there
    num_frames           how many frames are used, from the first on; None: all
    start, duration, fps see `Excerpt`
    audio                whether the sound of `video` or `pose` is heard with what is written

    Raises:
        ValueError, TypeError: a value is out of range.
    """

    video: str | None = None
    pose: str | None = None
    reference: str | None = None
    reference_keypoints: str | None = None
    alignment: str | None = None
    person: int | None = None
    detector: str | None = None
    num_frames: int | None = None
    start: float = 0.0
    duration: float | None = None
    fps: float | None = None
    audio: bool = True

    def __post_init__(self):
        if self.video is not None and self.pose is not None or self.lacks_poses:
            given = "none" if self.video is None else "both"
            raise ValueError(f"one of video (a film) and pose must be given, got {given}")
        check_type("audio", self.audio, bool)
        Excerpt(self.start, self.duration, self.fps)
        check_choice("alignment (--align)", self.alignment, (None, *ALIGNMENTS))
        check_choice("detector", self.detector, (None, *DETECTORS))
        for name in ("person", "num_frames"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        if self.num_frames is not None and self.num_frames > MOST_FRAMES:
            raise ValueError(f"num_frames must be at most {MOST_FRAMES}, got {self.num_frames}")
        self._refuse_unused()

    def _refuse_unused(self) -> None:
        """Raises ValueError where something was given that nothing would use."""
        fitted = self.alignment not in (None, "off")
        found = fitted or self.person or self.reference_keypoints
        if found and self.pose is not None and not self.holds_keypoints:
            raise ValueError(
                "alignment, person and reference_keypoints need a film or a .json of keypoints, got"
                f" the pose video {self.pose}"
            )
        if self.detector is not None and self.video is None and not fitted:
            raise ValueError("detector needs a film, or a reference to fit to, got neither")
        if self.reference_keypoints is not None and self.alignment_used == "off":
            raise ValueError(
                "reference_keypoints need a reference that poses are fitted to, got none"
                if self.reference is None
                else "reference_keypoints need an alignment other than off, got off"
            )

    @property
    def lacks_poses(self) -> bool:
        """Whether there is nothing to take the poses from."""
        return self.driver is None

    @property
    def driver(self) -> str | None:
        """The file that the poses come from."""
        return self.video if self.pose is None else self.pose

    @property
    def excerpt(self) -> Excerpt:
        """The part of that file that is used."""
        return Excerpt(self.start, self.duration, self.fps)

    @property
    def holds_keypoints(self) -> bool:
        """Whether `pose` is a file of keypoints."""
        return self.pose is not None and self.pose.lower().endswith(".json")

    @property
    def alignment_used(self) -> str | None:
        """The alignment; without a reference there is nothing to fit to."""
        if self.alignment is None and self.reference is None:
            return "off"
        return self.alignment


@dataclass(frozen=True, kw_only=True)
class AnimationSettings(PoseSettings):
    """All that makes a video; besides those of `PoseSettings`:

    reference            picture of the character; may be left out, as `video` and `pose`, where the
                         result alone is made from latents that were kept, at `fps`
    outputs              what is written
    width, height        see `OVAnimateAnyonePipeline.__call__`, as all that is not told here
    fit                  how pictures of another shape are fitted: "crop" or "pad"
    preset
    num_inference_steps
    guidance_scale
    seed                 of the noise, from 0 to 2**63 - 1: same seed, same video
    save_latents         .npy to keep the denoised latents in, (1, c, f, h, w)
    from_latents         .npy of latents to make the video from, instead of denoising
    save_settings        .json to keep all of these in, see `record.py`
    context_schedule, context_frames, context_overlap
                         windows of a long video, see `context_schedule`

    Raises:
        ValueError, TypeError: a value is out of range.
    """

    outputs: tuple[Output, ...]
    width: int | None = None
    height: int | None = None
    fit: str = "crop"
    preset: str | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    seed: int = 0
    save_latents: str | None = None
    from_latents: str | None = None
    save_settings: str | None = None
    context_schedule: str = "open"
    context_frames: int = CONTEXT_FRAMES
    context_overlap: int = CONTEXT_OVERLAP

    def __post_init__(self):
        super().__post_init__()
        check_choice("fit", self.fit, ("crop", "pad"))
        for name in ("width", "height", "num_inference_steps"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        check_type("preset", self.preset, str | None)
        check_choice("context_schedule", self.context_schedule, SCHEDULES)
        check_count("context_frames", self.context_frames)
        check_type("context_overlap", self.context_overlap, int)
        check_type("seed", self.seed, int)
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be from 0 to 2**63 - 1, got {self.seed}")
        if not self.outputs:
            raise ValueError("outputs must name at least one file, got none")
        inputs = [self.reference, self.driver, self.reference_keypoints, self.from_latents]
        check_apart(inputs, self.written)
        self._check_pictures()

    def _check_pictures(self) -> None:
        if self.from_latents is None and self.reference is None:
            raise ValueError("reference must be a picture of the character, got none")
        if self.shows_inputs and (self.reference is None or self.driver is None):
            raise ValueError(
                "reference and poses must be given to be shown beside the result, got latents alone"
            )
        pictures = [output.path for output in self.outputs if output.path.lower().endswith(".png")]
        if pictures and self.num_frames != 1 and self.from_latents is None:
            raise ValueError(
                f"num_frames (--frames) must be 1 for the picture {pictures[0]}, got"
                f" {self.num_frames or 'all'}"
            )
        if self.driver is None and self.fps is None:
            raise ValueError("fps must be given where there is neither a film nor poses, got none")

    @property
    def lacks_poses(self) -> bool:
        """Latents need none."""
        return self.driver is None and self.from_latents is None

    @property
    def shows_inputs(self) -> bool:
        """Whether reference and poses are seen in an output."""
        return not all(output.only_result for output in self.outputs)

    @property
    def alignment_used(self) -> str | None:
        """The alignment; keypoints are taken as they are where none is given: they may be fitted,
        and mended by hand.
        """
        return "off" if self.alignment is None and self.video is None else self.alignment

    @property
    def written(self) -> list[str]:
        """The files that are written."""
        kept = [self.save_latents, self.save_settings]
        return [output.path for output in self.outputs] + [path for path in kept if path]

    def to_json(self) -> str:
        """All fields as a JSON object."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "AnimationSettings":
        """What `to_json` wrote; raises ValueError or TypeError for anything else."""
        try:
            values = json.loads(text)
            values["outputs"] = tuple(Output(**output) for output in values["outputs"])
            return cls(**values)
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"settings must be a JSON object of all fields ({error!r})") from error


def check_apart(inputs: list[str | None], outputs: list[str]) -> None:
    """Raises ValueError where an output would overwrite an input or another output."""
    taken = {os.path.realpath(path) for path in inputs if path is not None}
    written: set[str] = set()
    for path in outputs:
        place = os.path.realpath(path)
        if place in taken:
            raise ValueError(f"output would overwrite the input {path}")
        if place in written:
            raise ValueError(f"outputs must be different files, got {path} twice")
        written.add(place)
