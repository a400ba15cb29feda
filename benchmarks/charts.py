"""How charts are finished."""

from pathlib import Path

import matplotlib.pyplot as plt

RESULTS = Path(__file__).resolve().parent / "results"


def save(figure: plt.Figure, path: Path) -> Path:
    """Write a chart as PNG and close it; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)
    return path
