"""The page's door: which files a request may name, for which host it may be, how the page
starts."""

import itertools
import json
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import gradio as gr
import httpx
import pytest
from PIL import Image
from starlette.testclient import TestClient

from animate_anyone import guard
from animate_anyone.cli import main
from animate_anyone.guard import REFUSED
from animate_anyone.media.write import write_video
from animate_anyone.page import make_demo

from conftest import TOY, load_case

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio")
REFERENCE = TOY / "short" / "reference.png"
REST = [1, "frames", 1, 1.0, 0, "automatic", 0, None, [], "open"]  # from `length` to `formats`


@pytest.fixture(scope="module")
def pose_video(tmp_path_factory) -> Path:
    """Two pose maps."""
    return write_video(load_case("long")[2][:2], tmp_path_factory.mktemp("pose") / "walk.mp4", 25)


@pytest.fixture(scope="module")
def private(tmp_path_factory) -> Path:
    """A picture that was never uploaded."""
    path = tmp_path_factory.mktemp("home") / "private.png"
    Image.effect_noise((64, 64), 100).save(path)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def url(pipe, cache, pose_video):
    """Address of a page with two examples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(cache))
        demo = make_demo(pipe, [REFERENCE, pose_video])
        _, url, _ = demo.launch(prevent_thread_lock=True, inline=False)
        yield url
        demo.close()


@pytest.fixture(scope="module")
def config(url) -> dict:
    return httpx.get(f"{url}config").json()


def upload(url: str, path: Path) -> dict:
    files = {"files": (path.name, path.read_bytes())}
    [place] = httpx.post(f"{url}gradio_api/upload", files=files).json()
    return {"path": place, "meta": {"_type": "gradio.FileData"}}


def ask(url: str, function: int, values: list) -> str:
    """All that the server answers when a function is called as the page itself calls it."""
    session = f"session-{function}"
    call = {"data": values, "fn_index": function, "session_hash": session}
    joined = httpx.post(f"{url}gradio_api/queue/join", json=call)
    if joined.status_code != 200:
        return joined.text
    text = ""
    with httpx.stream(
        "GET", f"{url}gradio_api/queue/data", params={"session_hash": session}, timeout=60
    ) as lines:
        for line in lines.iter_lines():
            text += line
            if '"process_completed"' in line or '"close_stream"' in line:
                break
    return text


def evil_files(private: Path, cache: Path) -> dict[str, object]:
    """Ways to name a file that was not uploaded."""
    link = cache / "link.png"
    link.unlink(missing_ok=True)
    link.symlink_to(private)
    climbing = f"{cache}/../{private.parent.name}/{private.name}"
    return {
        "path": {"path": str(private)},
        "path with meta": {"path": str(private), "meta": {"_type": "gradio.FileData"}},
        "url": {"path": str(private), "url": f"file://{private}"},
        "only url": {"url": f"file://{private}", "path": None},
        "file url": {"path": f"file://{private}"},
        "file:": {"path": f"file:{private}"},
        "..": {"path": climbing},
        "link": {"path": str(link)},
        "missing": {"path": str(private.with_name("nobody.png"))},
        "folder": {"path": str(cache)},
        "nul": {"path": "a\0b"},
        "number": {"path": 5},
        "list": [{"path": str(private)}],
        "nested": {"path": {"path": str(private)}},
        "video": {"video": {"path": str(private)}},
        "text": str(private),
        "empty": {},
    }


def test_every_way_to_name_a_private_file_gets_one_sentence(
    url, config, private, cache, pose_video
):
    """Of the endpoints of the run and of the search for poses, as reference and as pose."""
    good = upload(url, REFERENCE), upload(url, pose_video)
    names = "generate", "find_poses"
    runs = [d["id"] for d in config["dependencies"] if d["api_name"] in names]
    assert len(runs) == len(names)
    for run, (way, evil) in itertools.product(runs, evil_files(private, cache).items()):
        for reference, pose in ((evil, good[1]), (good[0], evil)):
            values = [reference, pose, "reference image", 64, "crop", *REST]
            answer = ask(url, run, values)
            assert REFUSED in answer and '"success":false' in answer.replace(" ", ""), (way, answer)
            assert str(private.parent) not in answer


def test_uploads_and_examples_are_read(url, config, pose_video, cache):
    """The same request with what was uploaded, or with an example where it lies, goes through."""
    [run] = [d["id"] for d in config["dependencies"] if d["api_name"] == "generate"]
    uploaded = upload(url, REFERENCE), upload(url, pose_video)
    meta = {"meta": {"_type": "gradio.FileData"}}
    shown = [
        example["props"]["samples"]
        for example in config["components"]
        if example["type"] == "dataset"
    ]
    examples = [
        {"path": sample[0][0]["path"] if isinstance(sample[0][0], dict) else sample[0][0]} | meta
        for sample in shown
    ]
    for reference, pose in (uploaded, examples):
        answer = ask(url, run, [reference, pose, "reference image", 64, "crop", *REST])
        assert "Finished in " in answer


def test_no_endpoint_gives_a_private_file_away(url, config, private, cache):
    """Whatever function of the page is called, and whichever of its inputs names the file: it is
    neither copied to where the server hands out files, nor does an answer tell of it."""
    content = private.read_bytes()
    for function in config["dependencies"]:
        count = len(function["inputs"])
        for place in range(count):
            ways = evil_files(private, cache)
            for evil in map(ways.get, ("path with meta", "only url", "link", "video", "text")):
                values = [None] * count
                values[place] = evil
                answer = ask(url, function["id"], values)
                assert '"success":true' not in answer.replace(" ", "") or count > 2, answer
    kept = [path for path in cache.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in kept if path.read_bytes() == content]


@pytest.mark.parametrize("route", ["file={}", "file=file:{}", "stream/{}", "proxy=file://{}"])
def test_files_are_not_served(url, private, route):
    answer = httpx.get(f"{url}gradio_api/{route.format(private)}")
    assert answer.status_code >= 400 and answer.content != private.read_bytes()


def test_every_listed_endpoint_is_known(url, config):
    """A new one must be looked at here."""
    listed = httpx.get(f"{url}gradio_api/info").json()
    assert (
        list(listed["named_endpoints"]) == ["/generate", "/find_poses"]
        and not listed["unnamed_endpoints"]
    )


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:7860"}, 200),
        ({"Host": "[::1]:7860"}, 200),
        ({"Origin": "http://127.0.0.1:7860"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "localhost.evil.example:7860"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "192.168.0.7"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[bad"}, 403),
    ],
)
def test_hosts_and_origins(url, headers, status):
    for method, route in (("GET", "config"), ("POST", "gradio_api/queue/join"), ("GET", "")):
        answer = httpx.request(method, f"{url}{route}", headers=headers)
        assert (answer.status_code == 403) == (status == 403)


@pytest.mark.parametrize(
    ("names", "host", "allowed"),
    [
        (["studio.example"], "studio.example:443", True),
        (["studio.example"], "other.example", False),
        (["0.0.0.0"], "192.168.0.7:7860", True),
        (["0.0.0.0"], "evil.example", False),
        (["::"], "[fe80::1]:7860", True),
        ([], "192.168.0.7", False),
    ],
)
def test_names_that_the_user_gave(names, host, allowed):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"page"})

    client = TestClient(guard.Hosts(app, names), base_url="http://localhost")
    assert client.get("/", headers={"Host": host}).is_success == allowed


class BadGateway(BaseHTTPRequestHandler):
    """A proxy that reaches nobody."""

    def do_GET(self):
        self.send_error(502)

    do_HEAD = do_CONNECT = do_POST = do_GET

    def log_message(self, *_):
        """Says nothing."""


@pytest.fixture(params=["refuses", "answers 502", "socks"])
def proxy(request):
    """Address of a proxy that does not work."""
    if request.param == "answers 502":
        server = HTTPServer(("127.0.0.1", 0), BadGateway)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
    else:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
        yield f"{'socks5' if request.param == 'socks' else 'http'}://127.0.0.1:{port}"


def test_it_starts_behind_a_proxy(pipe, proxy, monkeypatch):
    """Which is left as it was for everything else."""
    for name in ("HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
    demo = make_demo(pipe)
    _, url, _ = demo.launch(prevent_thread_lock=True, inline=False)
    try:
        assert httpx.get(f"{url}config", trust_env=False).status_code == 200
        assert os.environ["HTTP_PROXY"] == os.environ["https_proxy"] == proxy
    finally:
        demo.close()


def test_a_port_that_is_taken(toy_models, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["page", "--models", str(toy_models), "--port", str(port)]) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last == f"error: server_port (--port) must be free, {port} is taken"


@pytest.mark.parametrize("port", ["0", "-1", "80000"])
def test_a_port_that_is_none(toy_models, capsys, port):
    assert main(["page", "--models", str(toy_models), "--port", port]) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last == f"error: server_port (--port) must be from 1 to 65535, got {port}"


def test_own_folder_for_each_user(monkeypatch, tmp_path):
    """Gradio's usual one may belong to somebody else."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    guard.own_cache()
    own = Path(os.environ["GRADIO_TEMP_DIR"])
    assert own.parent == tmp_path and own.stat().st_mode & 0o777 == 0o700
    monkeypatch.delenv("GRADIO_TEMP_DIR")
    monkeypatch.setattr("os.getuid", lambda: own.stat().st_uid + 1)
    stranger = tmp_path / f"animate-anyone-{own.stat().st_uid + 1}"
    stranger.mkdir()  # as if another user had made it
    guard.own_cache()
    assert Path(os.environ["GRADIO_TEMP_DIR"]) not in (own, stranger)


def test_a_folder_that_was_chosen_is_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    guard.own_cache()
    assert os.environ["GRADIO_TEMP_DIR"] == str(tmp_path)


def test_a_full_disk_tells_no_paths(url, config, pose_video, monkeypatch):
    """Nor does any other trouble with files of the system."""
    [run] = [d["id"] for d in config["dependencies"] if d["api_name"] == "generate"]
    uploaded = upload(url, REFERENCE), upload(url, pose_video)

    def full(*_, **__):
        raise OSError(28, "No space left on device", "/var/secret/folder")

    monkeypatch.setattr("tempfile.mkdtemp", full)
    answer = ask(url, run, [*uploaded, "reference image", 64, "crop", *REST])
    assert "No space left on device" in answer and "/var/secret" not in answer


def test_refusal_is_one_sentence():
    files = guard.Files(Path("/nowhere"), [])
    with pytest.raises(gr.Error) as error:
        files.path({"path": "/etc/hostname"})
    assert json.dumps(REFUSED) in json.dumps(error.value.message)
