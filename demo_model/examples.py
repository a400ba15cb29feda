"""Reference pictures, films and pose videos to try the small model with: held-out characters,
held-out motions. In the films move bodies that are built otherwise.

    python -m demo_model.examples

writes the files of demo_model/examples, which are shipped.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from animate_anyone.media.write import write_video
from animate_anyone.pose import Pose
from demo_model.drawing.character import HELD_OUT_SEEDS, random_character
from demo_model.drawing.motion import HELD_OUT_MOTIONS
from demo_model.drawing.performance import FPS, FRAMES
from demo_model.drawing.render import MAP_SIZE, pose_map, render
from demo_model.drawing.skeleton import at_ease, pose_at
from demo_model.drawing.widened import embodied
from demo_model.files import HOME

FOLDER = HOME / "examples"
CHARACTERS = {"curly": 0, "crown": 8, "spiky": 15, "kitten": 22}  # which of the held-out ones
MOTIONS = {
    "dance": "slow_dance",
    "wave": "fast_wave",
    "stretch": "mixture_102",
    "step": "mixture_105",
}
# Name of a film → which held-out character, its body, its size in the picture, its motion.
FILMS = {
    "lanky": (5, "lanky", 0.85, "slow_dance"),
    "stocky": (11, "stocky", 1.0, "mixture_107"),
}
LARGE = 256  # pixels: twice what the model works at


def write_examples(folder: Path) -> list[Path]:
    """A PNG per character, standing at ease, an mp4 of poses per motion, and an mp4 per film;
    returns what was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, index in CHARACTERS.items():
        character = random_character(HELD_OUT_SEEDS[index])
        picture = render(character, at_ease(character), LARGE, LARGE)
        paths.append(folder / f"{name}.png")
        Image.fromarray(picture).save(paths[-1], optimize=True)
    for name, motion in MOTIONS.items():
        actor = random_character(HELD_OUT_SEEDS[0])  # lends the motion its bones
        poses = [pose_at(actor, HELD_OUT_MOTIONS[motion], frame / FPS) for frame in range(FRAMES)]
        maps = [Image.fromarray(pose_map(pose, MAP_SIZE, MAP_SIZE)) for pose in poses]
        paths.append(write_video(maps, folder / f"{name}.mp4", FPS))
    for name in FILMS:
        pictures = map(Image.fromarray, film(name)[1])
        paths.append(write_video(pictures, folder / f"{name}.mp4", FPS))
    return paths


def film(name: str) -> tuple[list[Pose], list[np.ndarray]]:
    """The poses and the frames of a film."""
    index, body, size, motion = FILMS[name]
    actor = embodied(random_character(HELD_OUT_SEEDS[index]), body, size)
    poses = [pose_at(actor, HELD_OUT_MOTIONS[motion], frame / FPS) for frame in range(FRAMES)]
    return poses, [render(actor, pose, LARGE, LARGE) for pose in poses]


if __name__ == "__main__":
    for path in write_examples(FOLDER):
        print(path)
