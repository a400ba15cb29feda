"""As a newcomer has it: a wheel of the project in an environment that holds what it asks for and
nothing else. The command line animates, and every cell of the notebook runs.
"""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from animate_anyone.media.read import read_video

from conftest import ROOT

NOTEBOOK = "animate-anyone.ipynb"
NEEDED = ("demo_model", "ov_animate_anyone_helper.py", "animate-anyone.gif")
MINUTES = 5  # for any one cell


@pytest.fixture(scope="module")
def fresh_bin(tmp_path_factory) -> Path:
    """Programs of a new environment with the wheel; torch comes first and alone, as in the
    Makefile."""
    folder = tmp_path_factory.mktemp("fresh")
    pip = [sys.executable, "-m", "pip"]
    ignored = shutil.ignore_patterns(".venv", ".git", "build", "*.egg-info")
    sources = shutil.copytree(ROOT, folder / "sources", ignore=ignored)  # building writes to them
    wheel = [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, sources]
    subprocess.run(wheel, check=True)
    venv.create(folder / "environment", with_pip=True)
    programs = folder / "environment" / ("Scripts" if os.name == "nt" else "bin")
    requirements = (ROOT / "requirements.txt").read_text().split()
    torch = next(line for line in requirements if line.startswith("torch=="))
    for wanted in (torch, *folder.glob("*.whl")):
        install = [programs / "python", "-m", "pip", "install", "--quiet", wanted]
        subprocess.run(install, check=True)
    return programs


@pytest.mark.slow
def test_the_wheel_animates(fresh_bin, tmp_path):
    """In an empty folder, with the weights and examples that the wheel carries."""
    code = "import demo_model; print(demo_model.__path__[0])"
    found = subprocess.run(
        [fresh_bin / "python", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    home = Path(found.stdout.strip())
    assert fresh_bin.parent in home.parents
    command = fresh_bin / "animate-anyone"
    convert = ["convert", "--weights", home / "pretrained_weights", "--models", "models"]
    files = [home / "examples" / name for name in ("crown.png", "wave.mp4")]
    inputs = ["--models", "models", "--reference", files[0], "--pose", files[1]]
    animate = ["animate", *inputs, "--output", "out.mp4", "--frames", "3"]
    for arguments in (["--help"], convert, animate):
        subprocess.run([command, *arguments], cwd=tmp_path, check=True)
    assert len(read_video(tmp_path / "out.mp4").frames) == 3


@pytest.mark.slow
def test_runs_in_a_fresh_environment(fresh_bin, tmp_path):
    """Every cell runs, and prints what it is said to print where that is the same everywhere."""
    kernel = {
        "argv": [str(fresh_bin / "python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "fresh",
        "language": "python",
    }
    kernel_folder = tmp_path / "jupyter" / "kernels" / "fresh"
    kernel_folder.mkdir(parents=True)
    (kernel_folder / "kernel.json").write_text(json.dumps(kernel))
    project = tmp_path / "project"
    project.mkdir()
    for name in (NOTEBOOK, *NEEDED):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, project / name)
    command = [sys.executable, "-m", "pytest", "-x", "--nbval-lax", "--nbval-kernel-name=fresh"]
    result = subprocess.run(
        [*command, f"--nbval-cell-timeout={60 * MINUTES}", NOTEBOOK],
        check=False,
        cwd=project,
        env=os.environ | {"JUPYTER_PATH": str(tmp_path / "jupyter")},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-5000:]
    assert (project / "build" / "notebook" / "result.mp4").is_file()


def run_cells(folder: Path, *begins: str, change=lambda source: source) -> str:
    """Run the code cells of the notebook that begin so, changed, in a folder; returns the error."""
    notebook = nbformat.read(ROOT / NOTEBOOK, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    chosen = [next(cell for cell in cells if begin in cell.source) for begin in begins]
    for cell in chosen:
        cell.source = change(cell.source)
    notebook.cells = chosen
    client = NotebookClient(notebook, timeout=60, resources={"metadata": {"path": folder}})
    with pytest.raises(CellExecutionError) as error:
        client.execute()
    return f"{error.value.ename}: {error.value.evalue}"


def test_an_unknown_mode():
    def unknown(source: str) -> str:
        return source.replace('MODE = "small"', 'MODE = "demo"')

    error = run_cells(ROOT, "MODE =", change=unknown)
    assert error == "ValueError: MODE must be one of ['small', 'published'], got 'demo'"


def test_another_working_folder(tmp_path):
    error = run_cells(tmp_path, "MODE =")
    where = f"open this notebook in the folder that it lies in, not in {tmp_path}"
    assert error == f"FileNotFoundError: {where}"


def test_the_last_section_alone():
    error = run_cells(ROOT, "make_demo")
    assert error == "RuntimeError: run the cells above first: name 'helper' is not defined"
    error = run_cells(ROOT, "MODE =", "make_demo")
    assert error == "RuntimeError: run the cells above first: name 'pipe' is not defined"


def test_outputs_are_light():
    """The notebook is stored as it was run, without megabytes of pictures and films."""
    notebook = json.loads((ROOT / NOTEBOOK).read_text())
    assert len(json.dumps(notebook)) < 1e6
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any("<video" in json.dumps(output) for output in outputs)
