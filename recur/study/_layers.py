"""What is measured of every recurrent layer of a model: reach, half-life, gates, and where a loss's gradient is."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from recur import cells, flow
from recur.flow._gate_statistics import _measured, _of_gate
from recur.nn._recurrences import Seen, call_options, counted, watch
from recur.study._backward import Path, back
from recur.study._lag_records import quantiles
from recur.study._loss_norms import last_output, path_of, traced_losses
from recur.study._shape import shape_in_words

REACH = 1e-3
# A gate is told where more than this share of its values is near an end of its range.
SATURATED = 0.5


class Layer(NamedTuple):
    """One recurrent layer of one model.

    Args:
        model: "as given", "at initialisation", or a name of ``compare``.
        name: As `nn.recurrences` names it.
        direction: "forward" or "backward".
        cell: The cell, as text.
        log_norms: ``ln ||d last output / d s||`` by lag ``[T + 1, B]``, lag 0 at each sequence's own last step, -inf
            beyond its length.
        lengths: Steps that count ``[B]``.
        gates: Gate to the share of its values near an end of its range.
        loss_log_norms: As `loss_log_norms` returns it, by boundary ``[T + 1, B]``; None without a loss.
    """

    model: str
    name: str
    direction: str
    cell: str
    log_norms: np.ndarray
    lengths: np.ndarray
    gates: Mapping[str, float]
    loss_log_norms: np.ndarray | None

    @property
    def curve(self) -> np.ndarray:
        """Median over sequences of the log norm by lag, relative to lag 0, as far as half of them reach ``[L]``."""
        return median_by_lag(self.log_norms - self.log_norms[:1], self.lengths)

    @property
    def horizons(self) -> np.ndarray:
        """Largest lag with at least a thousandth of the gradient at lag 0, one a sequence ``[B]``."""
        return horizons(self.log_norms, REACH)

    @property
    def half_life_steps(self) -> float:
        """Steps in which the median halves; not-a-number where the curve is too short to tell."""
        return float(flow.summarize(self.curve).half_life_steps) if len(self.curve) >= 3 else float("nan")

    @property
    def verdict(self) -> str:
        """The shape of the curve in words."""
        return shape_in_words(self.curve) if len(self.curve) >= 3 else "too short to tell"

    @property
    def saturating(self) -> dict[str, float]:
        """Gates of which more than half of the values are saturated, by share."""
        return {gate: share for gate, share in self.gates.items() if share > SATURATED}

    @property
    def loss_by_distance(self) -> np.ndarray | None:
        """Median of the loss's log norms by distance from where the layer ends, relative to the largest ``[L]``."""
        if self.loss_log_norms is None:
            return None
        turned = (
            self.loss_log_norms if self.direction == "backward" else from_the_end(self.loss_log_norms, self.lengths)
        )
        top = turned.max(axis=0, keepdims=True)
        return median_by_lag(turned - np.where(np.isfinite(top), top, 0.0), self.lengths)

    @property
    def loss_reach_steps(self) -> float:
        """Largest distance from the end at which a thousandth of the largest gradient of the loss is left."""
        curve = self.loss_by_distance
        if curve is None or not np.isfinite(curve).any():
            return float("nan")
        return float(np.flatnonzero(curve >= np.log(REACH)).max())


def measure(
    model: str, module: Callable[..., Any], inputs: Sequence[Any], lengths: Any, loss: Callable[..., Any] | None
) -> list[Layer]:
    """Measures every recurrent layer of a module, in the order in which they run."""
    if loss is None:
        seen, norms = watch(module, *inputs, **call_options(module, lengths))[0], {}
    else:
        traced = traced_losses(module, loss, *inputs, lengths=lengths)
        seen = [one for _, one in traced.values()]
        norms = {name: _flat(found) for name, (found, _) in traced.items()}
    return [_layer(model, one, lengths, norms.get(one.name)) for one in seen]


def horizons(log_norms: np.ndarray, share: float) -> np.ndarray:
    """Largest lag with at least `share` of the norm at lag 0, one a column ``[L, B] -> [B]``."""
    lags = np.arange(len(log_norms))[:, None]
    with np.errstate(invalid="ignore"):
        return np.where(log_norms - log_norms[:1] >= np.log(share), lags, 0).max(axis=0)


def from_the_end(norms: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Turns norms by boundary ``[T + 1, B]`` into norms by distance from each sequence's own end."""
    distance = np.arange(len(norms))[:, None]
    place = np.maximum(lengths - distance, 0)
    return np.where(distance <= lengths, np.take_along_axis(norms, place, axis=0), -np.inf)


def median_by_lag(curves: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Median over the sequences that are so long, as far as at least half of all are ``[T + 1, B] -> [L]``."""
    there = np.arange(len(curves))[:, None] <= lengths
    kept = int((there.sum(axis=1) * 2 >= there.shape[1]).sum())
    with np.errstate(invalid="ignore"):
        return np.array([quantiles(row[ok])[1] for row, ok in zip(curves[:kept], there[:kept], strict=True)])


def _flat(norms: Any) -> np.ndarray:
    """All batch axes as one, float64."""
    norms = np.asarray(norms, np.float64)
    return norms.reshape(len(norms), -1)


def _layer(model: str, one: Seen, lengths: Any, loss_norms: np.ndarray | None) -> Layer:
    taken = path_of(one)
    by_step = _flat(back(taken, last_output(one)).log_norms)
    steps = len(by_step) - 1
    of_mask = counted(one.sequences.mask)
    count = of_mask if of_mask is not None else (lengths if lengths is not None else np.full(by_step.shape[1], steps))
    count = np.asarray(count).ravel()
    # In the order of a backward layer's steps padding comes first, and its last step is always the last one.
    by_lag = from_the_end(by_step, np.full_like(count, steps) if one.reverse else count)
    by_lag = np.where(np.arange(steps + 1)[:, None] <= count, by_lag, -np.inf)
    direction = "backward" if one.reverse else "forward"
    return Layer(model, one.name, direction, repr(one.cell), by_lag, count, _gates(taken), loss_norms)


def _gates(taken: Path) -> dict[str, float]:
    """Shares of saturated values of a pointwise cell's gates, over the steps that count."""
    cell = taken.cell
    if not isinstance(cell, cells.PointwiseCell):
        return {}
    prepared = cell.prepare(taken.params)
    before = jax.tree.map(lambda leaf: leaf[:-1], taken.visited)
    values = cell.activate(cell.project(prepared, taken.xs), cell.recurrent_share(prepared, before[0]))
    found = {}
    for gate, activation in _measured(cell):
        statistics = _of_gate(activation, getattr(values, gate), taken.mask)
        found[gate] = float(statistics.saturated_low + statistics.saturated_high)
    return found
