"""Fetches the published weights from the Hugging Face Hub: exactly the files that conversion needs.

`downloads.yaml` lists repositories, files and known sums. A file grows in `.download`, where a
later run continues it; when its size and hash are right it is entered in the record `download.json`
and moved to its place. What lies in its place is therefore whole, or somebody put it there: such
files are kept, and the known sums tell which of them are the published ones.
"""

import hashlib
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from omegaconf import OmegaConf
from tqdm.auto import tqdm

from ..base.files import file_facts, read_json, write_json
from ..base.layout import WEIGHT_ENDINGS
from ..base.lock import exclusive
from .hub import Remote, WeightFile, fetch, locate

logger = logging.getLogger(__name__)

TABLE = Path(__file__).with_name("downloads.yaml")
RECORD = "download.json"
STAGING = ".download"


def download_weights(weights_dir, dry_run: bool = False, table=None, pose=None) -> Path:
    """Fetch what conversion needs and is not there yet; says first what, and whether it fits.

    Args:
        weights_dir: folder in the layout of Moore-AnimateAnyone's `pretrained_weights`, made if it
            does not exist. Files that are there, with any ending that `convert` reads, are kept.
        dry_run: only say what would be fetched, and refuse if it does not fit; writes nothing.
        table: another list of files in the form of `downloads.yaml`.
        pose: name of a pose detector in the table, whose files are wanted instead.

    Returns:
        `weights_dir`. A second run makes no request.

    Raises:
        ConnectionError, PermissionError, FileNotFoundError: the Hub cannot be reached, wants a
            login, or no mirror has a file. What was fetched is kept, the next run continues.
        ValueError: a file has the wrong size or hash; it is set aside with the ending .bad.
        OSError: the disk has too little space, or the folder cannot be written.
    """
    weights_dir = Path(weights_dir)
    if weights_dir.exists() and not weights_dir.is_dir():
        raise FileExistsError(f"weights must be a folder, {weights_dir} is none")
    files = read_table(table or TABLE, pose)
    fallback = [file for file in files if file.fallback]
    _bring([file for file in files if not file.fallback], weights_dir, dry_run)
    if fallback and dry_run:
        names = ", ".join(file.name for file in fallback)
        tqdm.write(f"only if denoising_unet lacks spatial keys: {names}")
    elif fallback and _lacks_spatial_keys(weights_dir):
        tqdm.write("denoising_unet lacks spatial keys: they are taken from Stable Diffusion 1.5")
        _bring(fallback, weights_dir, dry_run)
    return weights_dir


def read_table(path: Path, pose: str | None = None) -> list[WeightFile]:
    """The files of a table in the form of `downloads.yaml`, in its order: those of a pose detector,
    or by default those of the networks that animate.
    """
    return [
        WeightFile(
            name=(Path(group["folder"]) / entry["path"]).as_posix(),
            path=entry["path"],
            mirrors=tuple((m["repo"], m["revision"] or "main") for m in group["mirrors"]),
            size=entry.get("size"),
            sha256=entry.get("sha256"),
            fallback=entry.get("fallback", False),
        )
        for group in OmegaConf.to_container(OmegaConf.load(path))
        if group.get("pose") == pose
        for entry in group["files"]
    ]


def _bring(files: list[WeightFile], weights_dir: Path, dry_run: bool) -> None:
    """The steps of a download: look, lock, look closely, plan, fetch, check and record."""
    record = read_record(weights_dir)
    states = {file: _state(file, weights_dir, record) for file in files}
    complete = "missing" not in states.values()
    nothing_to_do = complete and "unverified" not in states.values()
    if dry_run or nothing_to_do or complete and not os.access(weights_dir, os.W_OK):
        _plan(states, weights_dir)
        return
    with locked(weights_dir):
        record = read_record(weights_dir)  # another download may have ended meanwhile
        states = {file: _state(file, weights_dir, record, closely=True) for file in files}
        if record:
            write_json(weights_dir / RECORD, {"files": record})
        remotes = _plan(states, weights_dir)
        with _total_bar(remotes) as total:
            for remote in remotes:
                fetch(remote, total)
                verify_and_place(remote, weights_dir, record)
        shutil.rmtree(weights_dir / STAGING, ignore_errors=True)


def _state(file: WeightFile, weights_dir: Path, record: dict, closely: bool = False) -> str:
    """What is there of a file: "missing", "verified" (size and time are as recorded) or
    "unverified". `closely`, an unverified file is hashed if its hash is known; a match is recorded.

    Raises:
        ValueError: a recorded file has another content now; it is set aside.
    """
    place, entry = _place(file, weights_dir), record.get(file.name, {})
    if place is None:
        return "missing"
    if place != weights_dir / file.name:
        return "unverified"
    if facts(place).items() <= entry.items():
        return "verified"
    expected = entry.get("sha256", file.sha256)
    if not closely or not expected or not entry and file.size not in (None, place.stat().st_size):
        return "unverified"
    tqdm.write(f"checking {place}")
    got = file_facts(place)["sha256"]
    if got == expected:
        record[file.name] = entry | facts(place) | {"sha256": got}
        return "verified"
    if entry:
        raise _set_aside(place, place, f"sha256 {got}, expected {expected}")
    return "unverified"


def _place(file: WeightFile, weights_dir: Path) -> Path | None:
    """Where a file lies, under its own name or with another ending that `convert` reads."""
    path = weights_dir / file.name
    endings = WEIGHT_ENDINGS if path.suffix in WEIGHT_ENDINGS else ()
    places = [path, *(path.with_suffix(ending) for ending in endings)]
    return next((place for place in places if place.is_file()), None)


def _plan(states: dict[WeightFile, str], weights_dir: Path) -> list[Remote]:
    """Say what is there, what is missing and whether it fits, before a byte is fetched. All missing
    files are asked for at once: a repository that wants a login shows now and not after hours.

    Raises:
        OSError: the missing files do not fit on the disk.
    """
    found = ((file, _place(file, weights_dir)) for file in states if states[file] != "missing")
    places = {file: place for file, place in found if place is not None}
    size = sum(place.stat().st_size for place in places.values())
    tqdm.write(f"{weights_dir}: {len(places)} of {len(states)} files are there, {readable(size)}")
    for file, place in places.items():
        if states[file] == "unverified":
            tqdm.write(f"  {place.relative_to(weights_dir)} is kept as it is, unverified")
            _warn_of_size(file, place)
    remotes = [locate(file, weights_dir / STAGING) for file in states if file not in places]
    for remote in remotes:
        part = f", {readable(remote.done)} of it is there" if remote.done else ""
        tqdm.write(f"  {remote.file.name}: {readable(remote.size)} from {remote.repo}{part}")
    tell_need(weights_dir, sum(remote.size - remote.done for remote in remotes))
    return remotes


def tell_need(weights_dir: Path, size: int, besides: int = 0) -> None:
    """Say how many bytes will be fetched; others are written besides.

    Raises:
        OSError: they do not fit on the disk.
    """
    need = size + besides
    parents = [weights_dir.absolute(), *weights_dir.absolute().parents]
    free = shutil.disk_usage(next(path for path in parents if path.exists())).free
    if need > free:
        raise OSError(
            f"{weights_dir} needs {readable(need)} more, its disk has {readable(free)} free"
        )
    if size:
        tqdm.write(f"to fetch: {readable(size)}; free on the disk: {readable(free)}")


def _warn_of_size(file: WeightFile, place: Path) -> None:
    """A file cut short, a Git-LFS pointer, or somebody's own weights: we cannot know."""
    size, same_format = place.stat().st_size, place.name == Path(file.name).name
    if same_format and file.size not in (None, size):
        message = "%s has %d bytes, the published file has %d: delete it if you want that one"
        logger.warning(message, place, size, file.size)


def _total_bar(remotes: list[Remote]) -> tqdm:
    """Bytes of all files; those that an earlier run fetched count as done."""
    size, done = sum(remote.size for remote in remotes), sum(remote.done for remote in remotes)
    options = {"unit": "B", "unit_scale": True, "disable": not remotes}
    return tqdm(desc="Total", total=size, initial=done, **options)


def verify_and_place(remote: Remote, weights_dir: Path, record: dict) -> None:
    """Check a fetched file, record it and move it to its place.

    Raises:
        ValueError: size or hash are not those announced; the file is set aside.
    """
    partial, place = remote.partial, weights_dir / remote.file.name
    place.parent.mkdir(parents=True, exist_ok=True)
    if remote.done != remote.size:
        raise _set_aside(partial, place, f"{remote.done} bytes, expected {remote.size}")
    sha256 = file_facts(partial)["sha256"]
    got = sha256 if len(remote.etag) == 64 else _git_id(partial)
    if got != remote.etag:
        raise _set_aside(partial, place, f"hash {got}, expected {remote.etag}")
    source = {"sha256": sha256, "repo": remote.repo, "revision": remote.revision}
    record[remote.file.name] = facts(partial) | source
    # Before the move, so that the file is never without it.
    write_json(weights_dir / RECORD, {"files": record})
    os.replace(partial, place)


def _set_aside(path: Path, place: Path, problem: str) -> ValueError:
    """Rename a bad file, so that nothing takes it for whole; returns the error to raise."""
    bad = place.with_name(f"{place.name}.bad")
    os.replace(path, bad)
    return ValueError(f"{place} has {problem}; it is now {bad.name}, run again to fetch it anew")


@contextmanager
def locked(weights_dir: Path) -> Iterator[None]:
    """Make the folder and let one download at a time into it; raises OSError if it is read-only."""
    with ExitStack() as stack:
        try:
            weights_dir.mkdir(parents=True, exist_ok=True)
            stack.enter_context(exclusive(weights_dir, "download"))
        except OSError as error:
            raise OSError(f"{weights_dir} cannot be written: {error.strerror}") from error
        yield


def read_record(weights_dir: Path) -> dict:
    """File → size, time, sha256 and source of each that was verified. A damaged one is empty."""
    try:
        files = read_json(weights_dir / RECORD)["files"]
        if not all(re.fullmatch("[0-9a-f]{64}", entry["sha256"]) for entry in files.values()):
            raise ValueError("a sha256 is none")
        return dict(files)
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("%s is damaged and not used (%s)", weights_dir / RECORD, error)
        return {}


def _lacks_spatial_keys(weights_dir: Path) -> bool:
    """Whether conversion would still miss SD 1.5's weights, the only ones that can be missing."""
    from ..convert.checkpoints import source_files

    try:
        source_files("denoising_unet", weights_dir)
    except FileNotFoundError:
        return True
    return False


def facts(path: Path) -> dict:
    """What tells without reading it whether a file has changed."""
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _git_id(path: Path) -> str:
    """What git calls the content of a file, and the Hub's ETag of small ones."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def readable(size: int) -> str:
    """Bytes as a person reads them."""
    return f"{tqdm.format_sizeof(size)}B"
