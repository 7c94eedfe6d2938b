"""What is known about an epoch, and what was looked up on the way."""

from typing import Any, NamedTuple

import numpy as np

from recur._types import PyTree


class Record(NamedTuple):
    """One epoch: its number from 1, optimiser steps and seconds since training began, and its metrics.

    Metrics are arrays ``[]``, or ``[S]`` for S seeds: ``train_loss`` and ``train_NAME`` (means over the steps of the
    epoch, each taken before its update), ``grad_norm`` (mean, before clipping), ``clipped`` (share of the steps whose
    gradient was scaled down), and after the epoch ``val_loss`` and ``val_NAME``.
    """

    epoch: int
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
