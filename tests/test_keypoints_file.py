"""Keypoints in a file that other tools read and write."""

import json
from fractions import Fraction

import numpy as np
import pytest

from animate_anyone.pose.film import read_poses
from animate_anyone.pose.keypoints import PoseSequence
from animate_anyone.pose.keypoints_file import read_keypoints, write_keypoints
from demo_model.drawing.character import random_character
from demo_model.drawing.skeleton import pose_at

SIZE = 320, 240


def sequence(fps=Fraction(30000, 1001), length: int = 3) -> PoseSequence:
    character = random_character(0)
    poses = [pose_at(character, "dance", frame / 10) for frame in range(length)]
    poses[1].body[4], poses[1].body_score[4] = np.nan, 0
    return PoseSequence(poses, *SIZE, fps)


def frames_of(path) -> list:
    return json.loads(path.read_text())


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30000, 1001)])
def test_written_and_read(tmp_path, fps):
    before = sequence(fps)
    after = read_keypoints(write_keypoints(before, tmp_path / "poses.json"))
    assert (after.size, after.fps) == (SIZE, fps)
    for pose, [found] in zip(before.poses, after.people, strict=True):
        np.testing.assert_allclose(found.body, pose.body, atol=1e-5)
        np.testing.assert_allclose(found.hands, pose.hands, atol=1e-5)
        np.testing.assert_allclose(found.face, pose.face, atol=1e-5)
    assert np.isnan(after.people[1][0].body[4]).all()


def test_form_that_others_read(tmp_path):
    frames = frames_of(write_keypoints(sequence(), tmp_path / "poses.json"))
    assert isinstance(frames, list) and len(frames) == 3
    assert frames[0]["canvas_width"] == 320 and frames[0]["canvas_height"] == 240
    [person] = frames[0]["people"]
    lengths = {name: len(values) for name, values in person.items()}
    assert lengths == {
        "pose_keypoints_2d": 54,
        "hand_left_keypoints_2d": 63,
        "hand_right_keypoints_2d": 63,
        "face_keypoints_2d": 204,
    }
    x, y, confidence = person["pose_keypoints_2d"][:3]
    assert 1 < x < 320 and 1 < y < 240 and confidence == 1
    assert frames[1]["people"][0]["pose_keypoints_2d"][12:15] == [0, 0, 0]


def person(**changes) -> dict:
    return {"pose_keypoints_2d": [10, 20, 1] * 18} | changes


def write(path, frames):
    path.write_text(json.dumps(frames))
    return path


def frame(*people, width=64, height=48, **more) -> dict:
    return {"people": list(people), "canvas_width": width, "canvas_height": height} | more


def test_files_of_other_tools(tmp_path):
    """One frame alone, lists that are null, empty or left out, 70 points of a face, several
    people, fractions instead of pixels.
    """
    other = person(
        hand_left_keypoints_2d=None,
        hand_right_keypoints_2d=[],
        face_keypoints_2d=[30, 40, 0.5] * 70,
    )
    file = read_keypoints(write(tmp_path / "one.json", frame(other, person())))
    assert len(file.people) == 1 and len(file.people[0]) == 2 and file.fps == 30
    pose = file.people[0][0]
    np.testing.assert_allclose(pose.body[0], (10 / 64, 20 / 48))
    assert np.isnan(pose.hands).all() and pose.face.shape == (68, 2)
    assert pose.face_score[0] == 0.5
    fractions = person(pose_keypoints_2d=[0.25, 0.5, 1] * 18)
    file = read_keypoints(write(tmp_path / "fractions.json", [frame(fractions)]))
    np.testing.assert_allclose(file.people[0][0].body[0], (0.25, 0.5))


def test_a_mark_of_windows_editors(tmp_path):
    path = tmp_path / "marked.json"
    path.write_text(json.dumps([frame(person())]), encoding="utf-8-sig")
    assert len(read_keypoints(path).people) == 1


def test_nothing_is_lost_on_the_way_through(tmp_path):
    """Points that are hardly sure, alone and for long, and one that lies a canvas outside."""
    body = np.array([[10 + 3 * point, 40, 1] for point in range(18)], float)
    body[5:7, 2], body[9, 0] = 0.2, -100
    unsure = body.copy()
    unsure[12, 2] = 0.1
    hand = [[30, 40, 0.25]] * 21
    bodies = [body, unsure, body]
    frames = [
        frame(
            person(
                pose_keypoints_2d=b.ravel().tolist(), hand_left_keypoints_2d=np.ravel(hand).tolist()
            ),
            width=100,
            height=80,
        )
        for b in bodies
    ]
    sequence = read_poses(write(tmp_path / "in.json", frames))
    people = [f["people"][0] for f in frames_of(write_keypoints(sequence, tmp_path / "out.json"))]
    for given, found in zip(bodies, people, strict=True):
        np.testing.assert_allclose(found["pose_keypoints_2d"], given.ravel(), atol=1e-3)
        np.testing.assert_allclose(found["hand_left_keypoints_2d"], np.ravel(hand), atol=1e-3)


def test_a_rate_that_only_some_frames_tell(tmp_path):
    frames = [frame(person()), frame(person(), fps="24/1"), frame(person(), fps=24.0)]
    assert read_keypoints(write(tmp_path / "poses.json", frames)).fps == 24


BAD = {
    "": "not valid JSON",
    "[": "not valid JSON",
    "[" * 100_000: "not valid JSON",
    "[]": "must hold a list of frames",
    "3": "must hold a list of frames",
    "[1]": "a frame must be an object, got int",
    '[{"people": []}]': "canvas_width must be whole pixels",
    json.dumps([frame(width=0)]): "canvas_width must be whole pixels",
    json.dumps([frame(width=64.5)]): "canvas_width must be whole pixels",
    json.dumps([frame(height=True)]): "canvas_height must be whole pixels",
    json.dumps([frame(), frame(width=65)]): "must have one canvas, got 64x48 and 65x48$",
    json.dumps([frame(width=side) for side in range(1, 3000)]): "got 1x48 and 2x48$",
    json.dumps([frame(width="9" * 100_000)]): "canvas_width must be whole pixels",
    json.dumps([frame(width=int("9" * 4000))]): "canvas_width must be whole pixels",
    "["
    + json.dumps(frame(width="x")).replace('"x"', "[" * 500 + "]" * 500)
    + "]": "got a list of 1",
    json.dumps([frame(1)]): "a person must be an object",
    json.dumps([frame() | {"people": {}}]): "people must be a list",
    json.dumps([frame(person(pose_keypoints_2d=[1, 2, 1] * 25))]): "must be 54 numbers, got a list",
    json.dumps([frame(person(face_keypoints_2d=[1] * 7))]): "must be 204 or 210 numbers",
    json.dumps([frame(person(hand_left_keypoints_2d="x"))]): "must be 63 numbers, got str",
    json.dumps([frame(person(pose_keypoints_2d=""))]): "must be 54 numbers, got str",
    json.dumps([frame(person(pose_keypoints_2d=0))]): "must be 54 numbers, got int",
    json.dumps([frame(person(pose_keypoints_2d=False))]): "must be 54 numbers, got bool",
    json.dumps([frame(person(pose_keypoints_2d={}))]): "must be 54 numbers, got dict",
    json.dumps([frame(person(pose_keypoints_2d=["a"] * 54))]): "must be finite numbers.* got 'a'$",
    json.dumps([frame(person(pose_keypoints_2d=[float("nan")] * 54))]): "finite numbers.* got nan$",
    json.dumps([frame(person(pose_keypoints_2d=[9, 9, True] * 18))]): "finite numbers.* got True$",
    json.dumps([frame(person(pose_keypoints_2d=[1e12, 9, 1] * 18))]): "9 digits, got 10000",
    json.dumps([frame(person(pose_keypoints_2d=[1e7, 1, 1] * 18))]): "points must lie near",
    json.dumps([frame(person(), fps=0)]): "fps must be a number above 0",
    json.dumps([frame(person(), fps="fast")]): "fps must be a number above 0",
    json.dumps([frame(person(), fps=None)]): "fps must be a number above 0",
    json.dumps([frame(person(), fps=True)]): "fps must be a number above 0.* got True$",
    json.dumps([frame(person(), fps="1e99999999")]): "at most 1000, got '1e99999999'$",
    json.dumps([frame(person(), fps="1/" + "9" * 100_000)]): "fps must be a number above 0",
    json.dumps([frame(person(), fps=25), frame(person(), fps=30)]): "one fps, got 25 and 30$",
    json.dumps([frame(person(), fps=25), frame(person(), fps=None)]): "fps must be a number above",
}


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_broken_files(tmp_path, text):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=BAD[text]) as raised:
        read_keypoints(path)
    assert "bad.json" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value).replace(str(path), "")) < 200


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_keypoints(tmp_path / "none.json")
    with pytest.raises(ValueError, match=r"must end in \.json"):
        write_keypoints(sequence(), tmp_path / "poses.txt")
