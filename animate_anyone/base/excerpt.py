"""The part of a film that is used."""

import math
from dataclasses import dataclass
from fractions import Fraction

MOST_PER_SECOND = 1000  # frames


@dataclass(frozen=True)
class Excerpt:
    """The part of a film that is used, and how many frames of it.

    start     seconds after the first frame
    duration  seconds; None: to the end
    fps       frames per second; None: as many as the film has

    Raises:
        ValueError: a value is no number or out of range.
    """

    start: float = 0.0
    duration: float | None = None
    fps: float | Fraction | None = None

    def __post_init__(self):
        _check("start", self.start, 0 <= _number(self.start) < math.inf, "at least 0 seconds")
        if self.duration is not None:
            allowed = 0 < _number(self.duration) < math.inf
            _check("duration", self.duration, allowed, "more than 0 seconds")
        if self.fps is not None:
            allowed = 1 / MOST_PER_SECOND <= _number(self.fps) <= MOST_PER_SECOND
            _check("fps", self.fps, allowed, f"from 1/{MOST_PER_SECOND} to {MOST_PER_SECOND}")

    def rate(self, own: Fraction) -> Fraction:
        """The rate that is asked for, or a film's own."""
        return own if self.fps is None else Fraction(self.fps).limit_denominator(MOST_PER_SECOND)

    def length(self, whole: float) -> float:
        """Seconds that are used of a film of so many."""
        rest = max(0.0, whole - self.start)
        return rest if self.duration is None else min(rest, self.duration)


def _number(value) -> float:
    """The value, or not a number."""
    numeric = isinstance(value, int | float | Fraction) and not isinstance(value, bool)
    try:
        return float(value) if numeric else math.nan
    except OverflowError:
        return math.inf


def _check(name: str, value, allowed: bool, expected: str) -> None:
    if not allowed:
        raise ValueError(f"{name} must be {expected}, got {value!r}")


WHOLE = Excerpt()
