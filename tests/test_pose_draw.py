"""Pose maps against the ones the reference implementation drew."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from animate_anyone.pose import Pose, draw_pose

GOLDEN = Path(__file__).parent / "golden" / "pose_maps"
KEYPOINTS = json.loads((GOLDEN / "keypoints.json").read_text())
BLUE, WHITE = (0, 0, 255), (255, 255, 255)


def golden_pose(index: int = 0) -> Pose:
    names = "body", "body_score", "hands", "face"
    return Pose(**{name: np.array(KEYPOINTS[index][name]) for name in names})


def missing_pose() -> Pose:
    points = [np.full(shape, -1.0) for shape in ((18, 2), (2, 21, 2), (68, 2))]
    return Pose(points[0], np.ones(18), points[1], points[2])


def colours(picture: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(map(int, colour)) for colour in np.unique(picture.reshape(-1, 3), axis=0)}


@pytest.mark.parametrize("index", range(8))
def test_equals_reference(index):
    size = KEYPOINTS[index]["width"], KEYPOINTS[index]["height"]
    expected = np.array(Image.open(GOLDEN / f"map_{index}.png").convert("RGB"))
    drawn = draw_pose(golden_pose(index), *size)
    assert drawn.dtype == np.uint8 and drawn.shape == (size[1], size[0], 3)
    assert (drawn == expected).all(axis=2).mean() >= 0.995  # 1.0 where the goldens were drawn
    on_figure = expected.any(axis=2)  # black alone would pass the line above on some maps
    assert (drawn == expected).all(axis=2)[on_figure].mean() >= 0.99


@pytest.mark.parametrize("nothing", [-1.0, np.nan])
def test_missing_points_are_not_drawn(nothing):
    pose = golden_pose()
    for points in (pose.body, pose.hands, pose.face):
        points[:] = nothing
    assert not draw_pose(pose, 512, 768).any()


def test_low_score_drops_joint_and_its_limbs():
    pose = missing_pose()
    pose.body[[2, 3, 4]] = [[0.2, 0.5], [0.5, 0.5], [0.8, 0.5]]  # shoulder, elbow, wrist
    pose.body_score[3] = 0.3  # a joint is drawn above 0.3 only
    assert colours(draw_pose(pose, 200, 100)) == {(0, 0, 0), (255, 170, 0), (170, 255, 0)}
    pose.body_score[3] = 0.31
    assert draw_pose(pose, 200, 100)[50, 70].tolist() == [153, 102, 0]  # the limb, dimmed


def test_missing_hand_point_takes_its_bones_along():
    pose = missing_pose()
    pose.hands[0, :3] = [[0.1, 0.5], [0.5, 0.5], [0.9, 0.5]]
    pose.hands[0, 1] = -1
    drawn = draw_pose(pose, 100, 100)
    assert colours(drawn) == {(0, 0, 0), BLUE}
    assert not drawn[:, 20:80].any()


def test_face_is_drawn_over_hands_over_body():
    pose = missing_pose()
    pose.body[0] = pose.hands[0, 0] = 0.5
    assert draw_pose(pose, 64, 64)[32, 32].tolist() == list(BLUE)
    pose.face[0] = 0.5
    assert draw_pose(pose, 64, 64)[32, 32].tolist() == list(WHITE)


@pytest.mark.parametrize("far", [1e4, 1e7, 1e15, 1e308, np.inf])
@pytest.mark.filterwarnings("error")
def test_points_far_outside(far):
    """What is near is drawn, and nothing overflows."""
    pose = golden_pose()
    for points in (pose.body, pose.hands[0], pose.hands[1], pose.face):
        points[::2] = far
        points[1::4] = -far
    pose.body[15] = 0.5
    assert draw_pose(pose, 512, 768)[384, 256].any()


def test_hands_and_faces_that_are_not_trusted_are_not_drawn():
    pose = missing_pose()
    pose.hands[0], pose.face[:] = 0.5, 0.5
    pose.hands_score[0], pose.face_score[:] = 0.29, 0.29
    assert not draw_pose(pose, 64, 64).any()


def test_pose_is_left_as_it_was():
    pose, twin = golden_pose(4), golden_pose(4)
    draw_pose(pose, 512, 512)
    assert all(np.array_equal(getattr(pose, name), getattr(twin, name)) for name in vars(pose))
