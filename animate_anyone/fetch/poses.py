"""Fetches the detectors of poses: DWPose from the Hugging Face Hub, BlazePose out of a wheel.

MediaPipe publishes its networks inside a Python package. pip fetches that wheel as a file of data,
on every system: it is checked, a few files are taken out, and it is deleted; nothing is installed.
All of pip's settings apply, such as `PIP_INDEX_URL` for a mirror. pip begins an interrupted file
anew.
"""

import errno
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from omegaconf import OmegaConf
from tqdm.auto import tqdm

from ..base.files import file_facts, write_json
from .download import (
    RECORD,
    STAGING,
    TABLE,
    download_weights,
    facts,
    locked,
    read_record,
    readable,
    tell_need,
)

LOG = "pip.log"
POLL = 0.1  # seconds between two looks at how much has come
UNREACHABLE = re.compile(
    r"connection error|connection broken|timed out|IncompleteRead|incomplete-download"
    r"|confirming the ssl certificate",
    re.IGNORECASE,
)


def download_pose(weights_dir, detector: str, dry_run: bool = False, table=None) -> Path:
    """Fetch the networks of a detector and say first what, and whether it fits.

    Args:
        weights_dir: folder that receives `DWPose/` or `BlazePose/`; files that are there are kept.
        detector: "dwpose" or "blazepose".
        dry_run: only say what would be fetched, and refuse if it does not fit; writes nothing.
        table: another list of files in the form of `downloads.yaml`.

    Returns:
        `weights_dir`. A second run makes no request.

    Raises:
        ConnectionError, FileNotFoundError: the package index or the Hub cannot be reached, or has
            not what is wanted.
        ValueError: the detector is unknown, or a file has the wrong hash.
        OSError: the disk has too little space, the folder cannot be written, or pip is missing.
    """
    groups = OmegaConf.to_container(OmegaConf.load(table or TABLE))
    groups = {group["pose"]: group for group in groups if "pose" in group}
    if detector not in groups:
        raise ValueError(f"pose must be one of {', '.join(groups)}, got {detector!r}")
    if "wheel" not in groups[detector]:
        return download_weights(weights_dir, dry_run, table, pose=detector)
    weights_dir = Path(weights_dir)
    if weights_dir.exists() and not weights_dir.is_dir():
        raise FileExistsError(f"weights must be a folder, {weights_dir} is none")
    if _plan(groups[detector], weights_dir) and not dry_run:
        with locked(weights_dir):
            missing = _missing(groups[detector], weights_dir)  # another download may have ended
            if missing:
                _bring(missing, groups[detector]["wheel"], weights_dir)
    return weights_dir


def _missing(group: dict, weights_dir: Path) -> dict[str, dict]:
    """Name in the weights folder → entry of the table, of the files that are not there."""
    names = {f"{group['folder']}/{Path(entry['path']).name}": entry for entry in group["files"]}
    return {name: entry for name, entry in names.items() if not (weights_dir / name).is_file()}


def _plan(group: dict, weights_dir: Path) -> dict[str, dict]:
    """Say what is there, what is missing and whether it fits; see `_missing`."""
    missing, total = _missing(group, weights_dir), len(group["files"])
    tqdm.write(f"{weights_dir}: {total - len(missing)} of {total} files are there")
    for entry in group["files"]:
        place = weights_dir / group["folder"] / Path(entry["path"]).name
        if place.is_file() and file_facts(place)["sha256"] != entry["sha256"]:
            tqdm.write(f"  {place.relative_to(weights_dir)} is kept as it is, unverified")
    if missing:
        wheel = group["wheel"]
        tqdm.write(f"  {', '.join(missing)}: out of {wheel['package']}, {readable(wheel['size'])}")
        taken_out = sum(entry["size"] for entry in missing.values())
        tell_need(
            weights_dir, wheel["size"], wheel["size"] + taken_out
        )  # pip copies the wheel once
    return missing


def _bring(missing: dict[str, dict], wheel: dict, weights_dir: Path) -> None:
    """Fetch the wheel, check it, take the missing files out, record them and move them."""
    staging = weights_dir / STAGING / "wheel"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        path = _fetch(wheel, staging)
        got = file_facts(path)["sha256"]
        if got != wheel["sha256"]:
            raise ValueError(
                f"{path.name} has sha256 {got}, expected {wheel['sha256']}; it is not used: check"
                " which package index pip is set to and run again"
            )
        record = read_record(weights_dir)
        for name, entry in missing.items():
            _take_out(name, entry, path, wheel, weights_dir, record)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(wheel) from error
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if staging.parent.is_dir() and not any(staging.parent.iterdir()):
            staging.parent.rmdir()


def _fetch(wheel: dict, staging: Path) -> Path:
    """Let pip put the wheel into a folder, and show how it grows."""
    with (staging / LOG).open("w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            _pip(wheel, staging),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ
            | {"TMPDIR": str(staging.absolute())},  # on the same disk, deleted with it
        )
        try:
            _watch(process, staging, wheel["size"])
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        output = log.read()
    found = list(staging.glob("*.whl"))
    if process.returncode or not found:
        raise _fault(output, wheel)
    return found[0]


def _pip(wheel: dict, folder: Path) -> list[str]:
    """A command that fetches the wheel, whatever system and Python it runs on. What pip could not
    reach it tells only when asked twice.
    """
    return [
        *(sys.executable, "-m", "pip", "download", wheel["package"], "--dest", str(folder)),
        *("--no-deps", "--only-binary=:all:", "--platform", wheel["platform"]),
        *("--implementation", "cp", "--python-version", wheel["abi"].removeprefix("cp")),
        *("--abi", wheel["abi"], "--no-cache-dir", "--no-input", "-vv"),
        *("--progress-bar", "off", "--disable-pip-version-check"),
    ]


def _watch(process: subprocess.Popen, folder: Path, size: int) -> None:
    """Wait for pip, with a bar of the bytes in its folder."""
    with tqdm(desc="Wheel", total=size, unit="B", unit_scale=True) as bar:
        while process.poll() is None:
            time.sleep(POLL)
            bar.update(max(min(_size(folder), size) - bar.n, 0))
        if process.returncode == 0:
            bar.update(size - bar.n)


def _size(folder: Path) -> int:
    """Bytes of all wheels in a folder, whole or not; files may vanish meanwhile."""
    sizes = []
    for path in folder.rglob("*.whl"):
        try:
            sizes.append(path.stat().st_size)
        except FileNotFoundError:
            continue
    return max(sizes, default=0)


def _fault(output: str, wheel: dict) -> OSError:
    """One sentence from what pip said."""
    package = wheel["package"]
    if "No module named pip" in output:
        return FileNotFoundError(
            f"{package} is fetched by pip, which {sys.executable} lacks: run it with -m ensurepip"
        )
    if "No space left on device" in output or "Disk quota exceeded" in output:
        return _disk_full(wheel)
    if UNREACHABLE.search(output):
        return ConnectionError(
            f"{package}: the package index cannot be reached; check the network and run again"
        )
    if "No matching distribution" in output:
        return FileNotFoundError(
            f"{package}: the package index has no wheel for {wheel['abi']} on {wheel['platform']};"
            " name one that has it in PIP_INDEX_URL, such as https://pypi.org/simple"
        )
    errors = re.findall(r"^ERROR: (.*)", output, re.MULTILINE) or output.splitlines()[-1:]
    return OSError(f"{package}: pip failed ({' '.join(errors)})")


def _disk_full(wheel: dict) -> OSError:
    return OSError(f"{wheel['package']}: the disk is full; make room and run again")


def _take_out(name: str, entry: dict, path: Path, wheel: dict, weights_dir: Path, record: dict):
    """One file of the wheel to its place, recorded first, so that it is never there without."""
    partial, place = path.parent / Path(name).name, weights_dir / name
    with zipfile.ZipFile(path) as archive, partial.open("wb") as file:
        file.write(archive.read(f"{wheel['folder']}/{entry['path']}"))
        file.flush()
        os.fsync(file.fileno())
    got = file_facts(partial)["sha256"]
    if got != entry["sha256"]:
        raise ValueError(f"{name} has sha256 {got} in {path.name}, expected {entry['sha256']}")
    place.parent.mkdir(parents=True, exist_ok=True)
    source = {"sha256": got, "repo": wheel["package"], "revision": wheel["sha256"]}
    record[name] = facts(partial) | source
    write_json(weights_dir / RECORD, {"files": record})
    os.replace(partial, place)
