"""Standard output and errors that break, as a terminal that is closed."""

import subprocess
import sys

import pytest

from conftest import ROOT

# As much as a run prints, in all the ways in which it does.
PRINTING = """
import logging, sys
from tqdm import tqdm
from animate_anyone.base.streams import patient_streams

with patient_streams():
    logging.basicConfig()
    for n in tqdm(range(1000), mininterval=0):
        print("answer", n)
        print("error", n, file=sys.stderr)
        logging.warning("warning %d", n)
with open(sys.argv[1], "w") as file:
    file.write("done")
"""
BROKEN = ["2>&-", ">&-", ">&- 2>&-", "2>/dev/full", ">/dev/full", "2>&1 | head -c 1", "| true"]


@pytest.mark.parametrize("broken", ["", *BROKEN])
def test_broken_streams_do_no_harm(tmp_path, broken):
    done = tmp_path / "done"
    command = f'set -o pipefail; "$@" {broken}'
    script = [sys.executable, "-c", PRINTING, str(done)]
    run = subprocess.run(
        ["bash", "-c", command, "bash", *script],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0 and done.read_text() == "done"
    assert "Exception ignored" not in run.stderr and "Traceback" not in run.stderr


def test_whole_streams_show_everything(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", PRINTING, str(tmp_path / "done")],
        check=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.stdout.splitlines() == [f"answer {n}" for n in range(1000)]
    assert "error 999" in run.stderr and "warning 999" in run.stderr
