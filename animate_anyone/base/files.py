"""Files: written beside and renamed, hashed, JSON. Nobody ever sees half a file.

A partial file has a name that no other run has, so two runs may write the same file: the last to
finish wins. What a killed run leaves behind ends in `.partial`, and nothing reads it.
"""

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path) -> Iterator[Path]:
    """A new file beside `path` to write to; takes its place when all went well, vanishes otherwise.

    A link stays: what it points to is replaced. A file that is replaced keeps its permissions.

    Raises:
        PermissionError: the file that is there is read-only.
        OSError: the folder cannot be written.
    """
    target, partial = _start(path)
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, partial)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _start(path) -> tuple[Path, Path]:
    """Where a file really lies, and a new empty one beside it."""
    target = Path(os.path.realpath(path))
    try:
        mode = target.stat().st_mode  # also says whether the name is too long
        if not mode & 0o222 or not os.access(target, os.W_OK):  # root may write all
            raise PermissionError(errno.EACCES, "it is read-only")
    except FileNotFoundError:
        pass
    partial = target.with_name(f".{secrets.token_hex(8)}.partial")
    partial.open("xb").close()
    return target, partial


def check_output(path, endings: Sequence[str]) -> Path:
    """The path of a file that can be written: a file was made beside it and removed.

    Raises:
        ValueError: it has another ending or is a folder.
        FileNotFoundError: the folder that it is to be written to does not exist.
        OSError: the folder or the file cannot be written, or the name is too long.
    """
    path = Path(path)
    if path.suffix.lower() not in endings:
        raise ValueError(f"output must end in {' or '.join(endings)}, got {str(path)!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"output folder {path.parent} does not exist")
    try:
        if path.is_dir():
            raise ValueError(f"output must be a file, {path} is a folder")
        _, partial = _start(path)
        partial.unlink()
    except OSError as error:
        raise OSError(f"output {path} cannot be written: {error.strerror}") from error
    return path


def require_file(path) -> None:
    """Raises FileNotFoundError where there is no file."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist or is no file")


def local_url(path) -> str:
    """A name that FFmpeg can only take for a file of this machine: `a:b.mp4` is no protocol."""
    return f"file:{Path(path).absolute()}"


def write_json(path: Path, values: dict) -> None:
    """Replace a JSON file in one step: a reader sees the old one or the new one, also after a
    power failure.
    """
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        json.dump(values, file, indent=2)
        file.write("\n")


def read_json(path: Path) -> dict:
    """Read a JSON object; raises ValueError that names the file when it is not one."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(values).__name__}")
    return values


def file_facts(path: Path) -> dict:
    """Size and SHA-256 of a file; raises OSError where it cannot be read."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}
