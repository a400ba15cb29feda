"""From a film to pose frames and to a video, through the command line: a camera that pans over
scikit-image's picture of an astronaut is the film.
"""

import json
import re
import shutil
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from animate_anyone.cli import main
from animate_anyone.convert.poses import convert_pose_models
from animate_anyone.media.read import read_video
from animate_anyone.media.write import write_video
from animate_anyone.pose.detector import PoseDetector
from animate_anyone.pose.film import draw_poses, find_pose, find_poses, read_pose
from animate_anyone.pose.keypoints import PoseSequence
from animate_anyone.pose.keypoints_file import read_keypoints, write_keypoints
from animate_anyone.pose.looks import check_is_film, check_is_poses, is_film
from demo_model.examples import FOLDER, MOTIONS

from conftest import POSE_WEIGHTS, ROOT, TOY, load_case

FRAMES, FPS = 6, Fraction(25)
REFERENCE = str(TOY / "short" / "reference.png")
MEDIA = ROOT.parent / "shared" / "media"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A film of somebody, a film of nobody, the picture of somebody, and one of nobody."""
    folder = tmp_path_factory.mktemp("film")
    picture = Image.fromarray(astronaut())
    picture.save(folder / "somebody.png")
    pan = [picture.crop((8 * frame, 0, 400 + 8 * frame, 512)) for frame in range(FRAMES)]
    write_video(pan, folder / "film.mp4", FPS)
    wall = Image.new("RGB", (320, 240), "silver")
    wall.save(folder / "wall.png")
    write_video([wall] * 3, folder / "wall.mp4", FPS)
    write_video(pan[:1], folder / "one.mp4", FPS)
    return folder


@pytest.fixture(scope="module")
def poses(folder, blazepose_models):
    """The film's keypoints and pose video, as the command line writes them."""
    outputs = folder / "poses.json", folder / "poses.mp4"
    command = ["pose", "--models", str(blazepose_models), "--video", str(folder / "film.mp4")]
    assert not main([*command, "--keypoints", str(outputs[0]), "--output", str(outputs[1])])
    return outputs


@pytest.fixture(scope="module")
def both_models(toy_models, tmp_path_factory):
    """The toy networks, and those of BlazePose, in one folder."""
    if not (POSE_WEIGHTS / "BlazePose").is_dir():
        pytest.skip("no BlazePose networks: `make test` fetches them")
    models = shutil.copytree(toy_models, tmp_path_factory.mktemp("models") / "models")
    convert_pose_models(POSE_WEIGHTS, models)
    return models


def test_poses_of_a_film(poses):
    file = read_keypoints(poses[0])
    assert (len(file.people), file.size, file.fps) == (FRAMES, (400, 512), FPS)
    noses = np.stack([people[0].body[0] * file.size for people in file.people])
    np.testing.assert_allclose(np.diff(noses, axis=0)[1:-1].mean(axis=0), (-8, 0), atol=2.5)
    video = read_video(poses[1])
    assert (len(video.frames), video.fps, video.frames[0].size) == (FRAMES, FPS, (512, 656))


def test_fitted_anew_without_the_film(poses, folder, blazepose_models, tmp_path, capsys):
    command = ["pose", "--pose", str(poses[0]), "--models", str(blazepose_models)]
    command += ["--reference", str(folder / "somebody.png"), "--align", "global"]
    assert not main([*command, "--keypoints", str(tmp_path / "fitted.json")])
    fitted = read_keypoints(tmp_path / "fitted.json")
    assert fitted.size == (512, 512)
    own = find_pose(Image.fromarray(astronaut()), blazepose_models)
    middle = np.mean([people[0].body for people in fitted.people], axis=0)
    np.testing.assert_allclose(middle[:3], own.body[:3], atol=0.02)
    # The same from a file of the reference's pose, where no detector is asked.
    sequence = PoseSequence([own], 512, 512, FPS)
    keypoints = write_keypoints(sequence, tmp_path / "own.json")
    command[4:5] = [str(tmp_path / "no models")]
    command += ["--reference-keypoints", str(keypoints)]
    assert not main([*command, "--keypoints", str(tmp_path / "again.json")])
    again = read_keypoints(tmp_path / "again.json")
    np.testing.assert_allclose(again.people[0][0].body, fitted.people[0][0].body, atol=1e-4)


def test_animate_a_film(both_models, folder, poses, tmp_path):
    """A film, its keypoints and its pose video make the same video of the same poses."""
    latents = {}
    size = ["--width", "48", "--height", "64", "--steps", "1", "--guidance", "1"]
    size += ["--precision", "f32"]  # roundings would hide what differs
    sources = {
        "video": ["--video", str(folder / "film.mp4"), "--align", "off"],
        "keypoints": ["--pose", str(poses[0])],
        "pose": ["--pose", str(poses[1])],
        "fitted": ["--video", str(folder / "film.mp4")],
    }
    for name, source in sources.items():
        command = ["animate", "--models", str(both_models), *source, *size, "--frames", "3"]
        command += ["--reference", str(folder / "somebody.png")]
        output, kept = tmp_path / f"{name}.mp4", tmp_path / f"{name}.npy"
        assert not main([*command, "--output", str(output), "--save-latents", str(kept)])
        latents[name] = np.load(kept)
        assert read_video(output).fps == FPS
    apart = {name: np.abs(latents[name] - latents["keypoints"]).mean() for name in latents}
    assert apart["pose"] < 0.03  # it went through a codec
    assert apart["video"] < 0.03
    assert apart["fitted"] > 2 * apart["video"], apart


BAD = {
    "nobody in the reference": (
        ["--video", "film.mp4", "--reference", "wall.png"],
        r"wall\.png must show somebody .* --reference-keypoints, or use --align off",
    ),
    "nobody in the film": (
        ["--video", "wall.mp4"],
        r"wall\.mp4: somebody must be seen, got nobody",
    ),
    "too many persons": (
        ["--video", "film.mp4", "--person", "2"],
        r"film\.mp4: person must be from 1 to 1",
    ),
    "person zero": (["--video", "film.mp4", "--person", "0"], "person must be at least 1, got 0"),
    "no film": (["--video", "none.mp4"], r"none\.mp4 does not exist"),
    "a picture of noise": (["--video", "poses.json"], r"poses\.json is not a readable video"),
    "skeletons as a film": (["--video", "poses.mp4"], "looks like a video of skeletons.* --pose"),
    "a pose video": (["--pose", "poses.mp4"], r"--pose must be a \.json file of keypoints"),
    "no reference": (["--video", "film.mp4", "--align", "limbs"], "needs a reference picture"),
    "no frames": (["--video", "film.mp4", "--frames", "0"], "num_frames must be at least 1"),
    "another detector": (["--video", "film.mp4", "--detector", "dwpose"], "download --pose dwpose"),
    "the pose of another picture": (
        ["--video", "film.mp4", "--reference", "somebody.png"]
        + ["--reference-keypoints", "poses.json"],
        r"poses\.json must have the shape of the picture, 512x512, got a canvas of 400x512",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case, poses, folder, blazepose_models, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    options, message = BAD[case]
    output = tmp_path / "out.json"
    command = ["pose", "--models", str(blazepose_models), *options, "--keypoints", str(output)]
    assert main(command) == 1
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert re.search(message, line), line
    assert not output.exists()


def test_where_nothing_is_written(folder, blazepose_models, capsys):
    film = str(folder / "film.mp4")
    command = ["pose", "--models", str(blazepose_models), "--video", film]
    assert main(command) == 1
    assert "--output or --keypoints must be given" in capsys.readouterr().err
    assert main([*command, "--output", film]) == 1
    assert "would overwrite the input" in capsys.readouterr().err


def test_no_detector(folder, tmp_path, capsys):
    command = ["pose", "--models", str(tmp_path), "--video", str(folder / "film.mp4")]
    assert main([*command, "--keypoints", str(tmp_path / "out.json")]) == 1
    assert "download --pose blazepose" in capsys.readouterr().err


def test_no_models(folder, tmp_path, capsys):
    command = ["pose", "--video", str(folder / "film.mp4")]
    assert main([*command, "--keypoints", str(tmp_path / "out.json")]) == 1
    assert "--models) must be the folder of a detector, got none" in capsys.readouterr().err


def test_a_film_of_one_frame(folder, blazepose_models):
    assert len(find_poses(folder / "one.mp4", blazepose_models)) == 1


@pytest.mark.parametrize("size", [(16, 16), (16, 4000), (4000, 16), (4000, 4000)])
def test_sizes(size, blazepose_models, tmp_path):
    """Nobody is found, or somebody; the search ends in either."""
    write_video([Image.fromarray(astronaut()).resize(size)], tmp_path / "film.mp4", FPS)
    try:
        found = find_poses(tmp_path / "film.mp4", blazepose_models)
    except ValueError as error:
        assert "somebody must be seen" in str(error)
    else:
        frame = next(draw_poses(found))
        assert max(frame.size) <= 4096


class Nobody(PoseDetector):
    """Sees somebody in the middle of each frame, without networks."""

    def __init__(self, pose):
        self.pose = pose

    def find(self, image):
        return []

    def look(self, image, crop):
        return None

    def follow(self, frames):
        for _ in frames:
            yield [self.pose]


def test_a_search_can_be_ended(folder, poses):
    seen = []

    def stop(done, total):
        seen.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    pose = read_keypoints(poses[0]).people[0][0]
    with pytest.raises(KeyboardInterrupt):
        find_poses(folder / "film.mp4", Nobody(pose), on_frame=stop)
    assert seen == [(1, FRAMES), (2, FRAMES)]


def test_read_pose_of_an_empty_frame(tmp_path):
    path = tmp_path / "empty.json"
    path.write_text(json.dumps({"people": [], "canvas_width": 8, "canvas_height": 8}))
    with pytest.raises(ValueError, match="must hold the pose of somebody"):
        read_pose(path, (8, 8))


OURS = [FOLDER / f"{name}.mp4" for name in MOTIONS]
PUBLISHED = sorted(MEDIA.glob("*_kps.mp4")) if MEDIA.is_dir() else []


@pytest.mark.parametrize("path", [*OURS, *PUBLISHED], ids=lambda p: p.stem)
@pytest.mark.parametrize("change", ["as it is", "noisy", "small", "grey"])
def test_pose_videos_are_known(path, change, tmp_path):
    frames = list(read_video(path, 8).frames)
    if change != "as it is":
        rng = np.random.default_rng(0)
        frames = [changed(frame, change, rng) for frame in frames]
        path = write_video(frames, tmp_path / "changed.mp4", FPS)
    check_is_poses(path)
    assert not is_film(path)
    if change == "as it is":
        with pytest.raises(ValueError, match="--pose"):
            check_is_film(path)


def changed(frame: Image.Image, change: str, rng) -> Image.Image:
    """A pose frame as careless tools pass it on."""
    if change == "small":
        return frame.resize((96, 96))
    pixels = np.asarray(frame).astype(float)
    pixels = pixels + (rng.normal(0, 8, pixels.shape) if change == "noisy" else 14)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("name", ["short", "long", "odd", "noguide"])
def test_skeletons_in_other_colours_pass(name, tmp_path):
    check_is_poses(write_video(load_case(name)[2], tmp_path / "poses.mp4", FPS))


def test_films_are_known(folder):
    for name in ("film.mp4", "wall.mp4"):
        check_is_film(folder / name)
        assert is_film(folder / name)
        with pytest.raises(ValueError, match="looks like a film: pass it as --video"):
            check_is_poses(folder / name)


def test_a_film_as_pose_is_refused_before_anything_runs(folder, toy_models, tmp_path, capsys):
    command = ["animate", "--models", str(toy_models), "--reference", REFERENCE]
    command += ["--pose", str(folder / "film.mp4"), "--output", str(tmp_path / "out.mp4")]
    assert main(command) == 1
    assert "--video" in capsys.readouterr().err


def test_swapped_red_and_blue(tmp_path, caplog):
    for path in OURS:
        caplog.clear()
        check_is_poses(path)
        assert not caplog.records
        frames = [
            Image.fromarray(np.asarray(f)[..., ::-1].copy()) for f in read_video(path, 8).frames
        ]
        check_is_poses(write_video(frames, tmp_path / "swapped.mp4", FPS))
        assert "red and blue are swapped" in caplog.text
