"""Files: written beside and renamed, hashed, JSON. Nobody ever sees half a file.

A partial file has a name that no other run has, so two runs may write the same file: the last to
finish wins. What a killed run leaves behind ends in `.partial`, and nothing reads it.
"""

import errno
import hashlib
import json
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)


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


def _start(path, folder: bool = False) -> tuple[Path, Path]:
    """Where a file or a folder really lies, and a new empty one beside it."""
    target = Path(os.path.realpath(path))
    try:
        mode = target.stat().st_mode  # also says whether the name is too long
        if not mode & 0o222 or not os.access(target, os.W_OK):  # root may write all
            raise PermissionError(errno.EACCES, "it is read-only")
    except FileNotFoundError:
        pass
    partial = target.with_name(f".{secrets.token_hex(8)}.partial")
    partial.mkdir() if folder else partial.open("xb").close()
    return target, partial


@contextmanager
def replacing_folder(path) -> Iterator[Path]:
    """The same for a new folder: where it is to lie, there is nothing or an empty folder."""
    target, partial = _start(path, folder=True)
    try:
        yield partial
        if target.exists():
            target.rmdir()
        os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_output(path, endings: Sequence[str]) -> Path:
    """The path of a file that can be written: a file was made beside it and removed.

    Args:
        path: of the file.
        endings: those that it may have, with their dots; "" allows a folder.

    Raises:
        ValueError: it has another ending, is a folder, or is to be one and is none or not empty.
        FileNotFoundError: the folder that it is to be written to does not exist.
        OSError: the folder or the file cannot be written, or the name is too long.
    """
    path = Path(path)
    if path.suffix.lower() not in endings:
        folder = ", or have no ending (a folder of PNG files)" if "" in endings else ""
        named = " or ".join(filter(None, endings))
        raise ValueError(f"output must end in {named}{folder}, got {str(path)!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"output folder {path.parent} does not exist")
    try:
        _check_place(path, folder=not path.suffix)
        _, partial = _start(path, folder=not path.suffix)
        partial.rmdir() if partial.is_dir() else partial.unlink()
    except OSError as error:
        raise OSError(f"output {path} cannot be written: {error.strerror}") from error
    return path


def _check_place(path: Path, folder: bool) -> None:
    """Raises ValueError where something else lies already."""
    if not folder and path.is_dir():
        raise ValueError(f"output must be a file, {path} is a folder")
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ValueError(f"output must be a file, {path} is a device or a pipe")
    if folder and path.exists() and not path.is_dir():
        raise ValueError(f"output must be a folder or end in .mp4, {path} is a file without ending")
    if folder and path.is_dir() and any(path.iterdir()):
        raise ValueError(f"output folder {path} must be new or empty, it holds files")


def rescue(write: Callable[[Path], object], beside, name: str) -> Path | None:
    """What was computed in a new file, where there is room: beside another one, in the working
    folder or among temporary files; None where there is none.

    Args:
        write: writes to a path.
        beside: folder that comes first.
        name: of the file, with {} for what makes it new.
    """
    for folder in (Path(beside), Path.cwd(), Path(tempfile.gettempdir())):
        path = folder.absolute() / name.format(secrets.token_hex(4))
        try:
            write(path)
            return path
        except OSError:
            logger.debug("%s cannot be written", path, exc_info=True)
    return None


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
        values = json.loads(path.read_text(encoding="utf-8-sig"))
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
