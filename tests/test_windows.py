"""Schedules of windows, their weights, noise that goes on behind the first window, short clips."""

from collections import Counter
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from animate_anyone import context_schedule, count_windows
from animate_anyone.run.noise import initial_noise, resolve_noise_type
from animate_anyone.run.windows import FEWEST_FRAMES, SCHEDULES, WEIGHTINGS

from conftest import run_case


def frames_of(*arguments, **options) -> list[list[int]]:
    """The frame indices alone."""
    return [frames for frames, _ in context_schedule(*arguments, **options)]


def shares(windows, num_frames: int) -> torch.Tensor:
    """How much each window counts for each frame, (windows, frames)."""
    table = torch.zeros(len(windows), num_frames, dtype=torch.float64)
    for row, (frames, weights) in zip(table, windows):
        row.index_add_(0, torch.tensor(frames), torch.tensor(weights, dtype=torch.float64))
    return table / table.sum(dim=0)


@some.composite
def layouts(draw) -> tuple:
    """Arguments of `context_schedule` that are allowed."""
    length = draw(some.integers(1, 32))
    num_steps = draw(some.integers(1, 40))
    return (
        draw(some.sampled_from(SCHEDULES)),
        draw(some.integers(1, 200)),
        length,
        draw(some.integers(0, length - 1)),
        draw(some.integers(0, num_steps - 1)),
        num_steps,
    )


@given(layouts(), some.sampled_from((None, *WEIGHTINGS)))
def test_every_frame_is_covered_and_counts(layout, weighting):
    schedule, num_frames, length, overlap, _, _ = layout
    windows = context_schedule(*layout, weighting=weighting)
    assert {index for frames, _ in windows for index in frames} == set(range(num_frames))
    for frames, weights in windows:
        assert len(frames) == len(weights) <= length
        assert all(0 < weight <= 1 for weight in weights)
        steps = {(b - a) % num_frames for a, b in pairwise(frames)}
        assert schedule == "open" or steps <= {1 % num_frames}
    if schedule == "open":
        assert all(abs(a - b) <= 1 for frames, _ in windows for a, b in pairwise(frames))
    assert len(windows) <= len(context_schedule("uniform", num_frames, length, overlap))


@given(layouts())
def test_neighbours_share_at_least_the_overlap(layout):
    schedule, _, _, overlap, _, _ = layout
    frames = frames_of(*layout)
    around = frames[1:] if schedule == "open" else [*frames[1:], frames[0]]
    if len(frames) > 1:
        assert all(len({*a} & {*b}) >= overlap for a, b in zip(frames, around))


def test_uniform_is_the_reference():
    assert frames_of("uniform", 30) == [list(range(24)), [*range(20, 30), *range(14)]]
    assert frames_of("uniform", 7, 4, 1) == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 0, 1, 2]]
    assert frames_of("uniform", 5) == [[0, 1, 2, 3, 4]]
    windows = context_schedule("uniform", 30)
    assert windows == context_schedule("uniform", 30, step=3, num_steps=9)
    assert all(weights == [1.0] * 24 for _, weights in windows)


def test_open_moves_what_is_between_the_ends():
    layouts = [frames_of("open", 48, step=step, num_steps=4) for step in range(4)]
    starts = [[frames[0] for frames in layout] for layout in layouts]
    assert starts == [[0, 20, 24], [0, 12, 24], [0, 16, 24], [0, 8, 24]]
    assert frames_of("open", 30) == [list(range(24)), list(range(6, 30))]


def test_loop_moves_round_and_has_no_ends():
    layouts = [context_schedule("loop", 32, 12, 4, step, 4) for step in range(4)]
    assert [[frames[0] for frames, _ in layout] for layout in layouts] == [
        [0, 8, 16, 24],
        [4, 12, 20, 28],
        [2, 10, 18, 26],
        [6, 14, 22, 30],
    ]
    assert len({tuple(weights) for layout in layouts for _, weights in layout}) == 1


@pytest.mark.parametrize("schedule", ["open", "loop"])
def test_no_frame_is_at_an_edge_in_every_step(schedule):
    """But the ends of an open clip, and what stands beside them."""
    edges = Counter()
    for step in range(8):
        layout = frames_of(schedule, 103, 24, 4, step, 8)
        edges.update({edge for frames in layout for edge in (frames[0], frames[-1])})
    fixed = {frame for frame, count in edges.items() if count == 8}
    assert fixed == ({0, 23, 79, 102} if schedule == "open" else set())


def test_ramp_is_a_line_over_what_two_windows_share():
    assert shares(context_schedule("open", 8, 5, 2), 8).tolist() == [
        pytest.approx([1, 1, 1, 2 / 3, 1 / 3, 0, 0, 0]),
        pytest.approx([0, 0, 0, 1 / 3, 2 / 3, 1, 1, 1]),
    ]


def test_triangular_peaks_in_the_middle():
    _, weights = context_schedule("open", 8, 4, 1, weighting="triangular")[0]
    assert weights == [0.25, 0.75, 0.75, 0.25]


def test_short_clips_fill_a_window():
    assert frames_of("open", 4) == [[0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2, 3]]
    assert frames_of("loop", 5) == [[0, 1, 2, 3, 4] * 3 + [0]]
    assert frames_of("open", 1) == frames_of("loop", 1) == [[0]]  # a picture
    assert frames_of("open", 2) == [[0, 1] * (FEWEST_FRAMES // 2)]
    assert frames_of("open", 4, 6, 2) == [[0, 1, 2, 3, 2, 1]]
    assert frames_of("open", FEWEST_FRAMES) == [list(range(FEWEST_FRAMES))]


def test_cost():
    assert count_windows("uniform", 48, num_steps=3) == 9
    assert count_windows("open", 44, num_steps=3) == 2 + 3 + 3  # in the first step two are enough


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            ("round", 5),
            ValueError,
            r"context_schedule must be one of \('open', 'loop'.*got 'round'",
        ),
        (("open", 0), ValueError, "num_frames must be at least 1, got 0"),
        (("open", 5.0), TypeError, "num_frames must be an integer, got float 5.0"),
        (("open", 5, 0), ValueError, "context_frames must be at least 1, got 0"),
        (
            ("open", 5, 4, 4),
            ValueError,
            r"context_overlap must be .* below context_frames \(4\), got 4",
        ),
        (("open", 5, 4, -1), ValueError, "context_overlap must be at least 0"),
        (("open", 5, 4, 1, 3, 3), ValueError, "step must be from 0 to 2, got 3"),
        (("open", 5, 4, 1, 0, 0), ValueError, "num_steps must be at least 1, got 0"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        context_schedule(*arguments)


def noise(frames: int, kind: str, length: int = 6, overlap: int = 2) -> torch.Tensor:
    """Noise of a clip, always from the same seed."""
    generator = torch.Generator().manual_seed(3)
    return initial_noise((1, 4, frames, 3, 5), kind, length, overlap, generator=generator)


@given(some.integers(6, 40), some.integers(6, 40), some.sampled_from(("growing", "shuffled")))
def test_a_longer_clip_begins_with_the_noise_of_a_shorter_one(frames, more, kind):
    short, long = sorted((frames, more))
    assert torch.equal(noise(long, kind)[:, :, :short], noise(short, kind))


def test_whole_noise_is_the_reference_and_depends_on_the_length():
    generator = torch.Generator().manual_seed(3)
    assert torch.equal(noise(9, "whole"), torch.randn((1, 4, 9, 3, 5), generator=generator))
    assert not torch.equal(noise(9, "whole")[:, :, :8], noise(8, "whole"))
    assert torch.equal(noise(6, "whole"), noise(6, "growing"))


def test_noise_that_grows_does_not_repeat():
    frames = noise(30, "growing")[0].transpose(0, 1).flatten(1)
    assert len(frames.unique(dim=0)) == 30
    assert abs(float(frames.std()) - 1) < 0.1


def test_shuffled_noise_repeats_that_of_the_first_window():
    """In every window's length, and not in the same order."""
    frames = [tuple(frame.flatten().tolist()) for frame in noise(26, "shuffled")[0].transpose(0, 1)]
    first = frames[:6]
    assert len(set(first)) == 6
    for start in range(0, 21, 4):  # windows of 6 that share 2
        assert set(frames[start : start + 6]) == set(first)
    assert any(frames[start : start + 6] != first for start in range(4, 21, 4))


def test_noise_type_follows_the_schedule():
    kinds = [resolve_noise_type(None, schedule) for schedule in SCHEDULES]
    assert kinds == ["growing", "growing", "whole"]
    assert resolve_noise_type("shuffled", "uniform") == "shuffled"


# Eight frames in windows of four that share one, moving from one full step to the next.
OPEN = {"context_schedule": "open", "context_frames": 4, "context_overlap": 1, "num_frames": 8}
OPEN |= {"num_inference_steps": 4, "guidance_scale": 1.0, "output_type": "latent"}


@pytest.mark.parametrize(("schedule", "cache_interval"), [("open", 1), ("open", 2), ("loop", 1)])
def test_moving_windows_go_with_caches(pipe, schedule, cache_interval):
    """The last layer alone finds what its windows gave before, or there would be a KeyError."""
    settings = OPEN | {"context_schedule": schedule, "cache_interval": cache_interval}
    calls = pipe.parts["last_layer"].calls
    latents, _ = run_case(pipe, "long", **settings, deep_cache_interval=2)
    assert latents.shape[2] == 8 and bool(abs(latents).max() < 100)
    assert pipe.parts["last_layer"].calls > calls


def test_deep_features_do_not_pile_up(pipe):
    """Windows move; what the windows of the step before gave is dropped."""
    denoisers, prepare = [], pipe.prepare

    def noting(*arguments, **options):
        denoisers.append(prepare(*arguments, **options))
        return denoisers[-1]

    pipe.prepare = noting
    try:
        run_case(pipe, "long", **OPEN, deep_cache_interval=2)
    finally:
        del pipe.prepare
    windows = frames_of("open", 8, 4, 1, 1, 4)  # of the second full step
    kept = {frames for frames, _ in denoisers[0]._deep_features}
    assert kept == set(map(tuple, windows))
    assert windows != frames_of("open", 8, 4, 1, 0, 4)


@pytest.mark.parametrize(("frames", "length"), [(1, 1), (3, 4)])
def test_short_clips_pass_through_the_network_mirrored(pipe, monkeypatch, frames, length):
    """But a picture; both come out as they went in."""
    lengths, part = [], pipe.parts["denoising_unet"]

    def noting(**inputs):
        lengths.append(inputs["sample"].shape[2])
        return part(**inputs)

    monkeypatch.setitem(pipe.parts, "denoising_unet", noting)
    latents, _ = run_case(pipe, "long", **OPEN | {"num_frames": frames})
    alone, _ = run_case(
        pipe, "long", **OPEN | {"num_frames": frames, "context_schedule": "uniform"}
    )
    assert lengths == [length] * 4 + [frames] * 4
    assert latents.shape == alone.shape and bool((latents == alone).all()) == (frames == 1)
