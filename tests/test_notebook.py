"""The notebook, as a newcomer runs it: a copy of the project in a folder of its own, a kernel in an
environment that holds what `requirements.txt` names and nothing else."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from conftest import ROOT

NOTEBOOK = "animate-anyone.ipynb"
NEEDED = ("animate_anyone", "demo_model", "ov_animate_anyone_helper.py", "animate-anyone.gif")
MINUTES = 5  # for any one cell


def fresh_environment(folder: Path) -> Path:
    """Python of a new environment; torch comes first and alone, as in the Makefile."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    requirements = ROOT / "requirements.txt"
    torch = next(line for line in requirements.read_text().split() if line.startswith("torch=="))
    for wanted in ([torch], ["-r", requirements]):
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
    return python


def test_runs_in_a_fresh_environment(tmp_path):
    """Every cell runs, and prints what it is said to print where that is the same everywhere."""
    python = fresh_environment(tmp_path / "environment")
    kernel = {
        "argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
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


def test_outputs_are_light():
    """The notebook is stored as it was run, without megabytes of pictures and films."""
    notebook = json.loads((ROOT / NOTEBOOK).read_text())
    assert len(json.dumps(notebook)) < 1e6
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any("<video" in json.dumps(output) for output in outputs)
