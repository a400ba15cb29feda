"""What the fit of poses is worth in the small model's world, from film to video.

    python -m demo_model.measuring.films

Films of other bodies drive held-out characters. Their poses are found by the small pose network, in
the film and in the reference, and fitted in each way; beside them stand the true poses of the film,
fitted, and the character's own. The truth is drawn for comparison.
"""

import argparse
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from animate_anyone.base.tables import table
from animate_anyone.convert.convert import convert_models
from animate_anyone.convert.poses import convert_pose_models
from animate_anyone.media.images import fit_image
from animate_anyone.media.write import write_video
from animate_anyone.pose.align import align_poses
from animate_anyone.pose.detect import open_detector
from animate_anyone.pose.film import draw_poses, find_pose, find_poses
from animate_anyone.pose.keypoints import PoseSequence
from animate_anyone.run.pipeline import OVAnimateAnyonePipeline
from demo_model.drawing.character import HELD_OUT_SEEDS, random_character
from demo_model.drawing.motion import HELD_OUT_MOTIONS
from demo_model.drawing.performance import FPS, FRAMES, Performance
from demo_model.drawing.render import SIZE, render
from demo_model.drawing.skeleton import at_ease, pose_at
from demo_model.drawing.widened import BODIES, embodied
from demo_model.files import MODELS, WEIGHTS
from demo_model.measuring.measures import measure

LARGE = 256  # pixels of films and references
SMALLER = 0.8  # size of the film's body in its picture
POSES = "off", "global", "limbs", "true film poses, limbs", "character's own poses"


def driven(pipe, detector, index: int, body: str, folder: Path) -> dict[str, dict]:
    """Measures of a character driven by a film, for each kind of `POSES`."""
    motion = list(HELD_OUT_MOTIONS)[index % len(HELD_OUT_MOTIONS)]
    show = Performance.of(index, motion)
    actor = embodied(random_character(HELD_OUT_SEEDS[index + 50]), body, SMALLER)
    truth = [pose_at(actor, motion, frame / FPS) for frame in range(FRAMES)]
    film = write_video(
        (Image.fromarray(render(actor, pose, LARGE, LARGE)) for pose in truth),
        folder / "film.mp4",
        FPS,
    )
    reference = Image.fromarray(render(show.character, at_ease(show.character), LARGE, LARGE))
    own, found = find_pose(reference, detector), find_poses(film, detector)
    exact = PoseSequence(truth, LARGE, LARGE, Fraction(FPS))
    size = reference.size
    sequences = {how: align_poses(found, own, size, how) for how in ("off", "global", "limbs")}
    sequences[POSES[3]] = align_poses(exact, at_ease(show.character), size, "limbs")
    measures = {POSES[4]: measure(show, show.animate(pipe))}
    for name, sequence in sequences.items():
        maps = [fit_image(frame, SIZE, SIZE) for frame in draw_poses(sequence)]
        measures[name] = measure(show, show.animate(pipe, maps))
    return measures


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--characters", type=int, default=8, help="held-out ones")
    options = parser.parse_args()
    convert_pose_models(WEIGHTS, MODELS)
    pipe = OVAnimateAnyonePipeline.from_pretrained(convert_models(WEIGHTS, MODELS))
    detector, runs = open_detector(MODELS), []
    with tempfile.TemporaryDirectory() as folder:
        for index in range(options.characters):
            body = list(BODIES)[index % len(BODIES)]
            runs.append(driven(pipe, detector, index, body, Path(folder)))
    names = "PSNR", "figure PSNR"
    rows = [[how, *(f"{np.mean([r[how][n] for r in runs]):.2f}" for n in names)] for how in POSES]
    print(table(["poses", *(f"{name}, dB" for name in names)], rows))


if __name__ == "__main__":
    main()
