"""One video from files to file: the settings object, and what happens when the last step fails."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from animate_anyone.base import files
from animate_anyone.cli import main
from animate_anyone.jobs import Unsaved, animate
from animate_anyone.media.read import read_video
from animate_anyone.media.write import write_video
from animate_anyone.settings import AnimationSettings, Output

from conftest import ROOT, TOY, load_case

REFERENCE = str(TOY / "short" / "reference.png")


@pytest.fixture(scope="module")
def pose_video(tmp_path_factory) -> Path:
    """Six pose maps at 25 frames per second."""
    return write_video(load_case("long")[2][:6], tmp_path_factory.mktemp("pose") / "pose.mp4", 25)


@pytest.fixture
def settings(pose_video, tmp_path):
    """Those of a run that takes a second, some of them changed."""

    def changed(**changes) -> AnimationSettings:
        values = {
            "reference": REFERENCE,
            "pose": str(pose_video),
            "outputs": (Output(str(tmp_path / "out.mp4")),),
            "width": 48,
            "height": 64,
            "num_frames": 3,
            "num_inference_steps": 1,
        }
        return AnimationSettings(**values | changes)

    return changed


def test_settings_survive_json(settings):
    before = settings(seed=2**62, guidance_scale=1.5, fit="pad", preset="fast")
    assert AnimationSettings.from_json(before.to_json()) == before


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"outputs": [1]}', '{"outputs": []}'])
def test_damaged_settings(text):
    with pytest.raises(ValueError):
        AnimationSettings.from_json(text)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fit": "stretch"}, r"fit must be one of \('crop', 'pad'\), got 'stretch'"),
        ({"seed": -1}, r"seed must be from 0 to 2\*\*63 - 1, got -1"),
        ({"seed": 1.0}, "seed must be int, got float"),
        ({"num_frames": 0}, "num_frames must be at least 1, got 0"),
        ({"start": 10**400}, "start must be at least 0 seconds, got"),
        ({"width": True}, "width must be an integer, got bool"),
        ({"preset": []}, "preset must be .*, got list"),
        ({"outputs": (Output("A.PNG"),)}, "must be 1 for the picture A.PNG"),
        ({"outputs": ()}, "outputs must name at least one file, got none"),
        ({"outputs": (Output(REFERENCE),)}, "output would overwrite the input"),
        ({"save_latents": REFERENCE}, "output would overwrite the input"),
    ],
)
def test_bad_settings(settings, changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        settings(**changes)


def test_several_outputs_show_the_same_frames(pipe, settings, tmp_path):
    outputs = Output(str(tmp_path / "a.mp4"), True), Output(str(tmp_path / "b.gif"))
    paths = animate(pipe, settings(outputs=outputs))
    assert [path.name for path in paths] == ["a.mp4", "b.gif"]
    sizes = [read_video(path).frames[0].size for path in paths]
    assert sizes == [(48, 64), (144, 64)]


def pixels(path) -> np.ndarray:
    """All of a video's."""
    return np.stack([np.asarray(frame) for frame in read_video(path).frames])


def test_from_latents_needs_no_denoising(pipe, settings, tmp_path):
    """The same film, and no network but the decoder."""
    latents = str(tmp_path / "kept.npy")
    [first] = animate(pipe, settings(save_latents=latents))
    before = pixels(first)
    calls = pipe.parts["denoising_unet"].calls
    [second] = animate(pipe, settings(from_latents=latents))
    assert np.array_equal(pixels(second), before)
    assert pipe.parts["denoising_unet"].calls == calls


@pytest.mark.parametrize(
    ("latents", "message"),
    [
        (b"", "is not a readable .npy file of latents"),
        (b"\x93NUMPY\x01\x00", "is not a readable .npy file of latents"),
        (
            np.zeros((1, 4, 3, 8, 5), np.float32),
            r"must hold latents of 8 rows, 6 columns and at most 3 frames, .* got \(8, 5\) and 3",
        ),
        (np.zeros((1, 4, 4, 8, 6), np.float32), r"at most 3 frames, .* got \(8, 6\) and 4"),
        (np.zeros((1, 4, 3, 8, 6)), "must hold float32 latents of shape .*, got float64"),
        (np.zeros((1, 5, 3, 8, 6), np.float32), r"of shape \(1, 4, frames, height, width\), got"),
        (np.full((1, 4, 3, 8, 6), np.nan, np.float32), "must be finite numbers"),
        (np.array({}), "is not a readable .npy file of latents"),
    ],
)
def test_latents_that_cannot_be(pipe, settings, tmp_path, latents, message):
    path = tmp_path / "kept.npy"
    if isinstance(latents, bytes):
        path.write_bytes(latents)
    else:
        np.save(path, latents)
    with pytest.raises((ValueError, FloatingPointError), match=message):
        animate(pipe, settings(from_latents=str(path)))


def failing(monkeypatch, *names: str) -> None:
    """Files of these names cannot be written, as on a full disk."""
    replacing = files.replacing

    def full(path):
        if Path(path).name in names:
            raise OSError(28, "No space left on device")
        return replacing(path)

    monkeypatch.setattr("animate_anyone.latents.replacing", full)
    monkeypatch.setattr("animate_anyone.media.write.replacing", full)


def test_a_video_that_cannot_be_written_is_not_lost(pipe, settings, tmp_path, monkeypatch):
    """Its latents are kept, and what the message says makes the video from them."""
    [whole] = animate(pipe, settings())
    expected = pixels(whole)
    with monkeypatch.context() as patch:
        failing(patch, "out.mp4")
        with pytest.raises(Unsaved, match=r"out\.mp4 could not be written \(No space") as error:
            animate(pipe, settings())
    [kept] = re.findall(r"run it again with --from-latents (\S+),", str(error.value))
    assert Path(kept).parent == tmp_path
    [again] = animate(pipe, settings(from_latents=kept))
    assert np.array_equal(pixels(again), expected)


def test_latents_go_where_there_is_room(pipe, settings, tmp_path, monkeypatch):
    """Beside the output, else in the working folder."""
    room, full = tmp_path / "room", tmp_path / "full"
    room.mkdir()
    full.mkdir()
    monkeypatch.chdir(room)
    replacing = files.replacing

    def elsewhere(path):
        if Path(path).parent == full:
            raise OSError(28, "No space left on device")
        return replacing(path)

    monkeypatch.setattr("animate_anyone.latents.replacing", elsewhere)
    monkeypatch.setattr("animate_anyone.media.write.replacing", elsewhere)
    with pytest.raises(Unsaved, match=f"--from-latents {room}/latents-"):
        animate(pipe, settings(outputs=(Output(str(full / "out.mp4")),)))


def test_one_failure_does_not_cost_the_rest(pipe, settings, tmp_path, monkeypatch):
    """The video is there where latents fail, the latents where the video fails, and one of two
    videos."""
    latents, video = tmp_path / "kept.npy", tmp_path / "out.mp4"
    two = Output(str(tmp_path / "lost.gif")), Output(str(video))
    cases = {
        "kept.npy": ({"save_latents": str(latents)}, video),
        "out.mp4": ({"save_latents": str(latents)}, latents),
        "lost.gif": ({"outputs": two}, video),
    }
    for lost, (changes, there) in cases.items():
        with monkeypatch.context() as patch:
            failing(patch, lost)
            with pytest.raises(Unsaved, match=f"{lost} could not be written"):
                animate(pipe, settings(**changes))
        assert there.is_file() and not (tmp_path / lost).exists()
        there.unlink()


def test_a_decoder_that_fails_does_not_cost_the_latents(pipe, settings, monkeypatch):
    def broken(**inputs):
        raise MemoryError

    monkeypatch.setitem(pipe.parts, "vae_decoder", broken)
    with pytest.raises(Unsaved, match="--from-latents"):
        animate(pipe, settings())


def test_nothing_runs_before_outputs_are_known_to_be_writable(
    pipe, settings, tmp_path, monkeypatch
):
    for name in pipe.parts:
        monkeypatch.setitem(pipe.parts, name, lambda **_: pytest.fail("a network ran"))
    (tmp_path / "out.mp4").touch(mode=0o444)
    with pytest.raises(OSError, match="cannot be written: it is read-only"):
        animate(pipe, settings())
    with pytest.raises(OSError, match="File name too long"):
        animate(pipe, settings(outputs=(Output(str(tmp_path / f"{'n' * 252}.mp4")),)))
    with pytest.raises(ValueError, match="output must end in .npy"):
        animate(pipe, settings(outputs=(Output(str(tmp_path / "o.gif")),), save_latents="x.pt"))


ANIMATE = ["--width", "48", "--height", "64", "--frames", "2", "--steps", "1"]


def animate_files(models, pose_video, folder) -> list[str]:
    """The beginning of a command that writes `o.mp4` into a folder."""
    inputs = ["--models", models, "--reference", REFERENCE, "--pose", pose_video]
    return [str(word) for word in ["animate", *inputs, "--output", folder / "o.mp4"]]


@pytest.fixture
def command(toy_models, pose_video, tmp_path) -> list[str]:
    """One of two frames, in a process of its own."""
    arguments = [*animate_files(toy_models, pose_video, tmp_path), *ANIMATE]
    return [sys.executable, "-m", "animate_anyone", *arguments]


def test_a_closed_terminal_does_not_end_the_run(command, tmp_path):
    """What is printed may be lost; the video is there, and the exit code says so."""
    line = 'set -o pipefail; "$@" 2>&1 | head -c 1'
    run = subprocess.run(["bash", "-c", line, "bash", *command], check=False, cwd=ROOT)
    assert run.returncode == 0
    assert len(read_video(tmp_path / "o.mp4").frames) == 2


def test_a_real_full_disk(command, tmp_path):
    """Writes beyond a limit fail: the video does not fit, its small latents do."""
    limit = "trap '' XFSZ; ulimit -f 8; exec \"$@\""  # blocks of 1024 bytes
    command[command.index("--width") + 1], command[command.index("--height") + 1] = "96", "128"
    run = subprocess.run(
        ["bash", "-c", limit, "bash", *command],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    [sentence] = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert "o.mp4 could not be written" in sentence
    [kept] = re.findall(r"--from-latents (\S+),", sentence)
    assert np.load(kept).shape == (1, 4, 2, 16, 12)


@pytest.mark.parametrize("size", [["--width", "80000000"], ["--height", "800000000000"]])
def test_absurd_sizes(toy_models, pose_video, tmp_path, capsys, size):
    assert main([*animate_files(toy_models, pose_video, tmp_path), *size]) == 1
    assert re.search(r"error: .* needs at least .* GB of memory", capsys.readouterr().err)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("Exception from src/core: std::bad_alloc"),
    ],
)
def test_memory_shortage_is_a_sentence(command, monkeypatch, capsys, error):
    def short(*_):
        raise error

    monkeypatch.setattr("animate_anyone.jobs.make_latents", short)
    assert main(command[3:]) == 1
    assert "error: memory is too short: use a smaller width" in capsys.readouterr().err
