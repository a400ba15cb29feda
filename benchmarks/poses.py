r"""How exact, how fast and how large the detectors of poses are.

    python -m benchmarks.poses --models build/pose_models
    python -m benchmarks.poses --models build/pose_models --film FILM \
        --golden tests/golden/pose_detection/film.json

Exactness: BlazePose against what MediaPipe itself finds in scikit-image's astronaut and in the
frames of a film that a golden file names. Errors are distances in percent of the person's height,
which is that of MediaPipe's body points with a visibility above 0.5; only those points of the body
are compared. Speed: a performer followed through a film, decoding included, each run in a process
of its own; a shorter film begins again. Processor time tells more than frames per second on a
machine that does other work, too.
"""

import argparse
import itertools
import json
import multiprocessing
import resource
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image
from skimage.data import astronaut

from animate_anyone.base.tables import table
from animate_anyone.pose.blazepose import BODY_OF_33, FACE_OF_468
from animate_anyone.pose.detect import DETECTORS, open_detector
from animate_anyone.pose.detector import NECK
from animate_anyone.pose.keypoints import Pose
from animate_anyone.pose.track import follow_performer

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden" / "pose_detection"
KINDS = "body", "hands", "face"
VISIBLE = 0.5


def main() -> None:
    """Print both tables."""
    options = parse()
    pairs = [(Image.fromarray(astronaut()), golden) for golden in read(GOLDEN / "astronaut.json")]
    if options.golden:
        golden = read(options.golden)
        pairs += zip(frames_at(options.film, [entry["frame"] for entry in golden]), golden)
    detector = open_detector(options.models, options.detector, options.device)
    print_exactness(compare((detector(picture), golden) for picture, golden in pairs))
    if options.film:
        runs = itertools.product(options.sizes, options.frames)
        print_speed([(*run, *measure_alone(options, *run)) for run in runs])


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--models", type=Path, required=True, help="folder that convert wrote")
    add("--detector", choices=DETECTORS, help="default: the one that is there")
    add("--device", default="CPU")
    add("--film", type=Path, help="a film of a person; none: astronaut only, without speed")
    add("--golden", type=Path, help="what MediaPipe finds in some of the film's frames")
    add("--frames", type=int, nargs="+", default=[200, 2000], help="lengths of the runs")
    add("--sizes", nargs="+", default=["418x740", "1080x1920"], help="frames are scaled to these")
    return parser.parse_args()


def read(path: Path) -> list[dict]:
    """A golden file: a list of pictures."""
    return json.loads(path.read_text(encoding="utf-8"))


def decode(film: Path, size: tuple[int, int] | None = None) -> Iterator[Image.Image]:
    """The frames of a film, scaled to (width, height)."""
    width, height = size or (None, None)
    with av.open(str(film)) as container:
        for frame in container.decode(video=0):
            yield frame.to_image(width=width, height=height)


def frames_at(film: Path, numbers: Iterable[int]) -> list[Image.Image]:
    """Some frames of a film."""
    wanted = set(numbers)
    return [frame for number, frame in enumerate(decode(film)) if number in wanted]


def compare(pairs: Iterable[tuple[list[Pose], dict]]) -> dict:
    """Hold the people found in pictures against MediaPipe's one person of each.

    Returns:
        "pictures", "missed", and of hands "wanted", "found", "besides": how many there are, how
        many MediaPipe found, how many of them were found here, and how many others. "body",
        "hands", "face": distances of all points that both have, in shares of the person's height.
    """
    counts = dict.fromkeys(("pictures", "missed", "wanted", "found", "besides"), 0)
    distances = {kind: [] for kind in KINDS}
    for people, golden in pairs:
        counts["pictures"] += 1
        if not people:
            counts["missed"] += 1
            continue
        expected, scale = golden_pose(golden), golden_scale(golden)
        person = min(people, key=lambda one: np.nanmedian(apart(one.body, expected.body, scale)))
        for kind in KINDS:
            values = apart(getattr(person, kind), getattr(expected, kind), scale)
            distances[kind].append(values[np.isfinite(values)])
        theirs, ours = (np.isfinite(pose.hands[:, 0, 0]) for pose in (expected, person))
        counts["wanted"] += theirs.sum()
        counts["found"] += (theirs & ours).sum()
        counts["besides"] += (ours & ~theirs).sum()
    return counts | {kind: np.concatenate(values) for kind, values in distances.items()}


def golden_pose(golden: dict) -> Pose:
    """What MediaPipe found in a picture, without points that it hardly sees; the neck is ours."""
    points = np.array(golden["pose"])[BODY_OF_33]
    points[NECK, 2] = 0
    body = np.where(points[:, 2:] > VISIBLE, points[:, :2], np.nan)
    hands = [golden[f"{side}_hand"] or np.full((21, 2), np.nan) for side in ("left", "right")]
    face = np.array(golden["face"] or np.full((468, 2), np.nan))[FACE_OF_468]
    return Pose(body, points[:, 2], np.array(hands), face)


def golden_scale(golden: dict) -> np.ndarray:
    """Width and height of a picture (2,), as multiples of the person's height."""
    points, size = np.array(golden["pose"]), np.array([golden["width"], golden["height"]])
    return size / (np.ptp(points[points[:, 2] > VISIBLE, 1]) * size[1])


def apart(some: np.ndarray, others: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Distances of points (..., 2)."""
    return np.linalg.norm((some - others) * scale, axis=-1)


def print_exactness(result: dict) -> None:
    """A table of the distances, and what was missed."""
    print(f"{result['missed']} of {result['pictures']} people missed")
    print(f"{result['found']} of {result['wanted']} hands found, {result['besides']} besides\n")
    rows = []
    for kind in KINDS:
        cells = np.percentile(100 * result[kind], (50, 95, 100)) if result[kind].size else ()
        rows.append((kind, *(f"{cell:.2f}" for cell in cells)))
    print(table(["% of height", "median", "95 % below", "largest"], rows))


def measure(options: argparse.Namespace, size: str, count: int) -> tuple[int, float, float, float]:
    """Follow one performer through `count` frames: how many show somebody, frames per second,
    seconds of processor time per frame, peak memory of the process in MB.
    """
    detector = open_detector(options.models, options.detector, options.device)
    width, height = map(int, size.split("x"))
    shape = width, height
    rounds = itertools.chain.from_iterable(decode(options.film, shape) for _ in itertools.count())
    next(detector.follow(rounds))  # compiles
    start, before = time.perf_counter(), time.process_time()
    people = detector.follow(itertools.islice(rounds, count))
    sequence = follow_performer(people, shape, Fraction(30))
    seen = count - sum(last - first + 1 for first, last in sequence.unseen)
    seconds, busy = time.perf_counter() - start, time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return seen, count / seconds, busy / count, peak


def measure_alone(*arguments) -> tuple:
    """`measure` in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measure, *arguments).result()


def print_speed(rows: list[tuple]) -> None:
    """A table of `measure`'s results."""
    header = ["size", "frames", "with somebody", "frames/s", "processor ms/frame", "peak MB"]
    shown = [
        (size, count, seen, f"{rate:.1f}", f"{1000 * busy:.0f}", f"{peak:.0f}")
        for size, count, seen, rate, busy, peak in rows
    ]
    print("\n" + table(header, shown))


if __name__ == "__main__":
    main()
