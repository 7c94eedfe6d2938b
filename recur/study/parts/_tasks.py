"""What small networks learn at one budget (P14), and whether their horizon at initialisation foretold it (P15)."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur import cells, flow
from recur.study.parts import _learning, _problems
from recur.study.parts._setup import Job, Record, Setup, number, series, skipped

SUCCESS, HORIZON = "task_success", "horizon_solved"
FORETOLD = ("multiplication", "adding", "copy")
BOOTSTRAPS = 2000


class Sizes(NamedTuple):
    """How much is learnt.

    Args:
        budget: Of every run.
        lengths: T.
        seeds: At most, of those of the run.
        items: Symbols to be copied.
        initializers: Beside that of the run.
        reach: Steps over which horizons are measured.
    """

    budget: _learning.Budget
    lengths: tuple[int, ...]
    seeds: int
    items: int
    initializers: tuple[str, ...]
    reach: int


SIZES = {
    "tiny": Sizes(_learning.Budget(4, 4, 2), (5, 8), 2, 1, (), 16),
    "quick": Sizes(_learning.Budget(16, 300), (5, 10, 20), 3, 1, ("chrono",), 300),
    "standard": Sizes(_learning.Budget(16, 300), (5, 10, 20, 40), 10, 1, ("chrono", "gaussian"), 1000),
    "full": Sizes(
        _learning.Budget(32, 3000), (10, 20, 50, 100, 200, 400), 10, 10, ("chrono", "gaussian", "identity"), 4000
    ),
}


def longest(sizes: Sizes) -> int:
    """Returns the steps that all sequences of a preset are filled up to: one shape, one program a cell."""
    return max(sizes.lengths) + 2 * sizes.items


def success_jobs(setup: Setup) -> list[Job]:
    """Every cell of the run on every task."""
    return [_job(setup, name, label, None) for label in setup.cells for name in _problems.NAMES]


def horizon_jobs(setup: Setup) -> list[Job]:
    """Three tasks under more initialisers, and what comes of all of them."""
    others = [name for name in SIZES[setup.preset].initializers if name != setup.config.initializer]
    chosen = others if SUCCESS in setup.config.parts else (None, *others)
    jobs = [_job(setup, name, label, other) for label in setup.cells for other in chosen for name in FORETOLD]
    sums = ((f"{name} in all", functools.partial(_correlate, setup, name)) for name in FORETOLD)
    return [*jobs, *(Job(*one, gathers=True) for one in sums)]


def _job(setup: Setup, name: str, label: str, other: str | None) -> Job:
    title = f"{name} {label}" if other is None else f"{name} {label} {other}"
    return Job(title, functools.partial(_learn, setup, name, label, other))


def _learn(setup: Setup, name: str, label: str, other: str | None) -> list[Record]:
    """Trains a cell on a task at all lengths: a raw record, and of the run's initialiser the share that solved it.

    Args:
        setup: Of the run.
        name: Of the task.
        label: Of the cell.
        other: Initialiser in place of the run's.
    """
    sizes = SIZES[setup.preset]
    problem = _problems.problems(sizes.items)[name]
    units = sizes.budget.hidden_size
    cell = drawn_as = setup.cell(label, hidden_size=units)
    described = {}
    if other is not None:
        described = {"initializer": other, "gain": 1.0}
        try:
            drawn_as = setup.cell(label, hidden_size=units, max_steps=max(sizes.lengths), **described)
        except ValueError as error:
            # Said once for all tasks.
            return [skipped(HORIZON, label, str(error), initializer=other)] if name == FORETOLD[0] else []
    seeds = min(setup.seeds, sizes.seeds)
    key = setup.key_for(f"{name} {label}")
    best, reached, measured = np.inf, None, {}
    for look in _learning.learn(problem, cell, drawn_as, key, sizes.lengths, longest(sizes), seeds, sizes.budget):
        if look.step == 0:
            if name in FORETOLD:
                params = jax.tree.map(lambda leaf: leaf[:seeds], look.params["cell"])
                measured = {
                    "horizon_steps": _horizons(setup, problem, cell, params),
                    "horizon_measured_to_steps": sizes.reach,
                }
            reached = np.full(look.losses.shape, np.nan)
            continue
        reached = np.where(np.isnan(reached) & (look.losses < _learning.SOLVED), look.step, reached)
        best = np.fmin(best, look.losses)
        if np.isfinite(reached).all():
            break  # nothing more to find out
    meta = setup.meta(
        label,
        **described,
        hidden_size=cells.output_size(cell),
        seeds=seeds,
        dtype="float32",
        input=name,
        task=name,
        budget=str(sizes.budget),
    )
    raw = {
        "kind": "task_run",
        **meta,
        "lengths": list(sizes.lengths),
        "steps_to_criterion": reached,
        "least_loss_over_floor": best,
        **measured,
    }
    return [raw, *(_success(raw, meta) if other is None else ())]


def _success(raw: Record, meta: Record) -> list[Record]:
    """The share of seeds that solved each length, and the steps it took at the longest that half of them solved."""
    reached = raw["steps_to_criterion"]
    share = np.isfinite(reached).mean(axis=1)
    rows = [series(SUCCESS, raw["cell"], raw["lengths"], share, meta)]
    half = np.flatnonzero(share >= 0.5)
    if half.size:
        at = half[-1]
        steps = reached[at][np.isfinite(reached[at])]
        name = f"training steps to a tenth of the floor at T = {raw['lengths'][at]}, those that got there"
        rows.append(number(SUCCESS, name, steps, meta))
    return rows


def _horizons(setup: Setup, problem: _problems.Problem, cell: cells.Cell, params: dict) -> np.ndarray:
    """Measures how far back a thousandth of the gradient reaches, on one sequence of the task a seed, ``[S]``."""
    reach = SIZES[setup.preset].reach
    seeds = len(jax.tree.leaves(params)[0])
    keys = jax.random.split(setup.key_for(f"{problem.name} horizon"), seeds)
    length = reach - problem.more
    batch = _problems.draw(keys, np.int32(0), problem=problem, lengths=(length,), count=1, longest=reach)
    return horizons(np.asarray(curves(cell, params, jax.vmap(_problems.inputs)(batch), None), np.float64))


@functools.partial(jax.jit, static_argnames="cell")
def curves(cell: cells.Cell, params: dict, xs: jax.Array, cotangent: jax.Array | None) -> jax.Array:
    """Measures ln A(k) of every seed on its sequences, ``[T + 1, S]``, the mean over sequences ``xs [S, T, N, 8]``."""

    def one(params: dict, xs: jax.Array, cotangent: jax.Array | None) -> jax.Array:
        if cotangent is not None:
            cotangent = jnp.broadcast_to(cotangent, (xs.shape[1], *cotangent.shape))
        return flow.adjoint_log_norms(cell, params, xs, cotangent=cotangent).mean(axis=1)

    return jax.vmap(one, out_axes=1)(params, xs, cotangent)


def horizons(logs: np.ndarray) -> np.ndarray:
    """Returns the last lag with a thousandth of the gradient, of every column ``[L, S]``; nan for one not finite."""
    fine = ~(np.isnan(logs) | np.isposinf(logs)).any(axis=0)
    found = np.full(logs.shape[1], np.nan)
    if fine.any():
        found[fine] = flow.summarize(logs[:, fine]).horizon_steps(1e-3)
    return found


def _correlate(setup: Setup, name: str) -> list[Record]:
    """Compares horizon and longest length solved over cells and initialisers, a point each, medians over seeds."""
    rows = [row for row in setup.rows if row.get("kind") == "task_run" and row["task"] == name]
    if not rows:
        return []
    x = np.array([np.nanmedian(row["horizon_steps"]) for row in rows])
    solved = [np.isfinite(np.asarray(row["steps_to_criterion"], np.float64)) for row in rows]
    y = np.array(
        [_longest_solved(row["lengths"], reached.mean(axis=1)) for row, reached in zip(rows, solved, strict=True)]
    )
    fine = np.isfinite(x)
    x, y, rows = x[fine], y[fine], [row for row, keep in zip(rows, fine, strict=True) if keep]
    first = rows[0]
    meta = setup.meta(
        None,
        seeds=first["seeds"],
        dtype=first["dtype"],
        hidden_size=first["hidden_size"],
        task=name,
        budget=first["budget"],
        horizon_measured_to_steps=first["horizon_measured_to_steps"],
    )
    main = setup.config.initializer
    names = [row["cell"] if row["initializer"] == main else f"{row['cell']}, {row['initializer']}" for row in rows]
    points = {"kind": "points", "plot": HORIZON, "label": name, "x": x.tolist(), "y": y.tolist(), "names": names}
    value = {"median": spearman(x, y), **_bootstrap(x, y, setup.key_for(f"{name} bootstrap"))}
    label = f"spearman rank correlation over {len(rows)} points"
    return [{**points, **meta}, {"kind": "number", "plot": HORIZON, "name": label, "value": value, **meta}]


def _longest_solved(lengths: Sequence[int], share: np.ndarray) -> int:
    """Returns the longest length that half of the seeds solved, 0 for none."""
    return max((length for length, part in zip(lengths, share, strict=True) if part >= 0.5), default=0)


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Returns the correlation of ranks, those of equals being their mean; nan where one of the two does not vary."""
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    ranks = [(v[:, None] > v).sum(axis=1) + 0.5 * (v[:, None] == v).sum(axis=1) for v in (x, y)]
    return float(np.corrcoef(ranks)[0, 1])


def _bootstrap(x: np.ndarray, y: np.ndarray, key: jax.Array) -> dict[str, float]:
    """Returns 10 % and 90 % of the correlation over draws of the points with replacement."""
    drawn = np.asarray(jax.random.randint(key, (BOOTSTRAPS, len(x)), 0, len(x)))
    values = np.array([spearman(x[index], y[index]) for index in drawn])
    values = values[np.isfinite(values)]
    low, high = np.quantile(values, (0.1, 0.9)) if values.size else (np.nan, np.nan)
    return {"p10": float(low), "p90": float(high)}
