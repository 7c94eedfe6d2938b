"""The history of a run: rows, table, picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments._config import CellConfig, RunConfig
from recur import report, train


def row(record: train.Record, steps_per_epoch: int) -> dict[str, Any]:
    """Returns a record as one row: epoch, step, wall_s, and every metric as a list over seeds."""
    epoch = record.step / steps_per_epoch
    epoch = int(epoch) if epoch.is_integer() else epoch
    return {"epoch": epoch, "step": record.step, "wall_s": round(record.wall_s, 3), **record.metrics}


def tidy(rows: Sequence[Mapping[str, Any]], config: CellConfig) -> list[dict[str, Any]]:
    """Returns one row for each epoch (or step) and seed."""
    alone = ("epoch", "step", "wall_s")
    return [
        {**{key: row[key] for key in alone if key in row}, "seed": config.seed + index}
        | {key: value[index] for key, value in row.items() if key not in alone}
        for row in rows
        for index in range(config.seeds)
    ]


def curve(rows: Sequence[Mapping[str, Any]], metric: str) -> tuple[list[int], np.ndarray]:
    """Returns the epochs and the values ``[S, epochs]`` of one metric."""
    return [row["epoch"] for row in rows], np.asarray([row[metric] for row in rows]).T


def draw(
    path: Path, title: str, config: RunConfig, curves: Mapping, *, loss_name: str, floors: Mapping[str, float]
) -> None:
    """Draws loss curves, by label, with dashed floors; nothing where no epoch is done."""
    band = f"; median and range of {config.seeds} seeds" if config.seeds > 1 else "; one seed"
    subtitle = f"{config.hidden_size} units, Adam {config.learning_rate:g}, batch {config.batch_size}{band}"
    if any(steps for steps, _ in curves.values()):
        figure = report.loss_curves(
            curves, title=title, subtitle=subtitle, x_label="epoch", y_label=loss_name, floors=floors
        )
        report.save_figure(path, figure)
