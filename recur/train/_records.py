"""What is known about a run: its evaluations, what was looked up on the way, how far it got."""

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
