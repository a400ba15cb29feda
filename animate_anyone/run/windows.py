"""Windows of frames: how a long video passes through a network that sees few frames at once."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


def context_windows(
    num_frames: int, context_frames: int = 24, context_overlap: int = 4
) -> list[list[int]]:
    """Frame indices of each window, schedule "uniform" (AnimateDiff-Evolved; Moore-AnimateAnyone,
    `context.py`, uniform).

    A video that fits is one window. A longer one is covered by windows of `context_frames`, each
    starting `context_frames - context_overlap` after the one before; indices are taken modulo
    `num_frames`, so the last window wraps to the first frames and closes a loop.

    Raises:
        ValueError: a count is below 1, or the overlap is negative or not smaller than the window.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames must be at least 1, got {num_frames}")
    if context_frames < 1:
        raise ValueError(f"context_frames must be at least 1, got {context_frames}")
    if not 0 <= context_overlap < context_frames:
        raise ValueError(
            f"context_overlap must be at least 0 and below context_frames ({context_frames}),"
            f" got {context_overlap}"
        )
    if num_frames <= context_frames:
        return [list(range(num_frames))]
    starts = range(0, num_frames, context_frames - context_overlap)
    return [[(start + i) % num_frames for i in range(context_frames)] for start in starts]


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
