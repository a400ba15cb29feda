"""Whether IR files are those that convert wrote: hashed once, and again when they change.

What was verified is remembered in the model folder with size, time and inode of the file. Where the
folder cannot be written it is not remembered, and hashed in every process.
"""

import logging
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path

from .files import file_facts, read_json, write_json
from .layout import PART_NAMES
from .manifest import part_files

logger = logging.getLogger(__name__)

RECORD = "verified.json"


class Verification:
    """Hashes the files of a model folder in the background; `wait` asks for the result.

    Args:
        model_dir: folder with the IRs.
        manifest: see `manifest.read_manifest`.

    Raises:
        ValueError: a graph (`.xml`) is not the one that was converted. Graphs are small and read
            next, so they are looked at before anything else.
    """

    def __init__(self, model_dir: Path, manifest: Mapping):
        self.model_dir, self.parts = model_dir, manifest["parts"]
        self._record = _read_record(model_dir)
        for name in PART_NAMES:
            self._verify(name, part_files(name)[0])
        self._weights: dict[str, Future] = {name: Future() for name in PART_NAMES}
        # A daemon: a process that ends does not wait for hashes that nobody needs any more.
        threading.Thread(target=self._verify_weights, daemon=True).start()

    def wait(self, part: str) -> None:
        """Until the weights of a part are verified.

        Raises:
            ValueError: they have changed since they were converted, or since they were verified.
        """
        if part in self._weights:
            self._weights[part].result()
            self._verify(part, part_files(part)[1])

    def _verify_weights(self) -> None:
        for name, future in self._weights.items():
            try:
                self._verify(name, part_files(name)[1])
                future.set_result(None)
            except (OSError, ValueError) as error:
                future.set_exception(error)  # for whoever waits
        self._remember()

    def _verify(self, name: str, file: str) -> None:
        path = self.model_dir / file
        expected = self.parts[name]["files"][file]["sha256"]
        before = _state(path) | {"sha256": expected}
        if self._record.get(file) == before:
            return
        same = file_facts(path)["sha256"] == expected
        if not same or _state(path).items() - before.items():
            raise ValueError(f"{path} has changed since it was converted: run {self._command()}")
        self._record[file] = before

    def _command(self) -> str:
        """What converts changed files again and keeps the others."""
        compression = self.parts["denoising_unet"]["recipe"]["compression"]
        pictures = " --reference IMG --pose VIDEO" if compression == "int8-hybrid" else ""
        return (
            f"`animate-anyone convert --weights DIR --models {self.model_dir}"
            f" --compression {compression}{pictures}` again"
        )

    def _remember(self) -> None:
        if self._record == _read_record(self.model_dir):
            return
        try:
            write_json(self.model_dir / RECORD, self._record)
        except OSError as error:
            logger.debug("%s is not written (%s)", self.model_dir / RECORD, error)


def _state(path: Path) -> dict:
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "inode": stat.st_ino}


def _read_record(model_dir: Path) -> dict:
    """File → size, time, inode and hash; a damaged record is as good as none."""
    try:
        return read_json(model_dir / RECORD)
    except (OSError, ValueError):
        return {}
