"""Windows of frames: how a long video passes through a network that sees few frames at once.

N frames in windows of L that share at least O with the next: starts are at most D = L - O apart.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from math import ceil

import numpy as np

from ..base.checks import check_choice, check_count, check_type
from ..base.layout import CONTEXT_FRAMES, CONTEXT_OVERLAP, SCHEDULES

WEIGHTINGS = ("flat", "ramp", "triangular")

# Shorter clips fill a window of so many frames with repeats: networks that were trained on 24 are
# reported to fail on 5 to 10. Not a single frame: a picture would take as many times longer.
FEWEST_FRAMES = 16

# Frame indices, and how much the prediction for each counts.
Window = tuple[list[int], list[float]]


def context_schedule(
    schedule: str,
    num_frames: int,
    context_frames: int = CONTEXT_FRAMES,
    context_overlap: int = CONTEXT_OVERLAP,
    step: int = 0,
    num_steps: int = 1,
    *,
    weighting: str | None = None,
) -> list[Window]:
    """The windows of one step. What they predict for a frame is averaged by their weights.

    Args:
        schedule: "open", for a clip with a beginning and an end: nothing wraps, and the last window
            ends at the last frame (AnimateDiff-Evolved, standard static). Those between the first
            and the last move from step to step, as far as the number of windows allows, which is
            that of "uniform".
            "loop", for a clip whose end leads to its beginning: windows wrap, and all of them move.
            "uniform", the reference's (Moore-AnimateAnyone, `context.py`): starts at multiples of
            D, indices modulo N, the same in every step.
        num_frames: frames of the clip, N. Those that fit are one window. From two frames up to
            `FEWEST_FRAMES` it holds them again: mirrored in time if "open", from the beginning if
            "loop", not at all if "uniform".
        context_frames: frames of a window at most, L.
        context_overlap: frames that neighbours share at least, O, from 0 to L - 1.
        step, num_steps: how far windows have moved: by a share of D that is the step with its bits
            reversed (AnimateDiff-Evolved, ordered halving), far from that of the step before.
        weighting: "flat", all alike; "ramp", rising and falling in a line where neighbours overlap;
            "triangular", 2 (k + 1/2) / L up to the middle, and back (MimicMotion). None: "flat" for
            "uniform", "ramp" for the others.

    Returns:
        Windows as (frame indices, weights in (0, 1]). Every frame of the clip is in one of them.

    Raises:
        TypeError, ValueError: an argument is out of range.
    """
    _check(schedule, num_frames, context_frames, context_overlap, weighting)
    check_count("num_steps", num_steps)
    if not 0 <= step < num_steps:
        raise ValueError(f"step must be from 0 to {num_steps - 1}, got {step}")
    length, stride = min(context_frames, num_frames), context_frames - context_overlap
    starts = _STARTS[schedule](num_frames, length, stride, _reversed_bits(step))
    if schedule != "uniform" and num_frames > 1:
        length = max(length, min(FEWEST_FRAMES, context_frames))
    if weighting is None:
        weighting = "flat" if schedule == "uniform" else "ramp"
    weights = _WEIGHTS[weighting](starts, length, None if schedule == "open" else num_frames)
    index = _mirrored if schedule == "open" else _wrapped
    return [
        ([index(start + k, num_frames) for k in range(length)], own)
        for start, own in zip(starts, weights)
    ]


def plan_windows(
    schedule: str, num_frames: int, context_frames: int, context_overlap: int, weighting: str | None
) -> Callable[[int, int], list[Window]]:
    """`context_schedule` of a clip as a function of (step, num_steps); raises what that raises."""
    _check(schedule, num_frames, context_frames, context_overlap, weighting)
    return partial(
        context_schedule, schedule, num_frames, context_frames, context_overlap, weighting=weighting
    )


def count_windows(
    schedule: str,
    num_frames: int,
    context_frames: int = CONTEXT_FRAMES,
    context_overlap: int = CONTEXT_OVERLAP,
    num_steps: int = 1,
) -> int:
    """How many windows so many steps pass through the network in all: what a video costs."""
    plan = plan_windows(schedule, num_frames, context_frames, context_overlap, None)
    return sum(len(plan(step, num_steps)) for step in range(num_steps))


def _check(schedule, num_frames, context_frames, context_overlap, weighting) -> None:
    check_choice("context_schedule", schedule, SCHEDULES)
    check_count("num_frames", num_frames)
    check_count("context_frames", context_frames)
    check_type("context_overlap", context_overlap, int | np.integer)
    if not 0 <= context_overlap < context_frames:
        raise ValueError(
            f"context_overlap must be at least 0 and below context_frames ({context_frames}),"
            f" got {context_overlap}"
        )
    check_choice("context_weighting", weighting, (None, *WEIGHTINGS))


def _reversed_bits(step: int) -> float:
    """0, 1/2, 1/4, 3/4, 1/8 …: the binary digits of the step, mirrored at the point."""
    digits = f"{step:b}"[::-1]
    return int(digits, 2) / 2 ** len(digits)


def _open_starts(n: int, length: int, stride: int, moved: float) -> list[int]:
    """What so many windows could cover beyond the clip is room to move in."""
    count, last = ceil(n / stride), n - length
    room = min(stride * (count - 1) - last, stride - 1)
    shift = int(moved * (room + 1))
    return sorted({min(max(stride * i - shift, 0), last) for i in range(count)})


def _loop_starts(n: int, length: int, stride: int, moved: float) -> list[int]:
    """Evenly round the loop."""
    count = 1 if n == length else ceil(n / stride)
    return [int((i + moved) * n / count) for i in range(count)]


def _uniform_starts(n: int, length: int, stride: int, _moved: float) -> list[int]:
    return [0] if n == length else list(range(0, n, stride))


def _flat(starts: list[int], length: int, _period: int | None) -> list[list[float]]:
    return [[1.0] * length] * len(starts)


def _triangular(starts: list[int], length: int, _period: int | None) -> list[list[float]]:
    return [[2 * min(k + 0.5, length - k - 0.5) / length for k in range(length)]] * len(starts)


def _ramp(starts: list[int], length: int, period: int | None) -> list[list[float]]:
    """Lines over what a window shares with the one before and the one after; in a clip without a
    period the first has none before, the last none after.
    """
    before, after = starts[0] - length, starts[-1] + length
    if period is not None:
        before, after = starts[-1] - period, starts[0] + period
    weights = []
    for last, start, following in zip([before, *starts], starts, [*starts[1:], after]):
        rise, fall = max(last + length - start, 0) + 1, max(start + length - following, 0) + 1
        weights.append([min((k + 1) / rise, 1.0, (length - k) / fall) for k in range(length)])
    return weights


def _wrapped(index: int, n: int) -> int:
    return index % n


def _mirrored(index: int, n: int) -> int:
    """To the last frame, back to the first, and so on; neither of them twice in a row."""
    index %= max(2 * (n - 1), 1)
    return min(index, 2 * (n - 1) - index)


_STARTS = {"open": _open_starts, "loop": _loop_starts, "uniform": _uniform_starts}
_WEIGHTS = {"flat": _flat, "ramp": _ramp, "triangular": _triangular}


@contextmanager
def mapping(workers: int, on_failure: Callable) -> Iterator[Callable]:
    """What is called for all windows of a step: `map`, or that of so many threads. When the run
    fails, windows that wait for a thread are dropped; `on_failure` stops those under way.
    """
    if workers == 1:
        yield map
        return
    executor = ThreadPoolExecutor(workers)
    try:
        yield executor.map
    except BaseException:
        on_failure()
        raise
    finally:
        executor.shutdown(cancel_futures=True)
