"""The manifest beside the IRs: what they were made from and whether they may be reused.

A part's IR is trusted when its *recipe* (hashes of the source files, compression, library versions)
and the hashes of its own two files are those of the manifest, not because a file exists.
"""

from pathlib import Path

from .config import GenerationConfig, ModelConfig
from .files import file_facts, read_json, write_json
from .layout import PART_NAMES

MANIFEST = "manifest.json"
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
    parts = manifest.get("parts")
    missing = [name for name in PART_NAMES if name not in parts] if isinstance(parts, dict) else []
    if missing:
        raise ValueError(f"{model_dir} lacks {', '.join(missing)}: continue with convert")
    try:
        sizes = {
            model_dir / file: manifest["parts"][name]["files"][file]["bytes"]
            for name in PART_NAMES
            for file in part_files(name)
        }
        ModelConfig.from_dict(manifest["config"])
        GenerationConfig.from_dict(manifest["generation"])
        damaged = not isinstance(manifest["scheduler"]["_class_name"], str)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error!r}); convert again") from error
    if damaged:
        raise ValueError(f"{path} is damaged; convert again")
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
    paths = [Path(model_dir) / file for file in part_files(name)]
    if not all(path.is_file() for path in paths):
        return False
    return entry.get("files") == {path.name: file_facts(path) for path in paths}


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None
