"""The small model's world: who is drawn, how they move, and what the picture shows."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from animate_anyone.pose import draw_pose
from demo_model import (
    HELD_OUT_MOTIONS,
    HELD_OUT_SEEDS,
    MOTIONS,
    TRAIN_MOTIONS,
    TRAIN_SEEDS,
    pose_at,
    pose_map,
    random_character,
    render,
    render_clip,
)
from demo_model.drawing.character import GROUND, STANDING_HEIGHT, shaded
from demo_model.drawing.figure import FAR
from demo_model.drawing.motion import Joints
from demo_model.drawing.scenery import SCENES, backdrop
from demo_model.drawing.skeleton import posed

SEEDS = (0, 1, 2, 3, HELD_OUT_SEEDS[0])
BONES = [
    (1, 2),
    (2, 3),
    (3, 4),
    (1, 5),
    (5, 6),
    (6, 7),
    (8, 9),
    (9, 10),
    (11, 12),
    (12, 13),
    (8, 11),
]


def moments(motion: str, count: int = 16) -> np.ndarray:
    """Times in seconds, spread over one period."""
    return np.linspace(0, MOTIONS[motion].period, count, endpoint=False)


def test_same_seed_same_character_and_picture():
    first, second = random_character(7), random_character(7)
    assert first == second
    pictures = [render(person, pose_at(person, "dance", 0.4)) for person in (first, second)]
    assert pictures[0].shape == (128, 128, 3) and pictures[0].dtype == np.uint8
    assert np.array_equal(*pictures)


def test_other_seed_other_character():
    people = [random_character(seed) for seed in range(50)]
    assert len(set(people)) == 50
    pictures = [render(person, pose_at(people[0], "walk", 0)) for person in people[:10]]
    assert len({picture.tobytes() for picture in pictures}) == 10


def test_held_out_is_held_out():
    assert not set(TRAIN_SEEDS) & set(HELD_OUT_SEEDS)
    assert not TRAIN_MOTIONS.keys() & HELD_OUT_MOTIONS.keys()
    assert MOTIONS.keys() == TRAIN_MOTIONS.keys() | HELD_OUT_MOTIONS.keys()


@pytest.mark.parametrize("motion", MOTIONS)
def test_stays_in_the_frame_and_above_the_ground(motion):
    for seed in SEEDS:
        person = random_character(seed)
        for moment in moments(motion):
            pose = pose_at(person, motion, moment)
            points = np.concatenate([pose.body, pose.hands.reshape(-1, 2), pose.face])
            assert points.min() > 0 and points.max() < 1
            assert pose.body[[10, 13], 1].max() <= GROUND - person.build.foot + 1e-9


@pytest.mark.parametrize("motion", MOTIONS)
def test_the_drawing_never_touches_the_sides_or_the_top(motion):
    person = replace(random_character(4), backdrop="plain")  # the tallest hats and the widest hair
    empty = np.asarray(backdrop(person, 512).reduce(4))
    for moment in moments(motion, 8):
        drawn = (render(person, pose_at(person, motion, moment)) != empty).any(axis=2)
        assert not drawn[0].any() and not drawn[:, 0].any() and not drawn[:, -1].any()


@pytest.mark.parametrize("motion", MOTIONS)
def test_bones_keep_their_length(motion):
    person = random_character(5)
    bodies = np.stack([pose_at(person, motion, moment).body for moment in moments(motion)])
    lengths = [np.hypot(*(bodies[:, a] - bodies[:, b]).T) for a, b in BONES]
    assert np.ptp(lengths, axis=1).max() < 1e-9


@pytest.mark.parametrize("motion", MOTIONS)
def test_moves_smoothly_and_comes_back(motion):
    person, period = random_character(6), MOTIONS[motion].period
    bodies = np.stack([pose_at(person, motion, k * period / 64).body for k in range(65)])
    assert np.allclose(bodies[0], bodies[-1], atol=1e-6)
    assert 0.02 < np.ptp(bodies, axis=0).max()
    assert np.abs(np.diff(bodies, axis=0)).max() < 0.05  # per 64th of a period


def test_stands_tall():
    for seed in range(20):
        person = replace(random_character(seed), backdrop="plain")
        empty = np.asarray(backdrop(person, 512).reduce(4)).astype(int)
        drawn = render(person, posed(person.build, Joints()))
        rows = np.flatnonzero((np.abs(drawn - empty).max(axis=2) > 24).any(axis=1))
        assert abs(np.ptp(rows) / 128 - STANDING_HEIGHT) < 0.06


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("long_sleeves", [True, False])
def test_limbs_are_where_the_keypoints_say(seed, long_sleeves):
    person = replace(random_character(seed), bottom_kind="trousers", long_sleeves=long_sleeves)
    pose = posed(person.build, Joints(right_arm=80, left_arm=80, right_leg=25, left_leg=25))
    picture = render(person, pose, 256, 256)
    forearm = person.top if long_sleeves else person.skin
    limbs = {(3, 4): forearm, (9, 10): person.bottom}  # the near side
    limbs |= {(6, 7): shaded(forearm, FAR), (12, 13): shaded(person.bottom, FAR)}
    for (start, end), colour in limbs.items():
        x, y = (256 * (0.6 * pose.body[start] + 0.4 * pose.body[end])).astype(int)
        assert picture[y, x].tolist() == list(colour)


def test_the_face_follows_the_turn():
    person = replace(random_character(0), mouth="open")
    left, right = (posed(person.build, Joints(turn=turn)) for turn in (-1, 1))
    assert left.body[0, 0] < 0.5 < right.body[0, 0]
    assert np.array_equal(left.body[1:14], right.body[1:14])
    assert not np.array_equal(render(person, left), render(person, right))


def test_the_backdrop_stands_still():
    for scene in SCENES:
        person = replace(random_character(3), backdrop=scene)
        clip, _ = render_clip(person, "wave", frames=4)
        corners = clip[:, :4, :4]
        assert (corners == corners[0]).all()


@pytest.mark.parametrize(("size", "tolerance"), [((128, 128), 0), ((256, 64), 0), ((96, 120), 1)])
def test_pose_map_is_the_large_map_made_small(size, tolerance):
    for moment in moments("kick", 8):
        pose = pose_at(random_character(2), "kick", moment)
        large = Image.fromarray(draw_pose(pose, 512, 512))
        expected = np.asarray(large.resize(size, Image.Resampling.LANCZOS)).astype(int)
        assert np.abs(pose_map(pose, *size) - expected).max() <= tolerance


def test_pose_map_of_nobody_is_black():
    pose = pose_at(random_character(2), "kick", 0)
    nobody = replace(pose, body_score=np.zeros(18), hands=pose.hands * np.nan, face=pose.face - 2)
    assert not pose_map(nobody).any()


def test_clip_is_the_motion_frame_by_frame():
    person = random_character(9)
    pictures, maps = render_clip(person, "sway", frames=3, fps=5, size=64, start=0.1)
    assert pictures.shape == maps.shape == (3, 64, 64, 3)
    last = pose_at(person, "sway", 0.1 + 2 / 5)
    assert np.array_equal(pictures[2], render(person, last, 64, 64))
    assert np.array_equal(maps[2], pose_map(last, 64, 64))
    assert (maps[2].reshape(-1, 3).any(axis=1)).mean() > 0.02


def test_other_sizes_show_the_same_picture():
    person = random_character(11)
    pose = pose_at(person, "cheer", 0.2)
    small, large = render(person, pose), render(person, pose, 256, 256)
    again = np.asarray(Image.fromarray(large).reduce(2))
    assert np.abs(small.astype(int) - again).mean() < 2
    assert render(person, pose, 120, 80).shape == (80, 120, 3)
