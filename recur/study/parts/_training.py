"""How training moves gradients: lag curves, gates and exponents before, during and after it (P2, P5, P6).

The task is delayed recall: all that matters lies at one known lag, three quarters of the longest sequence of P14.
"""

import functools
from typing import Any

import jax
import numpy as np

from recur import cells, flow
from recur.study.parts import _learning, _problems, _spectra, _tasks
from recur.study.parts._setup import Job, Record, Setup, number, series, skipped

LAGS, HEATMAP, GATES, SPECTRUM = "trained_lag", "training_heatmap", "gate_statistics", "lyapunov_spectrum"
SEQUENCES = 4
KEPT_LAGS = 160


def jobs(setup: Setup) -> list[Job]:
    return [Job(label, functools.partial(_measure, setup, label)) for label in setup.cells]


def _measure(setup: Setup, label: str) -> list[Record]:
    """Trains the runs of one cell, as many as a task of P14 has, and measures them after every chunk."""
    sizes = _tasks.SIZES[setup.preset]
    steps = max(sizes.lengths)
    lag = 3 * steps // 4
    problem = _problems.recall(lag)
    cell = setup.cell(label, hidden_size=sizes.budget.hidden_size)
    seeds = min(setup.seeds, sizes.seeds) * len(sizes.lengths)
    key = setup.key_for(f"training {label}")
    # Longer sequences than those of training, to see how far beyond the lag the gradient reaches.
    reach = min(sizes.reach, 5 * steps)
    drawn = _problems.draw(
        jax.random.split(setup.key_for("training looks"), seeds),
        np.int32(0),
        problem=problem,
        lengths=(reach,),
        count=SEQUENCES,
        longest=reach,
    )
    xs = jax.vmap(_problems.inputs)(drawn)
    looks, params = [], []
    for look in _learning.learn(problem, cell, cell, key, (steps,), _tasks.longest(sizes), seeds, sizes.budget):
        if not looks:
            without_gates = _why_no_gates(cell, look.params, xs)
        looks.append((look.step, look.losses[0], *_look(cell, look.params, xs, without_gates is None)))
        params = [*params[:1], look.params]
    at, losses, curves, gates = zip(*looks, strict=True)
    curves = np.stack([np.asarray(curve, np.float64) for curve in curves])
    meta = setup.meta(
        label,
        hidden_size=cells.output_size(cell),
        seeds=seeds,
        dtype="float32",
        input=problem.name,
        length=reach,
        task=f"{problem.name}, lag {lag}",
        budget=str(sizes.budget),
    )
    return [
        *_lag_records(label, curves, np.stack(losses), lag, meta),
        _heatmap(label, at, curves, meta),
        *(_gate_records(label, at, gates, meta) if without_gates is None else [skipped(GATES, label, without_gates)]),
        *_spectrum_records(label, cell, params, xs, meta),
    ]


@functools.partial(jax.jit, static_argnames=("cell", "with_gates"), compiler_options=_problems.QUICKLY)
def _look(cell: cells.Cell, params: Any, xs: jax.Array, with_gates: bool) -> tuple[jax.Array, Any]:
    """Measures ln A(k) of the loss, ``[T + 1, S]``, and the gates, ``[S]`` each."""
    curves = _tasks.curves(cell, params["cell"], xs, params["kernel"][:, :, 0])
    gates = jax.vmap(functools.partial(flow.gate_statistics, cell))(params["cell"], xs) if with_gates else {}
    return curves, gates


def _why_no_gates(cell: cells.Cell, params: Any, xs: jax.Array) -> str | None:
    """Returns what a cell lacks whose gates cannot be measured."""
    try:
        jax.eval_shape(jax.vmap(functools.partial(flow.gate_statistics, cell)), params["cell"], xs)
    except ValueError as error:
        return str(error)
    return None


def _lag_records(label: str, curves: np.ndarray, losses: np.ndarray, lag: int, meta: Record) -> list[Record]:
    """Lag curves before and after, ``[looks, L, S]``, and by how much each seed's horizon is longer at the end."""
    relative = curves - curves[:, :1]
    kept = kept_lags(curves.shape[1])
    first, last = (_tasks.horizons(curves[look]) for look in (0, -1))
    numbers = {
        "horizon_lengthened, steps": last - first,
        "horizon at initialisation, steps": first,
        "horizon after training, steps": last,
        f"gradient at lag {lag} over that at lag 0, at initialisation, ln": relative[0, lag],
        f"gradient at lag {lag} over that at lag 0, after training, ln": relative[-1, lag],
        "loss over that of the best guess, after training": losses[-1],
    }
    capped = ("horizon at initialisation, steps", "horizon after training, steps")
    return [
        *(
            series(LAGS, f"{label}, {state}", kept, relative[look][kept], {**meta, "state": state})
            for state, look in (("init", 0), ("trained", -1))
        ),
        *(
            number(LAGS, name, values, {**meta, "capped_at": curves.shape[1] - 1} if name in capped else meta)
            for name, values in numbers.items()
        ),
    ]


def _heatmap(label: str, at: tuple[int, ...], curves: np.ndarray, meta: Record) -> Record:
    kept = kept_lags(curves.shape[1])
    values = np.median(curves - curves[:, :1], axis=2)[:, kept]
    return {
        "kind": "matrix",
        "plot": HEATMAP,
        "label": label,
        "x": list(at),
        "y": kept.tolist(),
        "values": values.T.tolist(),
        **_moved(curves),
        **meta,
    }


def _moved(curves: np.ndarray) -> Record:
    """The horizons of the first and the last look, from whole curves: medians over seeds, as the numbers beside."""
    first, last = (float(np.nanmedian(_tasks.horizons(curves[look]))) for look in (0, -1))
    return {"horizon_first_steps": first, "horizon_last_steps": last, "horizon_capped_at": curves.shape[1] - 1}


def kept_lags(count: int) -> np.ndarray:
    """Returns all lags of short curves, evenly spaced ones of long ones."""
    return np.unique(np.linspace(0, count - 1, min(count, KEPT_LAGS)).round().astype(int))


def _gate_records(label: str, at: tuple[int, ...], gates: tuple[Any, ...], meta: Record) -> list[Record]:
    rows = []
    for gate in gates[0]:
        found = [jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), look[gate]) for look in gates]
        for statistic, values in (
            ("mean", [one.mean for one in found]),
            ("saturated", [one.saturated_low + one.saturated_high for one in found]),
        ):
            told = {**meta, "gate": gate, "statistic": statistic}
            rows.append(series(GATES, f"{label}, {gate}, {statistic}", at, np.stack(values), told))
    return rows


def _spectrum_records(label: str, cell: cells.Cell, params: list[Any], xs: jax.Array, meta: Record) -> list[Record]:
    """Lyapunov spectra before and after, on one sequence of the task a seed."""
    rows = []
    for state, trained in zip(("init", "trained"), params, strict=True):
        one = np.swapaxes(np.asarray(xs[:, :, 0]), 0, 1)
        values = np.asarray(_spectra.spectra(cell, trained["cell"], one, len(one) // 5), np.float64)
        finite = np.isfinite(values).all(axis=1)
        x = np.arange(1, len(values) + 1) / len(values)
        if finite.any():
            told = {**meta, "state": state}
            rows.append(series(SPECTRUM, f"{label}, {state}", x[finite], values[finite], told))
    return rows
