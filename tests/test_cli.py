"""The command line, as a person calls it."""

import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from PIL import Image

from animate_anyone.cli import _parser, main
from animate_anyone.media.images import fit_image, load_image
from animate_anyone.media.read import read_video
from animate_anyone.media.write import write_video
from animate_anyone.run.pipeline import OVAnimateAnyonePipeline
from animate_anyone.run.presets import PRESETS
from animate_anyone.runtime import precision_config

from conftest import ROOT, TOY, load_case


@pytest.fixture(scope="module")
def pose_video(tmp_path_factory):
    """40 pose maps at 30 frames per second."""
    poses = load_case("long")[2]
    path = tmp_path_factory.mktemp("pose") / "pose.mp4"
    return write_video([*poses, *poses[:10]], path, 30)


def animate(models, pose, output, *more) -> list[str]:
    reference = TOY / "short" / "reference.png"
    arguments = ["--models", models, "--reference", reference, "--pose", pose, "--output", output]
    return [str(argument) for argument in ["animate", *arguments, *more]]


@pytest.mark.slow
def test_animate_twice(toy_models_int8, pose_video, tmp_path):
    """The main job in processes of its own: three panels of 40 frames, and the same bytes again."""
    runs = []
    for name in ("first", "second"):
        more = ["--width", "48", "--height", "64", "--frames", "40", "--steps", "2", "--seed", "3"]
        latents = ["--save-latents", tmp_path / f"{name}.npy"]
        runs.append(animate(toy_models_int8, pose_video, tmp_path / f"{name}.mp4", *more, *latents))
    for run in runs:
        command = [sys.executable, "-m", "animate_anyone", *run]
        result = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    with av.open(str(tmp_path / "first.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (3 * 48, 64)
        assert stream.average_rate == Fraction(30)
        assert sum(1 for _ in container.decode(stream)) == 40
    first, second = ((tmp_path / f"{name}.npy").read_bytes() for name in ("first", "second"))
    assert first == second
    assert np.load(tmp_path / "first.npy").shape == (1, 4, 40, 8, 6)


def test_only_result(toy_models, pose_video, tmp_path):
    more = ["--frames", "2", "--steps", "1", "--only-result", "--precision", "f32", "--width", "48"]
    assert main(animate(toy_models, pose_video, tmp_path / "out.mp4", *more)) == 0
    video = read_video(tmp_path / "out.mp4")
    assert len(video.frames) == 2
    assert video.frames[0].size == (48, 64)


def test_preset(toy_models, pose_video, tmp_path):
    """It gives what the pipeline's own preset gives, and all names are known on both sides."""
    size = ["--frames", "2", "--width", "48", "--height", "64", "--precision", "f32"]
    more = [*size, "--preset", "fast", "--save-latents", tmp_path / "fast.npy"]
    assert main(animate(toy_models, pose_video, tmp_path / "out.mp4", *more)) == 0
    pipe = OVAnimateAnyonePipeline.from_pretrained(toy_models, ov_config=precision_config("f32"))
    reference = fit_image(load_image(TOY / "short" / "reference.png"), 48, 64)
    poses = [fit_image(frame, 48, 64) for frame in read_video(pose_video, 2).frames]
    generator, settings = torch.Generator().manual_seed(0), {"width": 48, "height": 64}
    own = pipe(
        reference, poses, generator=generator, preset="fast", output_type="latent", **settings
    ).frames
    assert np.array_equal(np.load(tmp_path / "fast.npy"), own)
    for preset in PRESETS:
        arguments = animate(toy_models, pose_video, tmp_path / "out.mp4", "--preset", preset)
        assert _parser().parse_args(arguments).preset == preset
    with pytest.raises(SystemExit):
        _parser().parse_args(animate(toy_models, pose_video, "out.mp4", "--preset", "best"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--width", "450"], "width must be a multiple of 8, got 450"),
        (["--frames", "41"], "num_frames must be at most 40, the frames of"),
        (["--frames", "0"], "num_frames must be at least 1, got 0"),
        (["--steps", "0"], "num_inference_steps must be at least 1, got 0"),
        (["--guidance", "-0.5"], "guidance_scale must be at least 0 and finite, got -0.5"),
        (["--device", "TPU"], "device 'TPU' does not exist here; there are ['CPU'"),
        (["--guidance", "inf"], "guidance_scale must be at least 0 and finite, got inf"),
        (["--seed", "-1"], "seed must be from 0 to 2**63 - 1, got -1"),
        (
            ["--output", "out.avi"],
            "output must end in .mp4 or .webm or .gif or .zip or .png, or have no ending",
        ),
        (["--save-latents", "nowhere/x.npy"], "output folder nowhere does not exist"),
        (["--save-latents", "x.pt"], "output must end in .npy, got 'x.pt'"),
        (["--output", "nowhere/out.mp4"], "output folder nowhere does not exist"),
        (["--reference", "nobody.png"], "nobody.png does not exist"),
    ],
)
def test_bad_input_is_one_sentence(toy_models, pose_video, tmp_path, capsys, more, message):
    assert main(animate(toy_models, pose_video, tmp_path / "out.mp4", *more)) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error
    assert not list(tmp_path.iterdir())


def test_input_is_not_overwritten(toy_models, pose_video, capsys):
    before = pose_video.read_bytes()
    assert main(animate(toy_models, pose_video, pose_video)) == 1
    assert "output would overwrite the input" in capsys.readouterr().err
    assert pose_video.read_bytes() == before


def test_help_names_every_option(capsys):
    for command, words in {
        "download": ("--weights", "--dry-run"),
        "convert": ("--weights", "--models", "--compression"),
        "animate": ("--guidance", "--precision", "--only-result", "--save-latents", "recommends"),
    }.items():
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0
        text = capsys.readouterr().out
        assert all(word in text for word in words)


def test_quiet(toy_models, pose_video, tmp_path):
    """Results and errors alone: no bars, no lines of ours, none of libraries."""
    more = ["--frames", "2", "--width", "48", "--steps", "1", "--quiet"]
    run = animate(toy_models, pose_video, tmp_path / "out.mp4", *more)
    command = [sys.executable, "-m", "animate_anyone", *run]
    result = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.strip() == str(tmp_path / "out.mp4") and result.stderr == ""


def test_lines_do_not_break_bars(toy_models, pose_video, tmp_path, capsys):
    more = ["--frames", "2", "--width", "48", "--steps", "2"]
    assert main(animate(toy_models, pose_video, tmp_path / "out.mp4", *more)) == 0
    lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    told = [line for line in lines if " runs on CPU in " in line]
    assert told and all("%|" not in line for line in told)


def test_preview(toy_models, pose_video, tmp_path):
    """A picture of the size of the result, replaced as the run goes on."""
    more = ["--frames", "3", "--width", "48", "--height", "64", "--steps", "3"]
    preview = ["--preview", tmp_path / "preview.png"]
    assert main(animate(toy_models, pose_video, tmp_path / "out.mp4", *more, *preview)) == 0
    assert Image.open(tmp_path / "preview.png").size == (48, 64)
    bad = ["--preview", tmp_path / "preview.jpg"]
    assert main(animate(toy_models, pose_video, tmp_path / "out.mp4", *more, *bad)) == 1
