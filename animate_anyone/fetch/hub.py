"""The Hugging Face Hub: where a file can be had, and how its bytes get to the disk.

Built on huggingface_hub's own parts below `hf_hub_download`, because that starts an interrupted
file anew and checks its size only. Nothing goes through the Hub's cache, which would take the space
twice, and everything is plain HTTP, which serves files in Xet storage as well. `HF_ENDPOINT`,
`HF_TOKEN`, `HF_HUB_OFFLINE` and the rest of the Hub's environment variables apply.
"""

import errno
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.file_download import HfFileMetadata, http_get
from huggingface_hub.utils import build_hf_headers
from tqdm.auto import tqdm

DENIED, NOT_FOUND, BUSY = (401, 403), 404, (429, *range(500, 600))
HASH = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")  # git's id or a sha256
PAUSES = (1, 4, None)  # seconds before a broken connection is tried again


@dataclass(frozen=True)
class WeightFile:
    """A file that is wanted; `size` in bytes and `sha256` are None where they are not known."""

    name: str  # path in the weights folder
    path: str  # path in the repository
    mirrors: tuple[tuple[str, str], ...]  # (repository, revision), in the order to try
    size: int | None
    sha256: str | None
    fallback: bool  # wanted only if denoising_unet.pth lacks spatial keys


@dataclass(frozen=True)
class Remote:
    """Where a file can be had, what the Hub says that it is, and where it grows on the disk."""

    file: WeightFile
    repo: str
    revision: str  # a commit
    size: int
    etag: str  # sha256 of a large file, git's id of a small one
    partial: Path  # named by the ETag, so that it is never continued with another file's bytes

    @property
    def done(self) -> int:
        """Bytes that are on the disk."""
        return self.partial.stat().st_size if self.partial.exists() else 0


def locate(file: WeightFile, staging: Path) -> Remote:
    """The first mirror that has the file, and has it as the table knows it.

    Raises:
        ConnectionError: the Hub cannot be reached.
        PermissionError, FileNotFoundError: no mirror gives the file; names all that were tried.
    """
    refusals, denied = [], False
    for repo, revision in file.mirrors:
        with _explained(file.name):
            try:
                found = _metadata(hf_hub_url(repo, file.path, revision=revision))
            except HfHubHTTPError as error:
                status = error.response.status_code
                if status not in (*DENIED, NOT_FOUND):
                    raise
                refusals.append(f"{repo} answered {status}")
                denied |= status in DENIED
                continue
        commit, etag = _identity(file, revision, found)
        problem = _objection(file, found, commit, etag)
        if problem is None:
            size: Any = file.size if found.size is None else found.size
            return Remote(file, repo, commit, size, etag, staging / f"{etag}.partial")
        refusals.append(f"{repo} {problem}")
    message = f"{file.name} cannot be fetched: {', '.join(refusals)}"
    if denied:
        hint = "accept the terms on the repository's page, log in with `hf auth login`"
        raise PermissionError(f"{message}; if it is not gone, {hint} and run again")
    raise FileNotFoundError(message)


def _metadata(url: str) -> HfFileMetadata:
    """What the Hub says of a file. A busy Hub is asked again, after the time that it wishes;
    without a network there is nothing to wait for.
    """
    try:
        return get_hf_file_metadata(url)
    except HfHubHTTPError as error:
        if error.response.status_code not in BUSY:
            raise
    return get_hf_file_metadata(url, retry_on_errors=True)


def _identity(file: WeightFile, revision: str, found: HfFileMetadata) -> tuple[str, str]:
    """Commit and hash of a file, "" where they are not known. A mirror may not tell them; where the
    table names both, they are what the table says.
    """
    pinned = file.sha256 is not None and HASH.fullmatch(revision)
    named = HASH.fullmatch(found.etag or "")
    commit = found.commit_hash or (revision if pinned else "")
    return commit, (found.etag if named else file.sha256 if pinned else "") or ""


def _objection(file: WeightFile, found: HfFileMetadata, commit: str, etag: str) -> str | None:
    """Why a file on the Hub is not the one that is wanted, or could not be checked."""
    if not (commit and etag):
        return "names no commit or no hash to check it by"
    if found.size is None and file.size is None:
        return "does not say how large it is"
    if None not in (found.size, file.size) and found.size != file.size:
        return f"has one of {found.size} bytes, expected {file.size}"
    if file.sha256 not in (None, etag):
        return f"has one with the hash {etag}, expected {file.sha256}"
    return None


def fetch(remote: Remote, total: tqdm) -> None:
    """Append to the partial file what it lacks. A broken connection is mended a few times.

    Raises:
        ConnectionError, OSError: it cannot be mended, or the disk is full.
    """
    url = hf_hub_url(remote.repo, remote.file.path, revision=remote.revision)
    headers = build_hf_headers() | {"Accept-Encoding": "identity"}
    shown = {"displayed_filename": remote.file.name, "tqdm_class": _adding_to(total)}
    remote.partial.parent.mkdir(exist_ok=True)
    for pause in PAUSES:
        with _explained(remote.file.name), remote.partial.open("ab") as file:
            if remote.done >= remote.size:
                return
            try:
                http_get(url, file, resume_size=remote.done, headers=headers, **shown)
                file.flush()
                os.fsync(file.fileno())
                return
            except (httpx2.ReadError, HfHubHTTPError) as error:
                fatal = isinstance(error, HfHubHTTPError) and error.response.status_code < 500
                if fatal or pause is None:
                    raise
        time.sleep(pause)


def _adding_to(total: tqdm) -> type[tqdm]:
    """Progress bars of single files that move the total's too."""

    class Bar(tqdm):
        def update(self, n=1):
            total.update(n)
            return super().update(n)

    return Bar


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn what can go wrong on the way into one sentence that a person can act on."""
    kept = "run again, what was fetched is kept"
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise ConnectionError(f"{name} is missing: unset HF_HUB_OFFLINE to fetch it") from error
    except HfHubHTTPError as error:
        problem = f"{constants.ENDPOINT} answered {error.response.status_code}"
        raise ConnectionError(f"{name}: {problem}; wait a while and {kept}") from error
    except httpx2.HTTPError as error:
        problem = f"{constants.ENDPOINT} cannot be reached ({error})"
        raise ConnectionError(f"{name}: {problem}; check the network and {kept}") from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(f"{name}: the disk is full; make room and {kept}") from error
