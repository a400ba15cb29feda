"""Draw the learning curves of all stages from their logs.

python -m demo_model.measuring.curves
"""

import csv
from pathlib import Path

import matplotlib.pyplot as plt

from demo_model.training.train import LOGS, SETTINGS

TITLES = {
    "vae": "autoencoder: squared error",
    "images": "stage 1, single pictures: velocity",
    "motion": "stage 2, motion modules: velocity",
}
SMOOTH = 10  # rows of the log that make one point


def read_log(path: Path) -> dict[str, list[float]]:
    """Columns of a log by name."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]} if rows else {}


def smoothed(values: list[float], count: int = SMOOTH) -> list[float]:
    """Means of `count` neighbours each."""
    return [
        sum(part) / len(part)
        for part in (values[k : k + count] for k in range(0, len(values), count))
    ]


def draw(logs: Path, path: Path) -> Path:
    """One panel per stage, loss over hours, both as they were trained."""
    stages = [stage for stage in SETTINGS if (logs / f"{stage}.csv").exists()]
    if not stages:
        raise FileNotFoundError(f"{logs} has no log: train first")
    figure, panels = plt.subplots(
        1, len(stages), figsize=(4 * len(stages), 3), layout="constrained", squeeze=False
    )
    for panel, stage in zip(panels[0], stages):
        columns = read_log(logs / f"{stage}.csv")
        loss = columns.get("mse", columns["loss"])
        hours = [seconds / 3600 for seconds in smoothed(columns["seconds"])]
        panel.semilogy(hours, smoothed(loss))
        panel.set(title=TITLES[stage], xlabel="hours on two cores")
        panel.grid(True, which="both", alpha=0.3)
    figure.savefig(path, dpi=100)
    plt.close(figure)
    return path


if __name__ == "__main__":
    print(draw(LOGS, LOGS / "curves.png"))
