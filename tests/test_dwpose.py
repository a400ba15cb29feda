"""DWPose on toy networks with the real ports against rtmlib, which computes the same."""

from pathlib import Path
from unittest import mock

import numpy as np
import openvino as ov
import pytest
import rtmlib
from PIL import Image
from toy_pose import figures, write_toy_dwpose

from animate_anyone.convert.poses import convert_pose_models
from animate_anyone.pose.detect import open_detector
from animate_anyone.pose.keypoints import MIN_SCORE

ONE = [(0.3, 0.3, 0.7, 0.6)]
THREE = [(0.1, 0.1, 0.4, 0.3), (0.5, 0.5, 0.9, 0.75), (0.6, 0.05, 0.8, 0.2)]
PICTURES = {
    "upright": figures((418, 740), ONE),
    "wide, two people and an animal": figures(
        (740, 418), [(0.1, 0.1, 0.35, 0.5), (0.6, 0.3, 0.85, 0.8)], [(0.4, 0.5, 0.6, 0.9)]
    ),
    "large, three": figures((1080, 1920), THREE, [(0.05, 0.6, 0.3, 0.8)]),
    "square, of the network's size": figures((640, 640), THREE),
    "tiny": figures((64, 48), [(0.2, 0.1, 0.6, 0.7)]),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return write_toy_dwpose(tmp_path_factory.mktemp("dwpose"))


@pytest.fixture(scope="module")
def detector(weights, tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    assert convert_pose_models(weights, models) == ["dwpose_person", "dwpose_points"]
    return open_detector(models)


@pytest.fixture(scope="module")
def yardstick(weights) -> rtmlib.Wholebody:
    """rtmlib computes in float32 here, and believes boxes as DWPose does."""
    compile_model = ov.Core.compile_model

    def exactly(core, model, device_name, config):
        return compile_model(core, model, device_name, config | {"INFERENCE_PRECISION_HINT": "f32"})

    detector, points = (
        str(weights / "DWPose" / name) for name in ("yolox_l.onnx", "dw-ll_ucoco_384.onnx")
    )
    with mock.patch.object(ov.Core, "compile_model", exactly):
        body = rtmlib.Wholebody(detector, pose=points, to_openpose=True, backend="openvino")
    body.det_model.score_thr, body.det_model.det_mode = 0.3, "multiclass"
    return body


def expected(yardstick, picture: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Points (people, 134, 2) in pixels and scores of all that rtmlib finds."""
    image = np.asarray(picture)[..., ::-1].copy()  # blue first, as OpenCV reads pictures
    boxes, classes = yardstick.det_model(image)
    return yardstick.pose_model(image, boxes[classes == 0])


def whole(pose, size) -> tuple[np.ndarray, np.ndarray]:
    """Points (134, 2) in pixels and scores of a pose, in rtmlib's order; feet are missing."""
    feet = np.full((6, 2), np.nan)
    points = [pose.body * size, feet, pose.face * size, pose.hands.reshape(42, 2) * size]
    scores = [pose.body_score, np.zeros(6), pose.face_score, pose.hands_score.ravel()]
    return np.concatenate(points), np.concatenate(scores)


@pytest.mark.parametrize("name", PICTURES)
def test_like_rtmlib(detector, yardstick, name):
    """Every box gives the person that it gives there; boxes that show the same person count once,
    so crops are looked at one by one."""
    picture = PICTURES[name]
    points, scores = expected(yardstick, picture)
    image = np.asarray(picture)
    crops = detector.find(image)
    assert len(crops) == len(points) > 0
    for crop, there, sure in zip(crops, points, scores):
        here, score = whole(detector.look(image, crop).pose, picture.size)
        sure[18:24] = 0  # feet
        seen = sure >= MIN_SCORE
        assert seen.sum() > 90
        assert np.array_equal(np.isfinite(here[:, 0]), seen)
        assert np.abs(here - there)[seen].max() < 0.5
        assert score[seen] == pytest.approx(sure[seen], abs=1e-3)


def test_the_crop_follows_the_points(detector):
    """In a film the next picture is cut about the points of the last, with room around them."""
    picture = PICTURES["upright"]
    image = np.asarray(picture)
    person = detector.look(image, detector.find(image)[0])
    points = whole(person.pose, picture.size)[0]
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    assert person.crop.centre == pytest.approx((low + high) / 2, abs=30)  # feet are points, too
    assert (person.crop.size >= 1.5 * (high - low)).all()
    assert person.crop.size[0] / person.crop.size[1] == pytest.approx(288 / 384)
    followed = list(detector.follow([picture] * 2))
    assert len(followed) == 2
    assert followed[0]


def test_nobody(detector, yardstick):
    picture = figures((500, 300), animals=[(0.3, 0.3, 0.6, 0.9)])
    boxes, classes = yardstick.det_model(np.asarray(picture)[..., ::-1].copy())
    assert (classes != 0).all()
    assert len(boxes) > 0
    assert detector(picture) == []


def test_without_a_person_detector_a_picture_is_one_person(weights, tmp_path):
    (tmp_path / "DWPose").mkdir()
    name = "DWPose/dw-ll_ucoco_384.onnx"
    (tmp_path / name).write_bytes((weights / name).read_bytes())
    assert convert_pose_models(tmp_path, tmp_path / "models") == ["dwpose_points"]
    detector = open_detector(tmp_path / "models", "dwpose")
    image = np.asarray(PICTURES["upright"])
    (crop,) = detector.find(image)
    assert crop.centre.tolist() == [209, 370]
    assert crop.size == pytest.approx([1.25 * 740 * 288 / 384, 1.25 * 740])
    assert len(detector(PICTURES["upright"])) == 1
