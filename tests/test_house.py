"""The house stays in order: imports run one way, functions and files stay short, names are lazy."""

import ast
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

from conftest import ROOT

PACKAGE = ROOT / "animate_anyone"
FACES = {"cli", "options", "page", "handlers", "choices", "guard", "notebook", "__main__"}
INNER = {"base", "media", "runtime", "pose", "run", "networks", "convert", "fetch"}
# Room → rooms that it may import. The fallback of a download asks the strict loader what it lacks.
ALLOWED = {
    "base": set(),
    "media": {"base"},
    "runtime": {"base"},
    "pose": {"base", "media", "runtime"},
    "run": {"base", "media", "runtime"},
    "networks": {"base"},
    "convert": {"base", "networks"},
    "fetch": {"base", "convert"},
    "calibrate": {"base", "media", "run", "convert"},
    "settings": {"base"},
    "latents": {"base"},
    "preview": {"base"},
    "record": {"base", "settings"},
    "inputs": {"base", "media", "run", "pose", "settings", "latents"},
    "jobs": {"base", "media", "run", "pose", "inputs", "settings", "latents", "record"},
    "__init__": set(),
    **{
        face: FACES
        | INNER - {"networks"}
        | {"calibrate", "jobs", "inputs", "preview", "record", "settings"}
        for face in FACES
    },
}


def room_of(path: Path) -> str:
    """Folder or file, directly below the package."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Rooms of the package that a file imports from, anywhere in it."""
    package = list(path.relative_to(ROOT).parts[:-1])
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = base + (node.module.split(".") if node.module else [])
            names = [[*module, alias.name] for alias in node.names]
        else:
            continue
        rooms |= {name[1] for name in names if name[0] == "animate_anyone" and len(name) > 1}
    return rooms


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_imports_run_one_way(path):
    room = room_of(path)
    assert imported_rooms(path) - {room} <= ALLOWED[room]


def test_an_arrow_that_must_not_be_is_seen(tmp_path, monkeypatch):
    """The test above can fail: on each form of import, also inside of a function."""
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    path = tmp_path / "animate_anyone" / "run" / "loop.py"
    path.parent.mkdir(parents=True)
    for line in (
        "from ..networks import unet",
        "from .. import networks",
        "import animate_anyone.networks",
        "def f():\n    from animate_anyone.networks.unet import x",
    ):
        path.write_text(line)
        assert imported_rooms(path) == {"networks"}


def functions() -> dict[str, int]:
    """Where → lines without signature and docstring, of all code but the tests."""
    lengths = {}
    for folder in ("animate_anyone", "demo_model", "benchmarks", "tools"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    body = node.body[1:] if ast.get_docstring(node) else node.body
                    where = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
                    lengths[where] = node.end_lineno - body[0].lineno + 1 if body else 0
    return lengths


def test_functions_are_short():
    lengths = functions()
    assert median(lengths.values()) <= 8
    assert {where: length for where, length in lengths.items() if length > 60} == {}


def test_files_are_short():
    folders = ("animate_anyone", "demo_model", "benchmarks", "tools")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    lengths = {path: path.read_text().count("\n") for path in paths}
    assert {path: length for path, length in lengths.items() if length > 300} == {}


LIGHT = """
import sys
import animate_anyone
before = {name for name in ("torch", "gradio", "diffusers") if name in sys.modules}
assert not before, before
from animate_anyone import Pose, draw_pose, fit_image, load_image, read_video, write_video
after = {name for name in ("torch", "gradio", "diffusers", "openvino") if name in sys.modules}
assert not after, after
assert "OVAnimateAnyonePipeline" in dir(animate_anyone)
for name in animate_anyone.__all__:
    getattr(animate_anyone, name)
"""


def test_names_bring_only_what_they_need():
    run = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_the_helper_has_all_public_names():
    import animate_anyone
    import ov_animate_anyone_helper as helper

    assert set(animate_anyone.__all__) <= set(helper.__all__)
    assert all(hasattr(helper, name) for name in helper.__all__)
