"""One at a time in a pipeline, and how what is under way is stopped."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy


class Interrupted(RuntimeError):
    """The run was stopped by `OVAnimateAnyonePipeline.interrupt`."""


class Busy(RuntimeError):
    """Another run is under way, and the caller did not want to wait."""


class Activity:
    """Something that a caller asked for: a whole run, or the frames of one video."""

    def __init__(self):
        self.stopped = False
        self.thread = threading.get_ident()


class Turns:
    """Lets one activity work at a time; the others wait. A thread may take a turn within its
    turn.
    """

    def __init__(self):
        self._lock = threading.RLock()
        self._under_way: set[Activity] = set()
        self._current: Activity | None = None
        self._depth = 0  # of turns within turns

    @contextmanager
    def begin(self) -> Iterator[Activity]:
        """An activity; it is under way from its first turn until the block ends, also between its
        turns.
        """
        activity = Activity()
        try:
            yield activity
        finally:
            self._under_way.discard(activity)

    @contextmanager
    def turn(self, activity: Activity) -> Iterator[None]:
        """Work until the block ends, as soon as nobody else does."""
        with self._lock:
            self._under_way.add(activity)
            before, self._current = self._current, activity
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                self._current = before

    @contextmanager
    def whole(self, wait: bool = True) -> Iterator[None]:
        """An activity that is one turn.

        Raises:
            Busy: another thread works, and `wait` is False.
        """
        if not self._lock.acquire(blocking=wait):
            raise Busy("the pipeline is busy with another run, expected none with wait=False")
        try:
            with self.begin() as activity, self.turn(activity):
                yield
        finally:
            self._lock.release()

    def own(self, thing):
        """The thing itself, or a copy in a turn within a turn, which must leave it as it is."""
        return thing if self._depth < 2 else deepcopy(thing)

    def interrupt(self, thread: int | None = None) -> None:
        """Stop all that is under way, or what this thread began; what waits or comes later is not
        meant.
        """
        for activity in tuple(self._under_way):
            if thread in (None, activity.thread):
                activity.stopped = True

    def stop_current(self) -> None:
        """Stop the one that works, such as its other threads when one of them has failed."""
        if self._current is not None:
            self._current.stopped = True

    def check(self, what: str) -> None:
        """Raises Interrupted where the one that works was stopped; `what` would have come next."""
        if self._current is not None and self._current.stopped:
            raise Interrupted(f"stopped before {what}")
