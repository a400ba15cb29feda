r"""How well the poses of one body are fitted to another, beside the ways of other projects.

    python -m benchmarks.fit

Skeletons of the small model's characters, with limbs, trunk, shoulders, hips and neck drawn anew
over wide ranges; the body of the film is also larger or smaller, and elsewhere. The truth is the
reference's own skeleton in the same motion. Errors are the mean distance of the 18 points of the
body, in percent of its height. The other ways are our own, from their descriptions.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from animate_anyone.base.tables import table
from animate_anyone.pose.align import LENGTHS, at, fitted_points, measure, rebuilt
from animate_anyone.pose.gaps import completed
from animate_anyone.pose.keypoints import ANKLES, BODY_POINTS, HIPS, NECK, Pose, to_points
from demo_model.drawing.character import HELD_OUT_SEEDS, Build, random_character
from demo_model.drawing.motion import HELD_OUT_MOTIONS, Joints
from demo_model.drawing.performance import FPS, FRAMES
from demo_model.drawing.skeleton import posed
from demo_model.drawing.widened import fitting, scaled, shifted, widened

SIDE = 512  # pixels of the picture
BODIES = 12
MOTIONS = "mixture_100", "mixture_102", "mixture_104", "mixture_106", "slow_dance", "fast_wave"
SCALES, SHIFT = (0.6, 1.2), 0.15  # of the film's body; share of the picture
LEGS = [9, 10, 12, 13]


@dataclass(frozen=True)
class Case:
    """A film of one body, a picture of another, and how that one would move. Points in pixels."""

    film: np.ndarray  # (f, 128, 2)
    reference: np.ndarray  # (128, 2)
    truth: np.ndarray  # (f, 128, 2)
    height: float

    def error(self, fitted: np.ndarray) -> float:
        """Mean distance of the body's points from the truth, in percent of the height."""
        apart = np.linalg.norm((fitted - self.truth)[:, :BODY_POINTS], axis=-1)
        return 100 * float(np.nanmean(apart)) / self.height


def cases(bodies: int = BODIES, seed: int = 0) -> Iterator[Case]:
    """Every body's film for every other body, in all motions."""
    rng = np.random.default_rng(seed)
    builds = [
        fitting(widened(random_character(HELD_OUT_SEEDS[index]).build, rng))
        for index in range(bodies)
    ]
    actors = [(scaled(b, rng.uniform(*SCALES)), rng.uniform(-SHIFT, SHIFT, 2)) for b in builds]
    for motion in MOTIONS:
        joints = [HELD_OUT_MOTIONS[motion].joints(frame / FPS) for frame in range(FRAMES)]
        truths = [points_of([posed(build, j) for j in joints]) for build in builds]
        for index, (actor, by) in enumerate(actors):
            film = points_of([shifted(posed(actor, j), by) for j in joints])
            for other, build in enumerate(builds):
                if other != index:
                    reference = points_of([posed(build, Joints())])[0]
                    yield Case(film, reference, truths[other], SIDE * height(build))


def points_of(poses: list[Pose]) -> np.ndarray:
    """Points (f, 128, 2) in pixels."""
    return np.stack([to_points(pose, (SIDE, SIDE)) for pose in poses])


def height(build: Build) -> float:
    """From the soles to the top of the head."""
    return build.foot + build.leg + build.trunk + build.neck + build.head


def ours(alignment: str) -> Callable[[Case], np.ndarray]:
    """Our fit."""

    def way(case: Case) -> np.ndarray:
        fit = measure(case.film, case.reference, alignment)
        return fitted_points(case.film, case.reference, fit)

    return way


def off(case: Case) -> np.ndarray:
    """As the film shows it."""
    return case.film


def musepose(case: Case) -> np.ndarray:
    """MusePose: each limb by the ratio of the first frame, the neck laid onto the reference's."""
    return led_by_neck(case, first_ratios(case))


def mimicmotion(case: Case) -> np.ndarray:
    """MimicMotion: one scale and shift of y by least squares over all frames; x by the same."""
    seen = np.isfinite(case.film[..., :BODY_POINTS, 1]) & np.isfinite(
        case.reference[:BODY_POINTS, 1]
    )
    y = case.film[:, :BODY_POINTS, 1][seen]
    target = np.broadcast_to(case.reference[:BODY_POINTS, 1], seen.shape)[seen]
    scale, shift = np.polyfit(y, target, 1)
    x = case.reference[HIPS, 0].mean() - scale * np.nanmean(case.film[:, HIPS, 0])
    return case.film * scale + [x, shift]


def unianimate(case: Case) -> np.ndarray:
    """UniAnimate: ratios of the first frame, where its shoulders' signed width counts."""
    shoulder = (case.reference[5] - case.reference[2])[0] / (case.film[0, 5] - case.film[0, 2])[0]
    shoulder = float(shoulder) if np.isfinite(shoulder) else 1.0
    return led_by_neck(case, first_ratios(case) | {"shoulder": shoulder, "hip": shoulder})


def wan(case: Case) -> np.ndarray:
    """Wan2.2-Animate: angles kept, lengths by the ratios of the first frame, the larger of a
    pair; on the ground of the first frame if ankles are seen.
    """
    built = rebuilt(completed(case.film), first_ratios(case))
    if np.isfinite(case.reference[ANKLES]).all():
        lower = built[0, ANKLES, 1].max()
        start = np.array([at(built, HIPS)[0, 0], lower])
        goal = np.array([at(case.reference, HIPS)[0], case.reference[ANKLES, 1].max()])
    else:
        start, goal = built[0, NECK], case.reference[NECK]
    return built + (goal - start)


def first_ratios(case: Case) -> dict[str, float]:
    """The ratios of the lengths in the first frame; 1 where one is missing."""
    lengths, own = first_lengths(case.film[0]), first_lengths(case.reference)
    ratios = {name: own[name] / lengths[name] for name in LENGTHS}
    return {name: float(r) if np.isfinite(r) else 1.0 for name, r in ratios.items()}


def led_by_neck(case: Case, ratios: dict[str, float]) -> np.ndarray:
    """The film's skeleton by ratios, its first neck laid onto the reference's."""
    whole = completed(case.film)
    built = rebuilt(whole, ratios)
    way = (whole[:, NECK] - whole[0, NECK]) * ratios["trunk"]
    return built + (case.reference[NECK] + way - built[:, NECK])[:, None]


def first_lengths(points: np.ndarray) -> dict[str, float]:
    """Lengths in one frame, of the longer side."""
    found = {}
    for name, sides in LENGTHS.items():
        both = [np.linalg.norm(at(points, start) - at(points, end)) for start, end in sides]
        found[name] = np.fmax.reduce(both)
    return found


WAYS: dict[str, Callable[[Case], np.ndarray]] = {
    "off": off,
    "global": ours("global"),
    "limbs": ours("limbs"),
    "MusePose": musepose,
    "MimicMotion": mimicmotion,
    "UniAnimate": unianimate,
    "Wan2.2-Animate": wan,
}


def plain(case: Case, _rng) -> Case:
    """Everything is seen."""
    return case


def missing(case: Case, rng) -> Case:
    """A fifth of the film's points is missing at random."""
    film = case.film.copy()
    film[rng.random(film.shape[:2]) < 0.2] = np.nan
    return replace(case, film=film)


def side_on(case: Case, _rng) -> Case:
    """In the first second the performer stands side-on."""
    film, truth = case.film.copy(), case.truth.copy()
    for points in (film, truth):
        middle = at(points[:FPS], HIPS)[:, :1]
        points[:FPS, :, 0] = middle + (points[:FPS, :, 0] - middle) / 3
    return replace(case, film=film, truth=truth)


def no_legs(case: Case, _rng) -> Case:
    """The reference's legs are outside of its picture."""
    reference = case.reference.copy()
    reference[LEGS] = np.nan
    return replace(case, reference=reference)


CONDITIONS = {
    "all seen": plain,
    "a fifth missing": missing,
    "first second side-on": side_on,
    "reference without legs": no_legs,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bodies", type=int, default=BODIES)
    options = parser.parse_args()
    all_cases, rng, rows = list(cases(options.bodies)), np.random.default_rng(0), []
    for name, condition in CONDITIONS.items():
        changed = [condition(case, rng) for case in all_cases]
        errors = [np.mean([case.error(way(case)) for case in changed]) for way in WAYS.values()]
        rows.append([name, *(f"{error:.1f}" for error in errors)])
    print(table(["", *WAYS], rows))


if __name__ == "__main__":
    main()
