"""Files that are written: whole or not at all, where they were asked for, by any number of runs."""

import errno
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from animate_anyone.base.files import check_output, replacing, write_json
from animate_anyone.latents import save_latents
from animate_anyone.media.read import read_video
from animate_anyone.media.write import write_frames, write_gif, write_video


def frames(colour: str, count: int = 3) -> list[Image.Image]:
    return [Image.new("RGB", (16, 16), colour) for _ in range(count)]


# Ending → what writes a file, given something to tell two runs apart.
WRITE = {
    ".mp4": lambda path, run: write_video(frames("red" if run else "blue"), path, 8),
    ".webm": lambda path, run: write_video(frames("red" if run else "blue"), path, 8),
    ".zip": lambda path, run: write_frames(frames("red" if run else "blue"), path, 8),
    ".gif": lambda path, run: write_gif(frames("red" if run else "blue"), path, 8),
    ".npy": lambda path, run: save_latents(torch.full((1, 4, 1, 2, 2), float(run)), path),
    ".json": lambda path, run: write_json(path, {"run": run}),
}


@pytest.mark.parametrize("ending", WRITE)
def test_two_runs_into_one_file(tmp_path, ending):
    """They take turns in the middle of writing; the last to finish wins with a whole file."""
    path, alone = tmp_path / f"out{ending}", tmp_path / f"alone{ending}"
    WRITE[ending](alone, 1)
    with replacing(path) as other:
        other.write_bytes(b"half of ano")
        WRITE[ending](path, 1)
        assert path.read_bytes() == alone.read_bytes()
        other.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"
    assert {entry.name for entry in tmp_path.iterdir()} == {path.name, alone.name}


def test_many_writers_at_once(tmp_path):
    path, runs = tmp_path / "settings.json", range(20)
    threads = [threading.Thread(target=write_json, args=(path, {"run": run})) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert json.loads(path.read_text())["run"] in runs
    assert [entry.name for entry in tmp_path.iterdir()] == ["settings.json"]


@pytest.mark.parametrize("ending", WRITE)
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_what_fails_leaves_the_old_file(tmp_path, monkeypatch, ending, error):
    path = tmp_path / f"out{ending}"
    WRITE[ending](path, 0)
    before = path.read_bytes()

    def failing(*_):
        raise error

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(type(error)):
        WRITE[ending](path, 1)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", WRITE)
def test_a_link_is_followed(tmp_path, ending):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    link, target = tmp_path / f"link{ending}", folder / f"target{ending}"
    link.symlink_to(target)
    for _ in range(2):  # there is no target yet, then there is one
        WRITE[ending](link, 1)
        assert link.is_symlink() and target.is_file() and not target.is_symlink()


@pytest.mark.parametrize("ending", WRITE)
def test_a_read_only_file_is_not_replaced(tmp_path, ending):
    path = tmp_path / f"out{ending}"
    path.write_bytes(b"precious")
    path.chmod(0o444)
    with pytest.raises(OSError, match="read-only"):
        WRITE[ending](path, 1)
    with pytest.raises(OSError, match=f"{path} cannot be written: it is read-only"):
        check_output(path, [ending])
    assert path.read_bytes() == b"precious"


def test_permissions_are_those_of_any_file(tmp_path):
    (tmp_path / "plain").touch()
    write_json(tmp_path / "new.json", {})
    assert (tmp_path / "new.json").stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "new.json").chmod(0o640)
    write_json(tmp_path / "new.json", {})
    assert (tmp_path / "new.json").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["a:b.mp4", "pipe:1.mp4", "concat:x.mp4", "%03d.mp4", "-y.mp4"])
def test_names_that_ffmpeg_takes_for_something_else(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert check_output(Path(name), [".mp4"]) == write_video(frames("red"), name, 8)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    assert len(read_video(name).frames) == 3


def test_the_longest_name(tmp_path):
    path = tmp_path / ("n" * 251 + ".mp4")
    assert check_output(path, [".mp4"]) == write_video(frames("red"), path, 8)
    with pytest.raises(OSError, match="cannot be written: File name too long"):
        check_output(tmp_path / ("n" * 252 + ".mp4"), [".mp4"])


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("out.avi", ValueError, "output must end in .mp4 or .gif, got '.*out.avi'"),
        ("folder.mp4", ValueError, "output must be a file, .*folder.mp4 is a folder"),
        ("nowhere/out.mp4", FileNotFoundError, "output folder .*nowhere does not exist"),
        ("file/out.mp4", FileNotFoundError, "output folder .*file does not exist"),
    ],
)
def test_outputs_that_cannot_be(tmp_path, name, error, message):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(error, match=message):
        check_output(tmp_path / name, [".mp4", ".gif"])


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    """Root may write anywhere, so the refusal is the system's in name only."""

    def refused(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(OSError, match=r"output .*out\.mp4 cannot be written: Permission denied"):
        check_output(tmp_path / "out.mp4", [".mp4"])


def test_latents_come_back(tmp_path):
    latents = torch.randn(1, 4, 2, 3, 5)
    assert np.array_equal(np.load(save_latents(latents, tmp_path / "l.npy")), latents.numpy())
