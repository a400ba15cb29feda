"""A held-out character performing, and what the model makes of it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from PIL import Image

from animate_anyone.pose import Pose
from animate_anyone.run.pipeline import OVAnimateAnyonePipeline
from demo_model.drawing.character import HELD_OUT_SEEDS, Character, random_character
from demo_model.drawing.motion import HELD_OUT_MOTIONS
from demo_model.drawing.render import SIZE, pose_map, render
from demo_model.drawing.skeleton import at_ease, pose_at

FRAMES, FPS = 24, 12


@dataclass(frozen=True)
class Performance:
    """A character, its reference picture standing at ease, and the truth of its motion."""

    character: Character
    poses: list[Pose]

    @classmethod
    def held_out(cls, index: int, frames: int = FRAMES) -> "Performance":
        """The index-th held-out character in a held-out motion, the next one for the next index."""
        return cls.of(index, list(HELD_OUT_MOTIONS)[index % len(HELD_OUT_MOTIONS)], frames)

    @classmethod
    def of(cls, index: int, motion: str, frames: int = FRAMES) -> "Performance":
        """The index-th held-out character in a motion."""
        character = random_character(HELD_OUT_SEEDS[index])
        return cls(character, [pose_at(character, motion, frame / FPS) for frame in range(frames)])

    @cached_property
    def reference(self) -> np.ndarray:
        return render(self.character, at_ease(self.character), SIZE, SIZE)

    @cached_property
    def maps(self) -> list[Image.Image]:
        return [Image.fromarray(pose_map(pose, SIZE, SIZE)) for pose in self.poses]

    @cached_property
    def truth(self) -> np.ndarray:
        return np.stack([render(self.character, pose, SIZE, SIZE) for pose in self.poses])

    def animate(self, pipe: OVAnimateAnyonePipeline, maps=None, **settings) -> np.ndarray:
        """What the model makes of its pose maps or of others, uint8 (f, H, W, 3), always from the
        same noise.
        """
        generator = torch.Generator().manual_seed(0)
        reference = Image.fromarray(self.reference)
        frames = pipe(reference, maps or self.maps, generator=generator, **settings).frames[0]
        return np.stack([np.asarray(frame) for frame in frames])
