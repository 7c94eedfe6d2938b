"""What is known about a run: its evaluations, what was looked up on the way, how far it got."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from recur._types import PyTree


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
    columns = {}
    for number, (names, alike) in enumerate(itertools.groupby(history, _outline)):
        records = list(alike)
        columns[f"{number}.step"] = np.array([record.step for record in records], np.int64)
        columns[f"{number}.wall_s"] = np.array([record.wall_s for record in records], np.float64)
        for name, _ in names:
            columns[f"{number}.metrics.{name}"] = np.stack([record.metrics[name] for record in records])
    return columns


def from_columns(columns: Mapping[str, np.ndarray]) -> list[Record]:
    """Returns the records that `to_columns` took apart."""
    history = []
    for number in itertools.takewhile(lambda number: f"{number}.step" in columns, itertools.count()):
        start = f"{number}.metrics."
        names = [name.removeprefix(start) for name in sorted(columns) if name.startswith(start)]
        for place, step in enumerate(columns[f"{number}.step"]):
            metrics = {name: np.array(columns[start + name][place]) for name in names}
            history.append(Record(int(step), float(columns[f"{number}.wall_s"][place]), metrics))
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
        """Returns all but the history as plain numbers, lists and dicts; `from_json` reads it back exactly."""
        return {
            "wall_s": self.wall_s,
            "means": {name: np.asarray(value, np.float64).tolist() for name, value in self.means.items()},
            "position": self.position,
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], history: list[Record]) -> "Progress":
        """Returns what `to_json` wrote, with its history."""
        means = {name: np.asarray(value, np.float64) for name, value in fields["means"].items()}
        return cls(fields["wall_s"], history, means, fields["position"])
