"""What the page lets in: uploaded files and examples, and requests that were meant for it."""

import contextlib
import inspect
import ipaddress
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import gradio as gr

LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}
ANY_ADDRESS = {"0.0.0.0", "::"}
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
REFUSED = "A file must be uploaded in this page or be one of its examples"


def _plain(value) -> bool:
    """Whether a setting is text, a number, or a list of texts, and no file."""
    if isinstance(value, list):
        return all(isinstance(each, str) for each in value)
    return isinstance(value, str | int | float | None)


class Files:
    """Turns what a browser sends for a file into a path that may be opened.

    Args:
        cache: folder that uploads lie in.
        examples: files that the page offers.
    """

    def __init__(self, cache, examples: Iterable):
        self.cache = Path(cache)
        self.examples = {Path(path).resolve() for path in examples}

    def trusted(self, handler: Callable, names: Collection[str]) -> Callable:
        """The handler, called with a path for each input of these names, or None where none is.

        All handlers of the page are registered through this: none sees what was not looked at.
        """

        def streaming(**values):
            yield from handler(**self._looked_at(values, names))

        def at_once(**values):
            return handler(**self._looked_at(values, names))

        whole = handler.func if isinstance(handler, partial) else handler
        return streaming if inspect.isgeneratorfunction(whole) else at_once

    def _looked_at(self, values: dict, names: Collection[str]) -> dict:
        for name, value in values.items():
            if name in names:
                values[name] = None if value is None else self.path(value)
            elif not _plain(value):
                raise gr.Error(REFUSED, print_exception=False)
        return values

    def path(self, file) -> Path:
        """Where a file lies, links followed.

        Raises:
            gradio.Error: it lies elsewhere or nowhere, or is no file; the message does not tell.
        """
        try:
            path = Path(file["path"]).resolve(strict=True)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError):
            raise gr.Error(REFUSED, print_exception=False) from None
        known = path in self.examples or path.is_relative_to(self.cache.resolve())
        if not (known and path.is_file()):
            raise gr.Error(REFUSED, print_exception=False)
        return path


def in_our_words(preprocess: Callable) -> Callable:
    """Gradio's `Blocks.preprocess_data`, which refuses some files by itself, with our sentence."""

    async def told(*arguments, **options):
        try:
            return await preprocess(*arguments, **options)
        except (ValueError, TypeError, KeyError, OSError) as error:
            raise gr.Error(REFUSED, print_exception=False) from error

    return told


class Hosts:
    """ASGI middleware that refuses requests for another host or from another site's page: a name
    that an attacker lets point to this machine (DNS rebinding) is neither.

    Args:
        app: what is protected.
        names: hosts that the user gave, besides those of this machine. One of `ANY_ADDRESS` stands
            for all addresses, but for no name.
    """

    def __init__(self, app, names: Iterable[str]):
        self.app, self.names = app, LOCAL_HOSTS | {name.strip("[]").lower() for name in names}

    async def __call__(self, scope, receive, send) -> None:
        """See the ASGI specification."""
        if scope["type"] in ("http", "websocket") and not self._is_meant_for_us(scope["headers"]):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            kind = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": kind})
            await send({"type": "http.response.body", "body": b"This page is for another host."})
            return
        await self.app(scope, receive, send)

    def _is_meant_for_us(self, headers) -> bool:
        sent = [(name, value.decode("latin-1")) for name, value in headers]
        hosts = [f"//{value}" for name, value in sent if name == b"host"]
        origins = [value for name, value in sent if name == b"origin"]
        return len(hosts) == 1 and all(map(self._knows, hosts + origins))

    def _knows(self, url: str) -> bool:
        try:
            host = urlsplit(url).hostname or ""
            if host in self.names:
                return True
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return bool(self.names & ANY_ADDRESS)


def own_cache() -> None:
    """Let Gradio keep its files in a folder of this user, where none is set: the usual one belongs
    to whoever came first to this machine.
    """
    if os.environ.get("GRADIO_TEMP_DIR"):
        return
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    folder = Path(tempfile.gettempdir()) / f"animate-anyone-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        ours = not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
    except OSError:
        ours = False
    os.environ["GRADIO_TEMP_DIR"] = str(folder if ours else tempfile.mkdtemp())


@contextlib.contextmanager
def without_proxies() -> Iterator[None]:
    """Gradio asks its own server whether it is up; that is no business of a proxy."""
    proxies = {name: os.environ.pop(name) for name in list(os.environ) if name.upper() in PROXIES}
    try:
        yield
    finally:
        os.environ.update(proxies)


def plain(error: Exception, *paths: Path) -> str:
    """What a person is told: without the folders of the system, and paths shortened to names."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    message = str(error)
    for path in paths:
        message = message.replace(str(path), path.name)
    return message
