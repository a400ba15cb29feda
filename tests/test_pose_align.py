"""Poses of one body fitted to another, on skeletons whose truth is known."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from animate_anyone.pose.align import LIMITS, align_poses, measure
from animate_anyone.pose.keypoints import (
    EARS,
    HIPS,
    SHOULDERS,
    Pose,
    PoseSequence,
    from_points,
    to_points,
)
from benchmarks.fit import SIDE, Case, cases

LEGS = [9, 10, 12, 13]


@pytest.fixture(scope="module")
def some_cases() -> list[Case]:
    """A fifth of the pairs of twelve bodies, in six motions."""
    return list(cases())[::5]


def fitted(case: Case, alignment: str, film=None, reference=None) -> np.ndarray:
    film = case.film if film is None else film
    reference = case.reference if reference is None else reference
    poses = [from_points(points, np.ones(len(points)), (SIDE, SIDE)) for points in film]
    sequence = PoseSequence(poses, SIDE, SIDE, Fraction(12))
    own = from_points(reference, np.ones(len(reference)), (SIDE, SIDE))
    aligned = align_poses(sequence, own, (SIDE, SIDE), alignment)
    return np.stack([to_points(pose, aligned.size) for pose in aligned.poses])


def test_limbs_come_close_to_the_truth(some_cases):
    errors = {
        alignment: np.mean([case.error(fitted(case, alignment)) for case in some_cases])
        for alignment in ("off", "global", "limbs")
    }
    assert errors["limbs"] <= 2.5
    assert errors["limbs"] < errors["global"] / 2 < errors["off"] / 4


def test_with_missing_points(some_cases):
    rng, errors = np.random.default_rng(0), []
    for case in some_cases:
        film = case.film.copy()
        film[rng.random(film.shape[:2]) < 0.2] = np.nan
        moved = fitted(case, "limbs", film)
        assert (np.isnan(moved) == np.isnan(film)).all()
        errors.append(case.error(moved))
    assert np.mean(errors) <= 4


def test_side_on_at_first(some_cases):
    errors = []
    for case in some_cases:
        film, truth = case.film.copy(), case.truth.copy()
        for points in (film, truth):
            middle = points[:12, HIPS, 0].mean(axis=1)[:, None]
            points[:12, :, 0] = middle + (points[:12, :, 0] - middle) / 3
        moved = fitted(case, "limbs", film)
        errors.append(replace(case, truth=truth).error(moved))
    assert np.mean(errors) <= 4


def test_legs_outside_of_the_reference(some_cases):
    errors = []
    for case in some_cases:
        reference = case.reference.copy()
        reference[LEGS] = np.nan
        errors.append(case.error(fitted(case, "limbs", reference=reference)))
    assert np.mean(errors) <= 4


def test_ratios_stay_in_the_clamp_and_nothing_is_mirrored(some_cases):
    for case in some_cases:
        fit = measure(case.film, case.reference, "limbs")
        shares = np.array(list(fit.ratios.values())) / fit.scale
        assert (shares >= LIMITS[0] - 1e-9).all() and (shares <= LIMITS[1] + 1e-9).all()
        moved = fitted(case, "limbs")
        before = case.film[:, 2, 0] < case.film[:, 5, 0]
        assert ((moved[:, 2, 0] < moved[:, 5, 0]) == before).all()


def test_no_jumps_that_the_film_does_not_make(some_cases):
    """Even where points come and go."""
    rng = np.random.default_rng(1)
    for case in some_cases:
        film = case.film.copy()
        film[rng.random(film.shape[:2]) < 0.2] = np.nan
        film[:, 1] = case.film[:, 1]
        moved = fitted(case, "limbs", film)
        fit = measure(film, case.reference, "limbs")
        widest = max(fit.ratios.values())
        jumps = [np.nanmax(np.linalg.norm(np.diff(p, axis=0), axis=-1)) for p in (moved, film)]
        assert jumps[0] <= 2 * widest * jumps[1]


def test_a_fit_of_a_body_to_itself_changes_nothing(some_cases):
    """But for its place: where the film stands on average, the reference does."""
    case = some_cases[0]
    reference = case.film[0]
    moved = fitted(case, "limbs", np.repeat(reference[None], 5, axis=0), reference)
    np.testing.assert_allclose(moved, np.repeat(reference[None], 5, axis=0), atol=1e-6)


def test_chooses_by_what_is_seen(some_cases, caplog):
    case = some_cases[0]
    assert measure(case.film, case.reference).mode == "limbs"
    reference = case.reference.copy()
    reference[[3, 4, 6, 7]] = np.nan
    fit = measure(case.film, reference)
    assert fit.mode == "global"
    assert "does not show the upper arm, forearm" in str(fit)


@pytest.mark.parametrize("lost", [[10], [8], [1, 2], [1, 2, 5], [16, 17], [1, 2, 5, 10, 13]])
@pytest.mark.parametrize("where", ["film", "reference"])
def test_whatever_is_never_seen(some_cases, lost, where):
    """What is seen is placed, and nothing else: film and reference without some points."""
    case = some_cases[1]
    film, reference = case.film.copy(), case.reference.copy()
    if where == "film":
        film[:, lost] = np.nan
    else:
        reference[lost] = np.nan
    moved = fitted(case, "limbs", film, reference)
    assert (np.isnan(moved) == np.isnan(film)).mean() > 0.85
    assert case.error(moved) < 0.8 * case.error(film)  # as it was


def test_nothing_in_common():
    nobody = np.full((128, 2), np.nan)
    nobody[0] = 1, 1
    with pytest.raises(ValueError, match=r"same part of a body.*--align off"):
        measure(nobody[None], nobody)


def test_what_shows_only_ears_is_placed_by_them(some_cases, caplog):
    caplog.set_level("INFO")
    case = some_cases[0]
    film = np.full_like(case.film, np.nan)
    film[:, EARS] = case.film[:, EARS]
    moved = fitted(case, None, film)
    middle = moved[:, EARS].mean(axis=(0, 1))
    np.testing.assert_allclose(middle[0], case.reference[EARS, 0].mean(), atol=1)
    assert "fit to the reference: global" in caplog.text


def test_nothing_is_said_of_a_fit_that_is_impossible(some_cases, caplog):
    """The film shows one forearm, the reference the other."""
    caplog.set_level("INFO")
    case = some_cases[0]
    film, reference = np.full_like(case.film, np.nan), np.full_like(case.reference, np.nan)
    film[:, [3, 4]], reference[[6, 7]] = case.film[:, [3, 4]], case.reference[[6, 7]]
    with pytest.raises(ValueError, match="same part of a body"):
        fitted(case, None, film, reference)
    assert not caplog.records


@pytest.mark.parametrize("alignment", ["global", "limbs"])
@pytest.mark.parametrize("where", ["film", "reference"])
def test_a_body_that_is_nearly_a_point(some_cases, alignment, where):
    """Eyes and ears are where they were."""
    film, reference = some_cases[0].film.copy(), some_cases[0].reference.copy()
    points = film if where == "film" else reference
    points[..., :14, :] = points[..., :14, :] * 1e-10 + 256
    with pytest.raises(ValueError, match=rf"{where} must have lengths of at least 0\.26 pixels"):
        fitted(some_cases[0], alignment, film, reference)


def test_who_always_stands_side_on_has_no_width(some_cases):
    """Widths of nearly nothing tell no ratio."""
    case = some_cases[0]
    film = case.film.copy()
    for points in (SHOULDERS, HIPS):
        film[:, points] = film[:, points].mean(axis=1, keepdims=True)
    film[:, [1]] = film[:, SHOULDERS[:1]]
    film[:, SHOULDERS[0]] += 1e-7
    film[:, LEGS] = np.nan
    assert np.nanmax(np.abs(fitted(case, "limbs", film))) < 2000


def test_an_unknown_alignment():
    pose = Pose(np.zeros((18, 2)), np.ones(18), np.zeros((2, 21, 2)), np.zeros((68, 2)))
    with pytest.raises(ValueError, match=r"alignment must be one of .* got 'arms'"):
        align_poses(PoseSequence([pose], 9, 9, Fraction(1)), pose, (9, 9), "arms")
