"""What is known about a run: its evaluations, what was looked up on the way, how far it got."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from recur._types import PyTree
from recur.train._names import escape, unescape

METRICS = "metrics."


class Record(NamedTuple):
    """One evaluation: optimiser steps and seconds since training began, and metrics.

    Metrics are arrays ``[]``, or ``[S]`` for S seeds: ``train_loss`` and ``train_NAME`` (means over the steps since the
    evaluation before, each taken before its update), ``grad_norm`` (mean, before clipping), ``clipped`` (share of the
    steps whose gradient was scaled down), and after the last of these steps ``val_loss`` and ``val_NAME``. Means are
    over the steps that were not refused for numbers that are infinite or not a number, and nan if there were none.
    Of the whole run up to here: ``skipped`` (steps refused), ``halvings`` (of the step size), ``rate_factor`` (what it
    is multiplied by since) and ``stopped`` (the step at which the seed stopped for good, 0 if it did not).
    """

    step: int
    wall_s: float
    metrics: dict[str, np.ndarray]

    def to_json(self) -> dict[str, Any]:
        """Returns the record as plain numbers and lists; `from_json` reads it back exactly."""
        return {**self._asdict(), "metrics": {name: value.tolist() for name, value in self.metrics.items()}}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Record":
        """Returns the record that `to_json` wrote."""
        metrics = {name: np.asarray(value, np.float64) for name, value in fields["metrics"].items()}
        return cls(**{**fields, "metrics": metrics})


def to_columns(history: Sequence[Record]) -> dict[str, np.ndarray]:
    """Returns records as arrays, one for each field and metric; `from_columns` makes the records of them again.

    Arrays ``N.step``, ``N.wall_s`` and ``N.metrics.NAME``, with a first axis of records, N being 0, 1, ... for
    stretches of records with the same metrics. So a long history takes eight bytes a number.
    """
    columns: dict[str, np.ndarray] = {}
    for number, (names, alike) in enumerate(itertools.groupby(history, _outline)):
        records = list(alike)
        columns[f"{number}.step"] = np.array([record.step for record in records], np.int64)
        columns[f"{number}.wall_s"] = np.array([record.wall_s for record in records], np.float64)
        for name, _ in names:
            columns[f"{number}.{METRICS}{escape(name)}"] = np.stack([record.metrics[name] for record in records])
    return columns


def check_columns(columns: Mapping[str, Any], stored_bytes: int) -> None:
    """Raises ValueError where arrays of these shapes are more than so many bytes on the disk can be."""
    entries = sum(math.prod(column.shape) for column in columns.values())
    # What hardly changes is compressed well.
    if entries > 10_000 * (stored_bytes + 1000):
        raise ValueError(f"{entries:,} entries are declared, which {stored_bytes:,} bytes do not hold")


def from_columns(columns: Mapping[str, np.ndarray], *, escaped: bool = True) -> list[Record]:
    """Returns the records that `to_columns` took apart; up to layout 3 names of metrics were not escaped."""
    stretches: dict[int, dict[str, np.ndarray]] = {}
    for name in sorted(columns):
        number, _, own = name.partition(".")
        stretches.setdefault(int(number), {})[own] = columns[name]
    history = []
    for _, own in sorted(stretches.items()):
        read = unescape if escaped else str
        metrics = {read(name.removeprefix(METRICS)): own[name] for name in own if name.startswith(METRICS)}
        for place, (step, wall_s) in enumerate(zip(own["step"], own["wall_s"], strict=True)):
            values = {name: np.array(column[place]) for name, column in metrics.items()}
            history.append(Record(int(step), float(wall_s), values))
    return history


def _outline(record: Record) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, value.shape) for name, value in record.metrics.items()]


class Probed(NamedTuple):
    """What a probe found: after how many optimiser steps, 0 before the first, and its values.

    `values` is what the probe returned, arrays of NumPy, with a leading axis S for S seeds.
    """

    step: int
    values: PyTree


class Progress(NamedTuple):
    """How far a run got, besides its state.

    Attributes:
        wall_s: Seconds of training.
        history: Its records.
        means: Means of the metrics of the steps since the last record, by name, ``[]`` or ``[S]``.
        position: Where the data iterator stands, as its ``get_state`` says; None for data on the device.
    """

    wall_s: float
    history: list[Record]
    means: dict[str, np.ndarray]
    position: Any = None

    def to_json(self) -> dict[str, Any]:
        """Returns it as plain numbers, lists and dicts; `from_json` reads it back exactly."""
        return {
            "wall_s": self.wall_s,
            "history": [record.to_json() for record in self.history],
            "means": {name: np.asarray(value, np.float64).tolist() for name, value in self.means.items()},
            "position": self.position,
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Progress":
        """Returns what `to_json` wrote."""
        means = {name: np.asarray(value, np.float64) for name, value in fields["means"].items()}
        history = [Record.from_json(record) for record in fields["history"]]
        return cls(fields["wall_s"], history, means, fields["position"])
