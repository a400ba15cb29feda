"""How charts are finished."""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

RESULTS = Path(__file__).resolve().parent / "results"


def plain_ticks(*axes) -> None:
    """Label logarithmic axes at 1, 2 and 5 of a decade, with ordinary numbers."""
    for axis in axes:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_formatter(NullFormatter())


def save(figure: plt.Figure, path: Path) -> Path:
    """Write a chart as PNG and close it; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)
    return path
