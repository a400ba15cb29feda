"""The manifest beside the IRs: what they were made from and whether they may be reused.

A part's IR is trusted when its *recipe* (hashes of the source files, compression, library versions)
and the hashes of its own two files are those of the manifest, not because a file exists.
"""

import hashlib
from pathlib import Path

from .config import PART_NAMES, GenerationConfig, UNetConfig, read_json, write_json

MANIFEST = "manifest.json"
CONFIG_KEYS = ("vae_scaling_factor", "vae_scale_factor", "image_size")
FORMAT = 4  # raised whenever our own code starts to produce different IRs


def read_manifest(model_dir: Path) -> dict:
    """The manifest of a model folder with all its parts.

    Raises:
        FileNotFoundError: the folder or its manifest does not exist.
        ValueError: the manifest is damaged or of another format, parts are missing, or their files
            have not the size that was written.
    """
    model_dir = Path(model_dir)
    path = model_dir / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(
            f"{model_dir} is no model folder: expected {MANIFEST} and the IRs that convert writes"
        )
    manifest = read_json(path)
    if manifest.get("format") != FORMAT:
        raise ValueError(
            f"{path} has format {manifest.get('format')!r}, expected {FORMAT}; convert again"
        )
    try:
        missing = [name for name in PART_NAMES if name not in manifest["parts"]]
        sizes = {
            model_dir / file: manifest["parts"][name]["files"][file]["bytes"]
            for name in PART_NAMES
            if name not in missing
            for file in part_files(name)
        }
        UNetConfig.from_dict(manifest["config"]["unet"])
        GenerationConfig.from_dict(manifest["generation"])
        settings = [manifest["config"][key] for key in CONFIG_KEYS]
        damaged = not all(isinstance(value, int | float) and value > 0 for value in settings)
        damaged |= not isinstance(manifest["scheduler"]["_class_name"], str)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error!r}); convert again") from error
    if damaged:
        raise ValueError(f"{path} is damaged; convert again")
    if missing:
        raise ValueError(f"{model_dir} lacks {', '.join(missing)}: continue with convert")
    for file, size in sizes.items():
        if _size(file) != size:
            raise ValueError(f"{file}: got {_size(file)} bytes, expected {size}; convert again")
    return manifest


def part_files(name: str) -> tuple[str, str]:
    """The two files of a part's IR."""
    return f"{name}.xml", f"{name}.bin"


def load_or_new(model_dir: Path) -> dict:
    """The manifest as far as it can be trusted; an unreadable or older one counts as empty."""
    try:
        manifest = read_json(Path(model_dir) / MANIFEST)
    except (FileNotFoundError, ValueError):
        manifest = {}
    if manifest.get("format") != FORMAT or not isinstance(manifest.get("parts"), dict):
        manifest = {"format": FORMAT, "parts": {}}
    return manifest


def write_manifest(model_dir: Path, manifest: dict) -> None:
    """Replace the manifest in one step."""
    write_json(Path(model_dir) / MANIFEST, manifest)


def is_current(model_dir: Path, name: str, entry: dict | None, recipe: dict) -> bool:
    """Whether a part was made by this recipe and its files are still what was written."""
    if not isinstance(entry, dict) or entry.get("recipe") != recipe:
        return False
    files = {file: file_facts(Path(model_dir) / file) for file in part_files(name)}
    return entry.get("files") == files and None not in files.values()


def file_facts(path: Path) -> dict | None:
    """Size and SHA-256 of a file, None if there is none."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": _size(path), "sha256": digest}


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None
