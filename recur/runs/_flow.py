"""The gradient of a network by lag, before training and after it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import PyTree

from recur import flow, report
from recur.runs._config import RunConfig
from recur.runs._problem import Recurrence

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def measure(recurrence: Recurrence, params: PyTree, state: str, config: RunConfig) -> dict[str, Any]:
    """Returns the lag curve of all seeds, ``ln A(k)`` averaged over sequences (see `recur.flow.adjoint_log_norms`).

    Args:
        recurrence: The recurrent part of one seed, and inputs.
        params: Parameters ``[S, ...]``.
        state: When: "init" or "trained".
        config: Of the run.

    Returns:
        A record of kind "lag_curve", as `recur.report.lag_curves` takes it.
    """

    @jax.jit
    def curves(params: PyTree) -> jax.Array:
        def of_seed(params: PyTree) -> jax.Array:
            log_norms = flow.adjoint_log_norms(*recurrence(params))
            return log_norms.reshape(len(log_norms), -1).mean(axis=1)

        return jax.lax.map(of_seed, params)

    found = np.asarray(curves(params), np.float64)
    # An exactly zero gradient is -inf, which has a rank but no distance.
    low, middle, high = (np.quantile(found, q, axis=0, method="nearest") for q in (0.1, 0.5, 0.9))
    return {
        "kind": "lag_curve",
        "quantity": "adjoint",
        "cell": config.cell_names[0],
        "state": state,
        "seeds": config.seeds,
        "hidden_size": config.hidden_size,
        "length": found.shape[1] - 1,
        "lag_steps": list(range(found.shape[1])),
        "ln_median": middle.tolist(),
        "ln_p10": low.tolist(),
        "ln_p90": high.tolist(),
    }


def compare(
    path: Path, recurrence: Recurrence, before: PyTree, after: PyTree, config: RunConfig
) -> tuple["Figure", str]:
    """Measures parameters before and after training, writes the records, and returns figure and verdicts."""
    records = [measure(recurrence, before, "init", config), measure(recurrence, after, "trained", config)]
    report.write_jsonl(path, records)
    verdicts = [flow.summarize(np.asarray(record["ln_median"])).verdict for record in records]
    return report.lag_curves(records), f"before training the gradient {verdicts[0]}; after it, {verdicts[1]}"
