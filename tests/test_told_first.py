"""What is wrong is told before a film is searched, and what was found is not lost."""

import os
import re
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from animate_anyone.cli import main
from animate_anyone.inputs import make_poses
from animate_anyone.jobs import Unsaved, animate, write_poses
from animate_anyone.media.images import fit_image
from animate_anyone.media.read import read_video
from animate_anyone.media.write import write_video
from animate_anyone.pose.film import read_poses, warn_if_unsure
from animate_anyone.pose.keypoints import Pose, PoseSequence
from animate_anyone.pose.keypoints_file import write_keypoints
from animate_anyone.pose.track import follow_performer
from animate_anyone.settings import AnimationSettings, Output, PoseSettings

from conftest import TOY, load_case, run_case

REFERENCE = str(TOY / "short" / "reference.png")


def somebody(x: float = 0.5, score: float = 1.0) -> Pose:
    body = np.linspace((x, 0.2), (x, 0.8), 18)
    return Pose(body, np.full(18, score), np.full((2, 21, 2), -1.0), np.full((68, 2), -1.0))


def sequence_of(*poses: Pose) -> PoseSequence:
    return PoseSequence(list(poses), 64, 48, Fraction(10))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A film of noise, six frames long, and a file of keypoints."""
    folder = tmp_path_factory.mktemp("told")
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 255, (48, 64, 3), np.uint8)) for _ in range(6)]
    write_video(noise, folder / "film.mp4", 10)
    write_keypoints(sequence_of(*[somebody()] * 4), folder / "poses.json")
    return folder


@pytest.fixture
def settings(folder, tmp_path):
    def changed(**changes) -> AnimationSettings:
        values = {
            "reference": REFERENCE,
            "video": str(folder / "film.mp4"),
            "outputs": (Output(str(tmp_path / "out.mp4")),),
        }
        return AnimationSettings(**values | changes)

    return changed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_inference_steps": 0}, "num_inference_steps must be at least 1, got 0"),
        ({"guidance_scale": -1.0}, "guidance_scale must be at least 0 and finite, got -1"),
        ({"width": 13}, "width must be a multiple of 8, got 13"),
        ({"height": 80_000_000}, "needs at least .* GB of memory"),
        ({"preset": "best"}, "preset must be one of"),
        ({"num_frames": 7}, "num_frames must be at most 6, the frames of .*film.mp4, got 7"),
        ({"context_frames": 99}, "context_frames must be at most 32"),
        ({"context_overlap": 24}, "context_overlap must be at least 0 and below context_frames"),
        ({"reference": "nobody.png"}, "nobody.png does not exist"),
        ({"video": "nothing.mp4"}, "nothing.mp4 does not exist"),
        ({"video": REFERENCE, "reference_keypoints": "no.json"}, "no.json does not exist"),
        ({"start": 3.0}, "start must be before the end of"),
        ({"from_latents": "no.npy"}, "no.npy does not exist"),
    ],
)
def test_before_a_film_is_searched(pipe, settings, monkeypatch, changes, message):
    monkeypatch.setattr("animate_anyone.inputs.open_detector", lambda *_: pytest.fail("searched"))
    with pytest.raises((ValueError, OSError), match=message):
        animate(pipe, settings(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference_keypoints": "r.json"}, "reference_keypoints need a reference"),
        (
            {"reference_keypoints": "r.json", "reference": "a.png", "alignment": "off"},
            "need an alignment other than off",
        ),
        ({"video": None, "pose": "p.json", "detector": "dwpose"}, "detector needs a film, or"),
        ({"video": None, "pose": "p.mp4", "detector": "dwpose"}, "detector needs a film, or"),
        ({"num_frames": 10**22}, "num_frames must be at most"),
        ({"fps": 0}, "fps must be from"),
        ({"audio": 1}, "audio must be bool"),
    ],
)
def test_what_nothing_would_use_is_refused(changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        PoseSettings(**{"video": "film.mp4"} | changes)


def test_files_are_looked_at_before_the_reference_is_searched(folder, monkeypatch):
    monkeypatch.setattr("animate_anyone.inputs.open_detector", lambda *_: pytest.fail("searched"))
    with pytest.raises(FileNotFoundError, match="nothing.mp4 does not exist"):
        make_poses(PoseSettings(video="nothing.mp4", reference=REFERENCE), folder)
    (folder / "broken.json").write_text("[")
    broken = PoseSettings(pose=str(folder / "broken.json"), reference=REFERENCE, alignment="limbs")
    with pytest.raises(ValueError, match="is not valid JSON"):
        make_poses(broken, folder)


def test_a_person_who_is_not_there_is_told_at_once():
    def film():
        yield []
        yield [somebody(0.3), somebody(0.7)]
        pytest.fail("the film was searched on")

    with pytest.raises(ValueError, match="person must be from 1 to 2, .* in frame 1, got 3"):
        follow_performer(film(), (64, 48), Fraction(10), person=3)


def test_outputs_that_are_one_file(folder, tmp_path, capsys):
    pose, out = str(folder / "poses.json"), str(tmp_path / "out.json")
    assert main(["pose", "--pose", pose, "--output", out, "--keypoints", out]) == 1
    assert "outputs must be different files" in capsys.readouterr().err
    (tmp_path / "link.mp4").symlink_to(tmp_path / "out.json")
    link = str(tmp_path / "link.mp4")
    assert main(["pose", "--pose", pose, "--output", link, "--keypoints", out]) == 1
    assert "outputs must be different files" in capsys.readouterr().err


def test_pipes_and_loops_are_no_outputs(folder, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    for name, message in (("pipe.mp4", "is a device or a pipe"), ("loop.mp4", "cannot be written")):
        command = ["pose", "--pose", folder / "poses.json", "--output", tmp_path / name]
        assert main([str(word) for word in command]) == 1
        assert message in capsys.readouterr().err.splitlines()[-1]
    assert (tmp_path / "pipe.mp4").is_fifo()


def test_poses_that_cannot_be_written_are_not_lost(tmp_path):
    """The other file is there, and so are the poses."""
    sequence, gone = sequence_of(somebody(), somebody()), tmp_path / "gone"
    with pytest.raises(Unsaved, match="o.mp4 could not be written") as error:
        write_poses(sequence, gone / "o.mp4", tmp_path / "kept.json")
    assert f"pose --pose {tmp_path / 'kept.json'}`," in str(error.value)
    with pytest.raises(Unsaved, match="k.json could not be written") as error:
        write_poses(sequence, tmp_path / "o.mp4", gone / "k.json")
    assert len(read_video(tmp_path / "o.mp4").frames) == 2
    [rescued] = re.findall(r"pose --pose (\S+)`,", str(error.value))
    assert len(read_poses(rescued)) == 2


def test_unsure_poses_are_told(caplog):
    warn_if_unsure("film.mp4", sequence_of(somebody(score=0.9)))
    assert not caplog.records
    warn_if_unsure("film.mp4", sequence_of(somebody(score=0.55)))
    assert "film.mp4: the poses are unsure (confidence 0.55 of 1)" in caplog.text


def test_part_of_keypoints(folder):
    settings = PoseSettings(pose=str(folder / "poses.json"), start=0.1, duration=0.2, fps=5)
    assert (len(make_poses(settings, None)), make_poses(settings, None).fps) == (1, 5)
    with pytest.raises(ValueError, match="start must be before the end of"):
        make_poses(PoseSettings(pose=str(folder / "poses.json"), start=9), None)


def test_the_pipeline_never_stretches_by_itself(pipe):
    """Pictures of another shape are cropped, as those of the command line, if nothing is said."""
    settings, reference, poses, _ = load_case("noguide")
    width, height = 2 * settings["width"], 2 * settings["height"]  # the shape of the result
    reference = reference.convert("RGB").resize((width, height))
    wide = Image.new("RGB", (2 * width, height), "red")
    wide.paste(reference, (width // 2, 0))
    changes = {"num_inference_steps": 1, "output_type": "latent", "pose_images": poses}
    cropped = run_case(pipe, "noguide", reference_image=wide, fit="crop", **changes)[0]
    fitted = fit_image(wide, settings["width"], settings["height"])
    alone = run_case(pipe, "noguide", reference_image=fitted, fit="crop", **changes)[0]
    assert np.array_equal(cropped, alone)
    for fit in ("pad", "stretch"):
        other = run_case(pipe, "noguide", reference_image=wide, fit=fit, **changes)[0]
        assert np.abs(other - alone).max() > 1e-3
    with pytest.raises(ValueError, match="fit must be one of"):
        run_case(pipe, "noguide", fit="squash")


def test_one_picture(toy_models, folder, tmp_path, capsys):
    """A picture in another pose; several frames do not go into one."""
    size = ["--width", "48", "--height", "64", "--steps", "1", "--only-result"]
    command = ["animate", "--models", toy_models, "--reference", REFERENCE, *size]
    command += ["--pose", folder / "poses.json", "--output", tmp_path / "out.png"]
    command = [str(word) for word in command]
    assert main(command) == 1
    assert "num_frames (--frames) must be 1 for the picture" in capsys.readouterr().err
    assert main([*command, "--frames", "1"]) == 0
    assert Image.open(tmp_path / "out.png").size == (48, 64)
