"""When frames are shown: the usual rate of a film, and its frames at a constant rate.

Times are seconds on the clock of the file.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import islice, pairwise
from statistics import fmean, median_low

from ..base.excerpt import Excerpt

# Rates that cameras, screens and editors use. Files with coarse clocks only come near them.
STANDARD = (
    *map(Fraction, (5, 6, 8, 10, 12, 15, 16, 20, 24, 25, 30, 48, 50, 60, 90, 100, 120, 240)),
    *(Fraction(1000 * rate, 1001) for rate in (24, 30, 60, 120)),
)
EXACT, NEAR, ROUGH = 0.001, 0.005, 0.015  # relative distance of two rates
ALIKE = 0.25  # intervals that differ from the median by less are the usual ones
LATEST = Fraction(49, 100)  # of an interval: a frame that begins later is not shown yet


def usual_rate(times: Iterable[float], told: Iterable[Fraction] = ()) -> Fraction | None:
    """The rate at which most frames follow each other: pauses do not count.

    Args:
        times: when frames begin, in any order.
        told: rates that the file claims, the more reliable first.

    Returns:
        Frames per second: a standard rate or a claimed one where it fits; None where nothing is
        known.
    """
    told = [rate for rate in told if rate]
    ordered = sorted(set(times))
    intervals = [after - before for before, after in pairwise(ordered)]
    if not intervals:
        return told[0] if told else None
    middle = median_low(intervals)
    rate = 1 / fmean(i for i in intervals if abs(i - middle) <= ALIKE * middle)
    standard = min(STANDARD, key=lambda known: _distance(known, rate))
    close = [claim for claim in told if _distance(claim, rate) < NEAR]
    if _distance(standard, rate) < (EXACT if close else ROUGH):
        return standard
    return close[0] if close else Fraction(rate).limit_denominator(1001)


def frames_of(
    timed: Iterable[tuple[float, float, object]], excerpt: Excerpt, own: Fraction, begin: float = 0
) -> Iterator:
    """What an excerpt shows, at a constant rate.

    Args:
        timed: see `at_constant_rate`.
        excerpt: which part, and how many frames per second.
        own: frames per second of the whole.
        begin: of the whole.
    """
    rate = excerpt.rate(own)
    shown = at_constant_rate(timed, rate, begin + excerpt.start)
    if excerpt.duration is None:
        return shown
    return islice(shown, max(1, round(excerpt.duration * rate)))


def at_constant_rate(
    timed: Iterable[tuple[float, float, object]], fps: Fraction, start: float
) -> Iterator:
    """What is shown at a constant rate from `start` on. A frame that lasts longer comes again, one
    that is too short is left out: everything begins within half a frame of when it did.

    Args:
        timed: (begin, length, frame) in seconds, in the order of their beginnings.
        fps: frames per second of what comes out.
        start: when the first one that comes out is shown.
    """
    count, shown, end = 0, None, start
    for begin, length, frame in timed:
        while shown is not None and start + float((count + LATEST) / fps) < begin:
            yield shown
            count += 1
        shown, end = frame, begin + length
    while shown is not None and end > start and count < max(1, round((end - start) * fps)):
        yield shown
        count += 1


def _distance(rate, other) -> float:
    return abs(float(rate) / float(other) - 1)
