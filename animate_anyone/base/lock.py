"""One at a time in a folder."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)

LOCK = ".lock"


@contextmanager
def exclusive(folder: Path, what: str) -> Iterator[None]:
    """Hold a folder's lock; says so when another process has it, and waits. The system frees it
    when a process dies, however that happens.
    """
    lock = FileLock(Path(folder) / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        logger.warning("waiting for another %s in %s to end", what, folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
