"""The small model's pose network: small, exact on what it has never seen, and enough to let a film
of another body drive a character.
"""

import numpy as np
import pytest
import torch

from animate_anyone.base.pose_networks import DWPOSE
from animate_anyone.convert.poses import convert_pose_models
from animate_anyone.inputs import make_poses
from animate_anyone.media.read import read_video
from animate_anyone.pose.align import align_poses
from animate_anyone.pose.detect import open_detector
from animate_anyone.pose.film import find_poses
from animate_anyone.pose.keypoints import to_points
from animate_anyone.pose.looks import check_is_film
from animate_anyone.settings import PoseSettings
from demo_model.drawing.character import HELD_OUT_SEEDS, random_character
from demo_model.drawing.skeleton import at_ease
from demo_model.examples import CHARACTERS, FILMS, FOLDER, film
from demo_model.files import WEIGHTS
from demo_model.measuring.found_poses import errors
from demo_model.training import pose_network
from demo_model.training.pose_network import PoseNetwork, cut_out, wholebody

from conftest import CACHE


@pytest.fixture(scope="module")
def models():
    convert_pose_models(WEIGHTS, CACHE / "small_pose")
    return CACHE / "small_pose"


def test_is_small():
    assert (WEIGHTS / DWPOSE["dwpose_points"].file).stat().st_size <= 2e6


@pytest.mark.parametrize("other_bodies", [False, True])
def test_exact_on_characters_and_motions_it_never_saw(models, other_bodies):
    """The mean over all points; `demo_model.measuring.found_poses` has the parts."""
    found = errors(open_detector(models), 20, other_bodies)
    assert found["missing"] < 0.01
    points = {"body": 18, "hands": 42, "face": 68}
    assert sum(found[name] * count for name, count in points.items()) / 128 <= 1.0


@pytest.mark.parametrize("name", FILMS)
def test_a_film_of_another_body_fits_the_character(models, name):
    """The skeleton is nearer to the character's own body than the film's is."""
    check_is_film(FOLDER / f"{name}.mp4")
    settings = PoseSettings(
        video=str(FOLDER / f"{name}.mp4"), reference=str(FOLDER / "curly.png"), alignment="limbs"
    )
    fitted = make_poses(settings, models)
    own = at_ease(random_character(HELD_OUT_SEEDS[CHARACTERS["curly"]]))
    found = find_poses(settings.video, models)

    def legs(sequence) -> float:
        points = np.stack([to_points(pose, (256, 256)) for pose in sequence.poses])
        bones = [points[:, end] - points[:, start] for start, end in ((8, 9), (9, 10))]
        return float(sum(np.linalg.norm(bone, axis=-1).mean() for bone in bones))

    wanted = legs(align_poses(found, own, (256, 256), "limbs"))
    assert abs(legs(fitted) - wanted) < abs(legs(found) - wanted)
    truth, _ = film(name)
    apart = [
        np.linalg.norm(to_points(a, (100, 100)) - to_points(b, (100, 100)), axis=1)
        for a, b in zip(found.poses, truth, strict=True)
    ]
    assert np.nanmean(apart) < 1.5


def test_films_are_what_the_examples_write():
    for name in FILMS:
        video = read_video(FOLDER / f"{name}.mp4")
        shown, drawn = np.asarray(video.frames[7], float), film(name)[1][7].astype(float)
        assert np.abs(shown - drawn).mean() < 3


def test_a_step_of_training(tmp_path, monkeypatch):
    """Three steps, then ONNX that OpenVINO reads."""
    monkeypatch.setattr(pose_network, "PICTURES", 6)
    monkeypatch.setattr(pose_network, "BATCH", 2)
    for name in ("BUILD", "WEIGHTS", "HOME"):
        monkeypatch.setattr(pose_network, name, tmp_path / name)
    pose_network.train(float("inf"), 3)
    assert convert_pose_models(tmp_path / "WEIGHTS", tmp_path / "models") == ["dwpose_points"]
    open_detector(tmp_path / "models")


def test_points_are_cut_out_with_the_picture():
    """A bright dot stays at its point."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        points = rng.uniform(0.2, 0.8, (133, 2))
        picture = np.zeros((192, 192, 3), np.uint8)
        x, y = (192 * points[0]).astype(int)
        points[0] = (x + 0.0) / 192, (y + 0.0) / 192
        picture[y - 1 : y + 2, x - 1 : x + 2] = 255
        cut, bins = cut_out(picture, points, rng)
        brightest = np.argwhere(cut.sum(axis=2) > 0.8 * cut.sum(axis=2).max()).mean(axis=0)[::-1]
        assert np.abs(brightest - bins[0] / 2).max() < 3


def test_wholebody_has_every_point():
    points = wholebody(at_ease(random_character(0)))
    assert points.shape == (133, 2) and (points != 0).all()


def test_forward_has_the_ports_of_dwpose():
    x, y = PoseNetwork()(torch.zeros(DWPOSE["dwpose_points"].image))
    shapes = [shape for _, shape in DWPOSE["dwpose_points"].outputs.values()]
    assert [tuple(x.shape), tuple(y.shape)] == shapes
