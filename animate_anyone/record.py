"""What a result was made from: kept in the result itself and, if wished, in a file of settings that
makes it again.

A result names its inputs without their folders; it may be passed on. A file of settings lies beside
them: its paths are relative to its own folder where that can be.
"""

import hashlib
import json
import logging
import os
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .base.files import file_facts, read_json, write_json
from .base.manifest import read_manifest
from .settings import AnimationSettings

logger = logging.getLogger(__name__)

FORMAT = 1  # raised whenever an older file would be read wrongly
INPUTS = ("reference", "video", "pose", "reference_keypoints", "from_latents")
WRITTEN = ("save_latents", "save_settings")


def make_record(pipe, settings: AnimationSettings) -> dict:
    """Settings, version, hashes of the inputs and of the networks, devices and precision."""
    paths = {name: getattr(settings, name) for name in INPUTS}
    return {
        "format": FORMAT,
        "version": own_version(),
        "models": None if pipe.model_dir is None else hash_of_models(pipe.model_dir),
        "devices": pipe.parts["denoising_unet"].devices,
        "precision": pipe.parts["denoising_unet"].precision,
        "inputs": {
            name: file_facts(Path(path))["sha256"]
            for name, path in paths.items()
            if path is not None and Path(path).is_file()
        },
        "settings": asdict(settings),
    }


def note_of(record: dict) -> str:
    """The record as a line of JSON, names without folders."""
    return json.dumps(record | {"settings": _renamed(record["settings"], lambda p: Path(p).name)})


def write_record(record: dict, path) -> Path:
    """The file of settings, see the module's docstring."""
    folder = os.path.dirname(os.path.realpath(path))

    def relative(name: str) -> str:
        try:
            return Path(os.path.relpath(os.path.realpath(name), folder)).as_posix()
        except ValueError:  # on another drive
            return os.path.realpath(name)

    write_json(Path(path), record | {"settings": _renamed(record["settings"], relative)})
    return Path(path)


def read_record(path) -> dict:
    """What `write_record` wrote, with paths that can be opened from here.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no file of settings.
    """
    record = read_json(Path(path))
    folder = Path(path).parent
    try:
        if record["format"] != FORMAT:
            raise ValueError(f"{path} must have format {FORMAT}, got {record['format']!r}")
        if not isinstance(record["inputs"], dict):
            raise TypeError("inputs")
        devices = record.get("devices", "CPU")
        if not all(isinstance(device, str) for device in devices):
            raise TypeError("devices")
        record["settings"] = _renamed(record["settings"], lambda name: str(folder / name))
        AnimationSettings.from_json(json.dumps(record["settings"]))
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path} is no file of settings ({error!r})") from error
    return record


def warn_of_changes(record: dict, pipe, settings: AnimationSettings) -> None:
    """Warn where a run by a record cannot give the same: another version, other networks, an input
    whose content has changed.
    """
    now = make_record(pipe, settings)
    for name in ("version", "models", "precision"):
        if now[name] != record.get(name):
            kept = record.get(name)
            logger.warning("%s: got %s, the settings were kept with %s", name, now[name], kept)
    for name, digest in now["inputs"].items():
        if record["inputs"].get(name, digest) != digest:
            logger.warning("%s has changed since the settings were kept", getattr(settings, name))


def own_version() -> str:
    """Of the package, as it is installed."""
    try:
        return version("animate-anyone")
    except PackageNotFoundError:
        return "unknown"


def hash_of_models(model_dir) -> str:
    """SHA-256 over the hashes of all networks."""
    parts = read_manifest(model_dir)["parts"]
    files = {name: part["files"] for name, part in sorted(parts.items())}
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def _renamed(settings: dict, rename) -> dict:
    """Settings with other paths."""
    paths = {
        name: rename(settings[name])
        for name in (*INPUTS, *WRITTEN)
        if settings.get(name) is not None
    }
    outputs = [output | {"path": rename(output["path"])} for output in settings["outputs"]]
    return settings | paths | {"outputs": outputs}
