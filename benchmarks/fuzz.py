"""Damaged files: each ends in a result or in one sentence, in time and in little memory.

    python -m benchmarks.fuzz --files 300

Pictures, videos, keypoints, settings and manifests are made whole, then cut short, with bits
flipped, with zeros, text or another file's content inside, with another ending, or with numbers in
their heads that claim much. Each is read by what the command line reads it with, in a process of
its own whose memory is limited. A second one must end as the first.
"""

import argparse
import json
import multiprocessing
import random
import resource
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from animate_anyone.base.manifest import read_manifest
from animate_anyone.media.images import load_image
from animate_anyone.media.read import open_film
from animate_anyone.media.sound import find_sound
from animate_anyone.media.write import WRITERS
from animate_anyone.pose.keypoints import Pose, PoseSequence
from animate_anyone.pose.keypoints_file import read_keypoints, write_keypoints
from animate_anyone.record import FORMAT, read_record
from animate_anyone.settings import AnimationSettings, Output
from benchmarks.common import table

SECONDS, GIGABYTES = 5, 1
SENTENCES = (ValueError, OSError)  # what the command line tells as one sentence


def read_film(path) -> None:
    """Frames and sound, as far as they go."""
    with open_film(path) as film:
        for _ in islice(film.frames, 50):
            pass
    find_sound(path)


READERS: dict[str, Callable] = {
    "picture": load_image,
    "video": read_film,
    "keypoints": read_keypoints,
    "settings": read_record,
    "manifest": lambda path: read_manifest(path.parent),
}


def make_whole(folder: Path) -> dict[str, list[Path]]:
    """Good files of each kind."""
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    pictures = [Image.fromarray(np.roll(noise, 4 * index, axis=1)) for index in range(12)]
    endings = ("png", "jpg", "webp", "avif", "heic", "tif", "bmp", "gif")
    images = [folder / f"picture.{ending}" for ending in endings]
    for path in images:
        pictures[0].save(path)
    videos = [
        WRITERS[ending](pictures, folder / f"video{ending}", 10)
        for ending in (".mp4", ".webm", ".gif")
    ]
    body = np.random.default_rng(0).random((18, 2))
    pose = Pose(body, np.ones(18), np.zeros((2, 21, 2)), np.zeros((68, 2)))
    sequence = PoseSequence([pose] * 3, 64, 48, Fraction(10))
    keypoints = write_keypoints(sequence, folder / "keypoints.json")
    settings = AnimationSettings(reference="a.png", pose="b.mp4", outputs=(Output("c.mp4"),))
    record = {"format": FORMAT, "inputs": {}, "settings": json.loads(settings.to_json())}
    (folder / "settings.json").write_text(json.dumps(record))
    manifest = {"format": 4, "parts": {"vae_encoder": {"files": {}}}, "config": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return {
        "picture": images,
        "video": videos,
        "keypoints": [keypoints],
        "settings": [folder / "settings.json"],
        "manifest": [folder / "manifest.json"],
    }


def damage(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """The content of a file with one kind of damage."""
    at = rng.randrange(len(content))
    changed = bytearray(content)
    kind = rng.randrange(8)
    if kind == 0:
        return content[:at]
    if kind == 1:
        for _ in range(rng.choice((1, 8, 100))):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    elif kind == 2:
        end = at + rng.randrange(1, 2000)
        changed[at:end] = bytes(len(changed[at:end]))
    elif kind == 3:
        changed[at:at] = b"not what was expected " * rng.choice((1, 50))
    elif kind == 4:
        changed[at:] = rng.choice(others)
    elif kind == 5:  # heads claim sizes in two, four or eight bytes
        start, width = rng.randrange(min(len(changed), 200)), rng.choice((2, 4, 8))
        changed[start : start + width] = b"\xff" * width
    elif kind == 6:
        return rng.randbytes(rng.choice((0, 1, 100, 10_000)))
    else:  # a number in a text, or a byte in the head
        digits = [index for index, byte in enumerate(content) if 48 <= byte < 58]
        where = rng.choice(digits or [at])
        changed[where : where + 1] = rng.choice(
            (b"-1", b"1e99", b"99999999999", b"null", b"[]", b'"x"', b"NaN")
        )
    return bytes(changed)


def judge(kind: str, path: Path) -> tuple[str, float]:
    """How reading a file ends, and after how many seconds."""
    start = time.perf_counter()
    try:
        READERS[kind](path)
        outcome = "read"
    except SENTENCES as error:
        outcome = "sentence" if str(error).strip() else "empty sentence"
    except BaseException as error:  # noqa: BLE001  whatever else comes out is what we look for
        outcome = f"{type(error).__name__}: {error}"[:200]
    return outcome, time.perf_counter() - start


def judge_apart(kind: str, path: Path, answers) -> None:
    """The same in a process of its own, with little memory."""
    resource.setrlimit(resource.RLIMIT_DATA, (GIGABYTES * 2**30, GIGABYTES * 2**30))
    answers.put(judge(kind, path))


def outcome_of(kind: str, path: Path) -> tuple[str, float]:
    """The same of a process that may hang or die."""
    answers = multiprocessing.Queue()
    process = multiprocessing.Process(target=judge_apart, args=(kind, path, answers))
    process.start()
    process.join(2 * SECONDS)
    if process.is_alive():
        process.kill()
        return "too slow", float(2 * SECONDS)
    if process.exitcode:
        return f"died with {process.exitcode}", 0.0
    return answers.get(timeout=SECONDS)


def fuzz(
    kind: str, whole: list[Path], count: int, folder: Path, outcome_of: Callable = outcome_of
) -> tuple[list[tuple], list[Path]]:
    """Outcomes of so many damaged files, and those that ended badly."""
    rng, outcomes, bad = random.Random(kind), [], []
    contents = [path.read_bytes() for path in whole]
    for index in range(count):
        path, content = whole[index % len(whole)], contents[index % len(whole)]
        place = folder / f"{kind}{index}"
        place.mkdir()
        name = path.name if rng.random() < 0.9 else f"{path.stem}{rng.choice(['.mp4', '.png', ''])}"
        name = path.name if kind == "manifest" else name
        damaged = place / name
        damaged.write_bytes(damage(content, rng, contents))
        outcome, seconds = outcome_of(kind, damaged)
        outcomes.append((outcome, seconds))
        if outcome not in ("read", "sentence") or seconds > SECONDS:
            bad.append(damaged)
    return outcomes, bad


def main() -> None:
    """Command line; prints a Markdown table, and ends with 1 where a file ended badly."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=300, help="of each kind")
    parser.add_argument("--keep", type=Path, help="folder for damaged files (default: none)")
    options = parser.parse_args()
    rows, failed = [], False
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for kind, whole in make_whole(folder).items():
            outcomes, bad = fuzz(kind, whole, options.files, folder)
            for path in bad:
                failed = True
                print(path, outcome_of(kind, path))
            counts = [sum(o == name for o, _ in outcomes) for name in ("read", "sentence")]
            slowest = max(seconds for _, seconds in outcomes)
            rows.append((kind, len(outcomes), *counts, len(bad), f"{slowest:.2f}"))
    header = ["kind", "files", "read", "one sentence", "anything else", "slowest, s"]
    print(table(header, rows))
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
