"""How exact the small pose network is on characters and motions that it has never seen.

    python -m demo_model.measuring.found_poses

Errors are mean distances in percent of the picture's side, as a film is searched: the character of
each run moves for a second, as it is and with another body.
"""

import argparse
from dataclasses import replace

import numpy as np
from PIL import Image

from animate_anyone.base.tables import table
from animate_anyone.convert.poses import convert_pose_models
from animate_anyone.pose.detect import open_detector
from animate_anyone.pose.keypoints import to_points
from demo_model.drawing.character import HELD_OUT_SEEDS, random_character
from demo_model.drawing.motion import HELD_OUT_MOTIONS
from demo_model.drawing.performance import FPS
from demo_model.drawing.render import render
from demo_model.drawing.skeleton import pose_at
from demo_model.drawing.widened import fitting, scaled, widened
from demo_model.files import MODELS, WEIGHTS

LARGE = 256  # pixels
PARTS = {"body": np.s_[:18], "hands": np.s_[18:60], "face": np.s_[60:128]}


def errors(detector, characters: int, other_bodies: bool) -> dict[str, float]:
    """Mean errors of body, hands and face, and the share of points that are missing."""
    apart, rng = [], np.random.default_rng(0)
    for index in range(characters):
        actor = random_character(HELD_OUT_SEEDS[index])
        if other_bodies:
            build = scaled(fitting(widened(actor.build, rng)), rng.uniform(0.7, 1))
            actor = replace(actor, build=build)
        motion = list(HELD_OUT_MOTIONS)[index % len(HELD_OUT_MOTIONS)]
        truth = [pose_at(actor, motion, frame / FPS) for frame in range(FPS)]
        frames = [Image.fromarray(render(actor, pose, LARGE, LARGE)) for pose in truth]
        for pose, people in zip(truth, detector.follow(frames), strict=True):
            exact = to_points(pose, (100, 100))
            found = to_points(people[0], (100, 100)) if people else np.full_like(exact, np.nan)
            apart.append(np.linalg.norm(found - exact, axis=1))
    means = {name: float(np.nanmean(np.array(apart)[:, part])) for name, part in PARTS.items()}
    return means | {"missing": float(np.isnan(apart).mean())}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--characters", type=int, default=40, help="held-out ones")
    options = parser.parse_args()
    convert_pose_models(WEIGHTS, MODELS)
    detector, rows = open_detector(MODELS), []
    for name, other in (("their own bodies", False), ("other bodies", True)):
        found = errors(detector, options.characters, other)
        cells = [f"{found[part]:.2f}" for part in PARTS]
        rows.append([name, *cells, f"{found['missing']:.1%}"])
    print(table(["", *(f"{part}, %" for part in PARTS), "missing"], rows))


if __name__ == "__main__":
    main()
