"""The history of a run: rows, tables, pictures, TensorBoard files."""

import contextlib
import functools
import importlib
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recur import report, train
from recur.runs._config import CellConfig, RunConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALONE = ("epoch", "step", "wall_s")

Curve = tuple[list[float], np.ndarray]


def row(record: train.Record, steps_per_epoch: int) -> dict[str, Any]:
    """Returns a record as one row: epoch, step, wall_s, and every metric as a list over seeds."""
    epoch = record.step / steps_per_epoch
    epoch = int(epoch) if epoch.is_integer() else epoch
    return {"epoch": epoch, "step": record.step, "wall_s": round(record.wall_s, 3), **record.metrics}


def tidy(rows: Sequence[Mapping[str, Any]], config: CellConfig) -> list[dict[str, Any]]:
    """Returns one row for each evaluation and seed."""
    return [
        {**{key: row[key] for key in ALONE if key in row}, "seed": config.seed + index}
        | {key: value[index] for key, value in row.items() if key not in ALONE}
        for row in rows
        for index in range(config.seeds)
    ]


def broken(row: Mapping[str, Any], config: CellConfig) -> dict[str, int]:
    """Returns the seeds that have stopped for numbers that were infinite or not a number, with the step."""
    stopped = row.get("stopped", ())
    return {str(config.seed + index): int(step) for index, step in enumerate(stopped) if step > 0}


def curve(rows: Sequence[Mapping[str, Any]], metric: str) -> Curve:
    """Returns the epochs and the values ``[S, epochs]`` of one metric, of the seeds that are not broken."""
    values = np.asarray([row[metric] for row in rows]).T
    sound = np.asarray(rows[-1].get("stopped", np.zeros(len(values)))) == 0
    return [row["epoch"] for row in rows], values[sound]


def figures(
    rows: Sequence[Mapping[str, Any]], title: str, config: RunConfig, *, loss: Mapping[str, Any]
) -> dict[str, "Figure"]:
    """Returns a figure of every metric, training beside validation: ``loss``, ``grad_norm``, and those of the loss.

    Args:
        rows: Of the history; not empty.
        title: What was trained.
        config: For the subtitle.
        loss: Arguments of `draw` for the loss.
    """
    names = list(dict.fromkeys(key.partition("_")[2] for key in rows[0] if key.startswith(("train_", "val_"))))
    names.sort(key=lambda name: name != "loss")
    drawn = {}
    for name in names:
        pairs = {"training": f"train_{name}", "validation": f"val_{name}"}
        curves = {label: curve(rows, key) for label, key in pairs.items() if key in rows[0]}
        drawn[name] = draw(f"{title}: {name}", config, curves, **(loss if name == "loss" else {"y_label": name}))
    norm = {"before clipping": curve(rows, "grad_norm")}
    clip = {"clipped to": config.clip_norm} if config.clip_norm else {}
    style = {"y_label": "norm of the gradient", "y_scale": "log", "floors": clip}
    return drawn | {"grad_norm": draw(f"{title}: gradient", config, norm, **style)}


def draw(
    title: str,
    config: RunConfig,
    curves: Mapping[str, Curve],
    *,
    y_label: str,
    y_scale: str = "linear",
    floors: Mapping[str, float] | None = None,
) -> "Figure":
    """Draws curves by epoch, by label, with dashed floors."""
    band = f"; median and range of {config.seeds} seeds" if config.seeds > 1 else "; one seed"
    subtitle = (
        f"{config.hidden_size} units, {config.optimizer} {config.learning_rate:g}, batch {config.batch_size}{band}"
    )
    # Of a log axis, what a loss that goes below zero has no place on.
    positive = all((values >= 0).all() for _, values in curves.values())
    return report.loss_curves(
        curves,
        title=title,
        subtitle=subtitle,
        x_label="epoch",
        y_label=y_label,
        y_scale=y_scale if positive else "linear",
        floors=floors,
    )


@contextlib.contextmanager
def tensorboard(folder: Path, config: RunConfig, step: int) -> Iterator[Callable[[train.Record], None]]:
    """Yields a function that writes a record to TensorBoard files, a run a seed.

    Args:
        folder: Of the files.
        config: Of the run.
        step: What stands there of steps after it, from a run that was killed, is not shown.
    """
    with contextlib.ExitStack() as stack:

        @functools.cache
        def writers() -> list:
            """Made when there is a record to write."""
            if not config.tensorboard:
                return []
            try:
                tensorboardX = _tensorboard()
            except ImportError:
                print("no TensorBoard files: tensorboardX is not installed", flush=True)
                return []
            # The name of a file is else its second.
            options = {"purge_step": step + 1, "filename_suffix": f".{step}"}
            folders = [str(folder / f"seed_{config.seed + index}") for index in range(config.seeds)]
            return [stack.enter_context(tensorboardX.SummaryWriter(path, **options)) for path in folders]

        def write(record: train.Record) -> None:
            for seed, writer in enumerate(writers()):
                for name, values in record.metrics.items():
                    writer.add_scalar(name, float(values[seed]), record.step)

        yield write


def _tensorboard() -> types.ModuleType:
    """Returns tensorboardX, which would import torch where there is one, and does without.

    Raises:
        ImportError: It is not installed.
    """
    unknown = "torch" not in sys.modules
    if unknown:
        # What says that there is none.
        sys.modules["torch"] = None
    try:
        return importlib.import_module("tensorboardX")
    finally:
        if unknown:
            del sys.modules["torch"]
