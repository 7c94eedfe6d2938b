"""What is looked at while a network trains: lag curves, gates, sizes of the parameters."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from recur import flow, report, train
from recur.runs._problem import Recurrence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CURVES = 6


def make(recurrence: Recurrence, like: PyTree) -> Callable[[PyTree], dict[str, Any]]:
    """Makes the probe of a network, for `recur.train.fit`.

    It returns ``ln_adjoint [T + 1]``, the mean over sequences of ``ln A(k)`` (see `recur.flow.adjoint_log_norms`);
    ``gates``, mean and saturated shares by layer and gate (see `recur.flow.gate_statistics`), without cells that
    declare none; ``ln_parameter_norm``, the logarithm of the Euclidean norm of every tensor.

    Args:
        recurrence: The recurrent part of the network, and sequences to look at, always the same ones.
        like: Parameters of one seed, of which shapes are taken.
    """

    def gates(params: PyTree) -> dict[str, Any]:
        found = flow.gate_statistics(*recurrence(params))
        return jax.tree.map(
            lambda gate: gate._asdict(), found, is_leaf=lambda node: isinstance(node, flow.GateStatistics)
        )

    try:
        jax.eval_shape(gates, like)
    except ValueError as error:
        print(f"gates are not looked at: {error}", flush=True)
        has_gates = False
    else:
        has_gates = True

    def probe(params: PyTree) -> dict[str, Any]:
        curves = flow.adjoint_log_norms(*recurrence(params))
        norms = {
            jax.tree_util.keystr(path, simple=True, separator="."): jnp.log(jnp.linalg.norm(leaf.ravel()))
            for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        }
        found = {"ln_adjoint": curves.reshape(len(curves), -1).mean(axis=1), "ln_parameter_norm": norms}
        return {**found, "gates": gates(params)} if has_gates else found

    return probe


def row(look: train.Probed) -> dict[str, Any]:
    """Returns a look as one row: step, and what the probe found, every number a list over seeds."""
    return {"step": look.step, **look.values}


def read(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a run, none where it was not looked at."""
    return report.read_jsonl(path) if path.exists() and path.stat().st_size else []


def draw(title: str, subtitle: str, rows: Sequence[dict[str, Any]]) -> "Figure":
    """Draws the lag curve at some of the steps looked at, the first and the last among them."""
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST_CURVES)).round().astype(int))
    curves = {}
    for index in chosen:
        logs = np.asarray(rows[index]["ln_adjoint"], np.float64)
        curves[f"after {rows[index]['step']:,} steps"] = (
            range(logs.shape[1]),
            (logs - logs[:, :1]) / np.log(10),
        )
    return report.loss_curves(
        curves,
        title=title,
        subtitle=subtitle,
        x_label="lag k in steps",
        y_label="log10 of the gradient norm A(k) / A(0)",
        y_scale="linear",
    )
