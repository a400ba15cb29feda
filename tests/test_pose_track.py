"""One performer of a film: chosen, followed through crossings, gaps bridged, jitter smoothed."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from animate_anyone.pose.keypoints import Pose, to_points
from animate_anyone.pose.track import follow_performer
from demo_model.drawing.character import random_character
from demo_model.drawing.skeleton import pose_at
from demo_model.drawing.widened import shifted

SIZE, FPS, LENGTH = (400, 300), Fraction(30), 60


def walker(seed: int, start: float, end: float, smaller: float = 1.0) -> list[Pose]:
    """Somebody who crosses the picture from start to end, as shifts of its width."""
    character = random_character(seed)
    poses = [pose_at(character, "walk", frame / float(FPS)) for frame in range(LENGTH)]
    places = np.linspace(start, end, LENGTH)
    return [resized(shifted(pose, (x, 0)), smaller) for pose, x in zip(poses, places)]


def resized(pose: Pose, factor: float) -> Pose:
    return replace(
        pose, body=pose.body * factor, hands=pose.hands * factor, face=pose.face * factor
    )


def follow(people, **options):
    return follow_performer(people, SIZE, FPS, **options)


def middle(pose: Pose) -> float:
    return float(np.nanmean(pose.body[:, 0]))


def test_people_are_not_swapped_where_they_cross():
    left, right = walker(1, -0.3, 0.3), walker(2, 0.3, -0.3)
    rng = np.random.default_rng(0)
    people = [list(rng.permutation(np.array([a, b], object))) for a, b in zip(left, right)]
    first = follow(people, person=1, smooth=False)
    second = follow(people, person=2, smooth=False)
    for found, truth in ((first, left), (second, right)):
        np.testing.assert_allclose([middle(p) for p in found.poses], [middle(p) for p in truth])


def test_a_crossing_in_which_one_is_hidden():
    left, right = walker(1, -0.3, 0.3), walker(2, 0.3, -0.3)
    people = [[a, b] if abs(middle(a) - middle(b)) > 0.06 else [a] for a, b in zip(left, right)]
    found = follow(people, person=2, smooth=False)
    assert middle(found.poses[-1]) == pytest.approx(middle(right[-1]))


def test_the_largest_and_surest_over_the_whole_film_is_chosen():
    large, small = walker(1, 0, 0.1), walker(2, -0.2, -0.2, smaller=0.5)
    people = [[b] if frame < 5 else [b, a] for frame, (a, b) in enumerate(zip(large, small))]
    assert middle(follow(people).poses[-1]) == pytest.approx(middle(large[-1]), abs=0.01)


def test_a_short_gap_is_bridged_and_a_long_one_held():
    truth = walker(1, -0.2, 0.2)
    people = [[pose] for pose in truth]
    people[10:20] = [[]] * 10
    people[30:50] = [[]] * 20
    found = follow(people, smooth=False)
    assert found.unseen == ((30, 49),)
    walked = [middle(pose) for pose in found.poses]
    np.testing.assert_allclose(walked[10:20], [middle(p) for p in truth[10:20]], atol=0.02)
    assert (np.diff(walked[10:20]) != 0).all()
    np.testing.assert_allclose(walked[30:50], walked[29])
    assert np.isfinite(np.concatenate([pose.body for pose in found.poses])).all()


def test_nobody_at_the_beginning_and_at_the_end():
    people = [[]] * 3 + [[pose] for pose in walker(1, 0, 0.1)] + [[]] * 2
    found = follow(people, smooth=False)
    assert found.unseen == ((0, 2), (LENGTH + 3, LENGTH + 4))
    np.testing.assert_array_equal(found.poses[0].body, found.poses[3].body)


def test_who_was_away_for_long_is_the_same_one():
    people = [[pose] for pose in walker(1, -0.2, -0.2)] + [[]] * 30
    people += [[pose] for pose in walker(1, 0.3, 0.3)]
    found = follow(people)
    assert middle(found.poses[-1]) == pytest.approx(middle(people[-1][0]), abs=0.01)


def test_a_point_that_is_missing_for_long_stays_missing():
    poses = walker(1, 0, 0.1)
    for pose in poses[10:40]:
        pose.hands[0] = np.nan
    for pose in poses[50:55]:
        pose.body[4] = np.nan
    found = follow([[pose] for pose in poses])
    assert np.isnan(found.poses[20].hands[0]).all()
    assert found.poses[20].hands_score[0].max() == 0
    assert np.isfinite(found.poses[52].body[4]).all()
    assert found.poses[52].body_score[4] > 0


def test_smoothing_takes_the_jitter_and_does_not_lag():
    truth, rng = walker(1, -0.1, 0.1), np.random.default_rng(0)
    shaken = [replace(p, body=p.body + rng.normal(0, 0.004, p.body.shape)) for p in truth]
    found = follow([[pose] for pose in shaken])
    points = {
        name: np.stack([to_points(pose, SIZE)[:18] for pose in poses])
        for name, poses in {"truth": truth, "shaken": shaken, "found": found.poses}.items()
    }

    def jitter(name: str) -> float:
        return np.abs(np.diff(points[name] - points["truth"], n=2, axis=0)).mean()

    def apart(name: str, lag: int = 0) -> float:
        later = points["truth"][5 - lag : LENGTH - 5 - lag]
        return np.linalg.norm(points[name][5:-5] - later, axis=-1).mean()

    assert jitter("found") < 0.35 * jitter("shaken")
    assert apart("found") < 0.8 * apart("shaken")
    assert apart("found") < min(apart("found", lag) for lag in (-2, -1, 1, 2))


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_films_of_few_frames(length):
    assert len(follow([[pose] for pose in walker(1, 0, 0.1)[:length]])) == length


def test_nobody_at_all():
    with pytest.raises(ValueError, match="somebody must be seen, got nobody in 3 frames"):
        follow([[], [], []])


def test_people_without_points_are_nobody():
    empty = Pose(
        np.full((18, 2), np.nan),
        np.zeros(18),
        np.full((2, 21, 2), np.nan),
        np.full((68, 2), np.nan),
    )
    with pytest.raises(ValueError, match="got nobody in 2 frames"):
        follow([[empty], [empty]])


@pytest.mark.parametrize("person", [0, 2, -1])
def test_more_persons_than_people(person):
    with pytest.raises(ValueError, match=f"person must be from 1 to 1.* got {person}"):
        follow([[walker(1, 0, 0)[0]]], person=person)
