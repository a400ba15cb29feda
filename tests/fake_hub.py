"""A small Hugging Face Hub on loopback, which can be told to fail in the ways that the real one
does.

It answers HEAD and GET of `/{repo}/resolve/{revision}/{path}`. Files with an ending in `LARGE` lie
on a CDN as the real ones do: a redirect to another host, with size and sha256 in `X-Linked-*`
headers. The others are answered directly, with git's id of the content as ETag.
"""

import hashlib
import socket
import struct
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self

LARGE = (".pth", ".bin", ".safetensors")
ERROR_CODES = {401: "RepoNotFound", 403: "GatedRepo", 404: "EntryNotFound"}


class Request(NamedTuple):
    """What was asked for; `start` is the first byte of a Range."""

    method: str
    repo: str
    path: str
    host: str
    start: int
    token: str | None


class FakeHub:
    """Use it as a context manager.

    Args:
        repos: repository → path → content.
        token: if given, the Hub is gated and answers 401 to requests without it.

    Set `silent`, and it is a mirror that tells neither commits nor sums.
    """

    def __init__(self, repos: dict[str, dict[str, bytes]], token: str | None = None):
        self.repos, self.token, self.silent = repos, token, False
        self.requests: list[Request] = []
        self.released = threading.Event()
        self._faults: dict[tuple[str, str], tuple[str | int, Counter]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        """The value for `HF_ENDPOINT`."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def cdn(self) -> str:
        """The same server under another name: for a client it is another host."""
        return f"http://localhost:{self._server.server_port}"

    def fail(self, method: str, path: str, fault: str | int, times: int = 1) -> None:
        """Let the next `times` requests for a file fail.

        Args:
            fault: a status, or what happens to the body: "drop" (half of it, then the connection is
                closed), "reset" (the same, with a TCP reset), "stall" (half of it, then nothing
                until `released` is set), "truncate" (half of it, announced as all), "corrupt" (one
                bit is wrong), "no range" (all of it, whatever Range was asked for).
        """
        self._faults[method, path] = (fault, Counter(left=times))

    def take_fault(self, method: str, path: str) -> str | int | None:
        """The fault that the present request shall meet."""
        with self._lock:
            fault, count = self._faults.get((method, path), (None, Counter()))
            count["left"] -= 1
            return fault if count["left"] >= 0 else None

    def commit(self, repo: str) -> str:
        """The one commit of a repository."""
        return hashlib.sha1(repo.encode()).hexdigest()

    def starts(self, path: str) -> list[int]:
        """First bytes of all bodies of a file that were asked for."""
        return [r.start for r in self.requests if (r.method, r.path) == ("GET", path)]


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def log_message(self, *_):
        pass

    def _answer(self) -> None:
        if "/resolve/" not in self.path and "/cdn/" not in self.path:
            self._refuse(404)
            return
        on_cdn = self.path.startswith("/cdn/")
        repo, revision, path = self._parse(on_cdn)
        bearer = self.headers.get("Authorization")
        start = int(self.headers.get("Range", "bytes=0-").split("=")[1].split("-")[0])
        host = self.headers["Host"].split(":")[0]
        content = self.hub.repos.get(repo, {}).get(path)
        redirected = path.endswith(LARGE) and not on_cdn
        if not (self.command == "GET" and redirected):
            self.hub.requests.append(Request(self.command, repo, path, host, start, bearer))
            fault = self.hub.take_fault(self.command, path)
        else:
            fault = None  # that of a GET strikes where the body is
        if isinstance(fault, int):
            self._refuse(fault)
        elif self.hub.token and not on_cdn and bearer != f"Bearer {self.hub.token}":
            self._refuse(401, code="GatedRepo")
        elif repo not in self.hub.repos:
            self._refuse(401)  # the Hub does not tell strangers what exists
        elif content is None or revision not in ("main", self.hub.commit(repo)):
            self._refuse(404)
        elif redirected:
            self._redirect(repo, path, content)
        else:
            self._send(repo, path, content, start, fault)

    def _parse(self, on_cdn: bool) -> tuple[str, str, str]:
        parts = self.path.split("?")[0].strip("/").split("/")
        if on_cdn:
            return "/".join(parts[1:3]), "main", "/".join(parts[3:])
        return "/".join(parts[:2]), parts[3], "/".join(parts[4:])

    def _refuse(self, status: int, code: str | None = None) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code or ERROR_CODES.get(status, "Internal"))
        if status == 429:
            self.send_header("Retry-After", "3")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _redirect(self, repo: str, path: str, content: bytes) -> None:
        self.send_response(302)
        self.send_header("Location", f"{self.hub.cdn}/cdn/{repo}/{path}")
        if not self.hub.silent:
            self.send_header("X-Repo-Commit", self.hub.commit(repo))
            self.send_header("X-Linked-Etag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("X-Xet-Hash", "0" * 64)  # as the Hub offers it for every large file
        self.send_header("X-Xet-Refresh-Route", f"/api/models/{repo}/xet-read-token/main")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, repo: str, path: str, content: bytes, start: int, fault: str | None) -> None:
        ranged = "Range" in self.headers and fault != "no range"
        body = content[start:] if ranged else content
        if fault == "corrupt":
            body = bytes([body[0] ^ 1]) + body[1:]
        if fault == "truncate":
            body = body[: len(body) // 2]
        self.send_response(206 if ranged else 200)
        if not self.hub.silent:
            self.send_header("X-Repo-Commit", self.hub.commit(repo))
            self.send_header("ETag", f'"{git_id(content)}"')
        self.send_header("Content-Length", str(len(body)))
        if ranged:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            self._write(body, fault)

    def _write(self, body: bytes, fault: str | None) -> None:
        if fault not in ("drop", "reset", "stall"):
            self.wfile.write(body)
            return
        self.wfile.write(body[: len(body) // 2])
        if fault == "stall":
            self.hub.released.wait(60)
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.hub.released.wait(0.3)  # let the first half arrive
            self.connection.close()
        self.close_connection = True


def git_id(content: bytes) -> str:
    """What git calls a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
