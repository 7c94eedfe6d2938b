"""Does the gradient vanish in this model, from which step on, in which layer, and what would help."""

import dataclasses
import math
import os
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from recur import flow, report
from recur._checks import brief
from recur._types import Array, Float, Int, Key
from recur.study._lag_records import quantiles
from recur.study._layers import Layer, horizons, measure
from recur.study._variants import variant

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GIVEN, INIT = "as given", "at initialisation"
TITLE = "Where the gradients of this model go"
LEAD = (
    "Lag 0 is the last step of each sequence. A layer can learn from an event k steps back only if the gradient at lag "
    "k is neither lost nor overwhelming."
)
Record = dict[str, Any]


@dataclasses.dataclass(frozen=True, repr=False)
class Diagnosis:
    """What `diagnose` found. In a terminal and in a notebook it shows itself as a table.

    Args:
        layers: One entry for each layer of each model: its numbers as arrays.
        measured: What was measured, in words.
    """

    layers: tuple[Layer, ...]
    measured: str

    def rows(self) -> list[Record]:
        """Returns the table, one mapping a row: layer, direction, reach, half-life, gates that saturate, verdict."""
        models = len({layer.model for layer in self.layers}) > 1
        return [({"model": layer.model} if models else {}) | _row(layer) for layer in self.layers]

    def records(self) -> list[Record]:
        """Returns the records of the page, for `report.write_jsonl`: every curve and every verdict."""
        run = {
            "kind": "run",
            "benchmark": "diagnose",
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "measured": self.measured,
        }
        return [run, *(record for layer in self.layers for record in _records(layer))]

    def plot(self) -> "Figure":
        """Returns a figure of the lag curves; ``report.save_figure(path, figure)`` writes it."""
        return report.lag_curves([record for record in self.records() if record["kind"] == "lag_curve"])

    def page(self, out: str | os.PathLike) -> pathlib.Path:
        """Writes the page, its figures and tables into a folder, with the records beside them.

        Returns:
            The path of `index.html`.
        """
        records = self.records()
        report.write_jsonl(pathlib.Path(out) / "records.jsonl", records)
        return report.gradient_page(records, out, title=TITLE, lead=LEAD)

    def __str__(self) -> str:
        """The table as text."""
        return f"{self.measured}\n{report.text_table(self.rows())}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return report.html_table(self.rows(), self.measured)


def diagnose(
    module: Callable[..., Any],
    *inputs: Any,
    lengths: Int[Array, "*B"] | None = None,
    loss: Callable[[Any], Float[Array, "*B"]] | None = None,
    compare: Mapping[str, Any] | None = None,
    key: Key[Array, ""] | None = None,
) -> Diagnosis:
    """Measures how far gradients reach back in every recurrent layer of a model, on your data.

    For every layer and direction: the norm of the gradient of each sequence's own last output with respect to the
    whole state k steps before it, its reach (the largest lag at which a thousandth is left, the median over
    sequences), half-life, the gates of which more than half of the values are saturated, and the shape of the curve in
    words. With `loss` also how far from the end the gradient of that loss still has a thousandth of its largest norm
    (see `loss_log_norms`).

    Args:
        module: A Flax NNX module that runs layers of `recur.nn` (`RNN`, `Bidirectional`, `Stack`, any model that holds
            them), or a mapping from names to such modules, as `interop.find_recurrent` returns it; each of these is
            measured on the same inputs.
        *inputs: What the module is called with.
        lengths: Steps that count in each sequence. Handed to the module as ``lengths=``, where it takes that.
        loss: Takes what the module returns and gives the loss of each sequence ``[*B]``, or one number.
        compare: Name to change. The model is measured again with all recurrent layers drawn anew, once as it is ("at
            initialisation") and once with each change: `cells.Chrono` or a number for the bias of the gate that keeps
            the state; an initialiser of recurrent kernels (``cells.Orthogonal(0.9)``, ``"identity"``); a mapping of
            ``kernel_init``, ``recurrent_init``, ``bias_init``; a cell or a factory of cells; another module. All
            draws are the same but for the change.
        key: Draws these parameters; by default ``jax.random.key(0)``.

    Returns:
        `Diagnosis`.

    Raises:
        TypeError: A change or a loss of the wrong kind.
        ValueError: A module without recurrent layers, or a change that does not fit them.

    Example:
        >>> import jax, jax.numpy as jnp, recur
        >>> from flax import nnx
        >>> rnn = recur.nn.RNN(recur.cells.lstm(8), 3, rngs=nnx.Rngs(0))
        >>> found = recur.study.diagnose(rnn, jnp.ones((2, 40, 3)), compare={"chrono": recur.cells.Chrono(40)})
        >>> [row["model"] for row in found.rows()]
        ['as given', 'at initialisation', 'chrono']
    """
    modules = module if isinstance(module, Mapping) else {"": module}
    if not isinstance(compare, Mapping | None):
        raise TypeError(f"compare: expected a mapping from names to changes, got {brief(compare)}")
    key = jax.random.key(0) if key is None else key
    layers = []
    for prefix, part in modules.items():
        models = {GIVEN: part}
        if compare:
            models |= {INIT: variant(INIT, part, None, key)}
            models |= {str(name): variant(str(name), part, change, key) for name, change in compare.items()}
        for name, model in models.items():
            found = measure(name, model, inputs, lengths, loss)
            layers += [layer._replace(name=_joined(prefix, layer.name)) for layer in found]
    count, steps = layers[0].log_norms.shape[1], len(layers[0].log_norms) - 1
    measured = [
        type(module).__name__ if not isinstance(module, Mapping) else f"{len(modules)} layers",
        f"{count} sequences of at most {steps} steps" if lengths is not None else f"{count} sequences of {steps} steps",
        "gradients of your loss and of the last output" if loss is not None else "gradients of the last output",
        time.strftime("%Y-%m-%d"),
    ]
    return Diagnosis(tuple(layers), "; ".join(measured))


def _joined(prefix: str, name: str) -> str:
    if not prefix:
        return name
    return prefix if name == "rnn" else f"{prefix}.{name}"


def _row(layer: Layer) -> Record:
    reach, capped = _reach(layer)
    half_life = layer.half_life_steps
    row = {
        "layer": layer.name,
        "direction": layer.direction,
        "reach (steps to 1/1000)": {"median": reach, "text": f"≥ {reach:.0f}"} if capped else reach,
        "half-life (steps)": half_life if 0 < half_life < math.inf else None,
        "gates that saturate": ", ".join(f"{g} {100 * share:.0f} %" for g, share in layer.saturating.items()) or None,
    }
    if layer.loss_log_norms is not None:
        row["loss reaches back (steps)"] = layer.loss_reach_steps
    return row | {"verdict": layer.verdict}


def _reach(layer: Layer) -> tuple[float, bool]:
    """Median reach, and whether half of the sequences end before their gradient does."""
    horizons = layer.horizons
    return float(np.median(horizons)), bool((horizons >= layer.lengths).mean() >= 0.5)


def _records(layer: Layer) -> list[Record]:
    relative = layer.log_norms - layer.log_norms[:1]
    curve = layer.curve
    there = np.arange(len(curve))[:, None] <= layer.lengths
    band = {
        name: [float(quantiles(row[ok])[which]) for row, ok in zip(relative, there, strict=False)]
        for name, which in (("ln_p10", 0), ("ln_p90", 2))
    }
    meta = {
        "cell": layer.name,
        "equations": layer.cell,
        "direction": layer.direction,
        "length": len(layer.log_norms) - 1,
        "state": layer.model,
    }
    reach, capped = _reach(layer)
    millionth = horizons(layer.log_norms, 1e-6)
    summary = {
        "kind": "summary",
        **meta,
        "rate_nats_per_step": {"median": float(flow.summarize(curve).rate) if len(curve) >= 3 else math.nan},
        "half_life_steps": {"median": layer.half_life_steps},
        "horizon_1e-3_steps": _spread(layer.horizons, reach),
        "horizon_1e-3_capped": capped,
        "horizon_1e-6_steps": _spread(millionth, float(np.median(millionth))),
        "horizon_1e-6_capped": bool((millionth >= layer.lengths).mean() >= 0.5),
        "gates_that_saturate": _row(layer)["gates that saturate"] or "none",
        "verdict": layer.verdict,
    }
    rows = [
        {"kind": "lag_curve", "quantity": "adjoint", **meta, "lag_steps": list(range(len(curve)))}
        | {"ln_median": curve.tolist(), **band},
        summary,
    ]
    by_distance = layer.loss_by_distance
    if by_distance is not None:
        label = layer.name if layer.model == GIVEN else f"{layer.name}, {layer.model}"
        line = {"x": list(range(len(by_distance))), "median": by_distance.tolist(), "reference": False}
        rows.append({"kind": "series", "plot": "loss_gradient", "label": label, **line, **meta})
        summary["loss_reach_steps"] = layer.loss_reach_steps
    return rows


def _spread(values: np.ndarray, median: float) -> Record:
    low, _, high = (float(value) for value in quantiles(values))
    return {"median": median, "p10": low, "p90": high}
