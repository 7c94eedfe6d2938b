"""Does pulling Lyapunov exponents to zero before training make the long-term Jacobian well conditioned?

    python -m experiments.flossing --cell=elman --seeds=10 --workdir=runs/flossing

Gradient flossing (Engelken 2023, https://arxiv.org/abs/2312.17306): Adam lowers the mean square of the first
`exponents` Lyapunov exponents, differentiated through their QR recursion, on noise drawn afresh at every step. No task
and no target. Before and after, each seed is measured on other noise.

Metrics, one value a seed, each ``before_`` and ``after_``: ``ln_condition_number`` of the Jacobian over all steps; in
nats a step ``mean_square_exponent`` (of those flossed), ``largest_exponent``, ``smallest_exponent``.
"""

import dataclasses
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key, PyTree

from experiments import _pictures
from recur import cells, flow, report
from recur.runs import _config, _folder, _history, _lock, _main, _run

FEATURES, RECORDS = 1, 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(_config.CellConfig):
    """Options of the experiment."""

    workdir: str = _config.option("runs/flossing", "Folder of the run.")
    cell: str = _config.option("elman", f"Cell, one of {', '.join(sorted(cells.CELLS))}.")
    recurrent_init: str = _config.option("gaussian", "How recurrent kernels are drawn; empty for the cell's own way.")
    exponents: int = _config.option(0, "How many exponents to floss, from the top; 0 for all of the state.", least=0)
    length: int = _config.option(55, "Steps over which exponents and condition number are measured.", least=2)
    steps: int = _config.option(400, "Steps of Adam.", least=1)
    seeds: int = _config.option(10, "How many seeds.", least=1)

    def __post_init__(self) -> None:
        """Checks every value."""
        super().__post_init__()
        if len(self.cell_names) > 1:
            raise ValueError(f"cell: expected one, got {self.cell!r}; run the command for each, with its own workdir")
        try:
            size = sum(leaf.size for leaf in jax.tree.leaves(self.make_cell().initial_state()))
        except TypeError:
            raise ValueError(f"recurrent_init: {self.cell} has no such option; give --recurrent_init=") from None
        if self.exponents > size:
            raise ValueError(f"exponents: expected at most {size}, the size of the state, got {self.exponents}")

    def make_cell(self) -> cells.Cell:
        """Returns the cell."""
        drawn = {"recurrent_init": self.recurrent_init} if self.recurrent_init else {}
        return cells.CELLS[self.cell](self.hidden_size, **drawn)

    @property
    def lags(self) -> list[int]:
        """Lags of the picture, in steps."""
        return sorted({round(lag) for lag in np.linspace(1, self.length, 12)})


def floss(config: Config) -> dict[str, Any]:
    """Runs the experiment, as the command does, and returns the summary that it also writes."""
    with _lock.alone_in(config.workdir):
        return _floss(config)


def _floss(config: Config) -> dict[str, Any]:
    started, keys = time.perf_counter(), _run.seed_keys(config)
    workdir = _folder.check_folder("flossing", config)
    _folder.write_config(workdir, "flossing", config)

    def start(key: Key[Array, ""]) -> PyTree:
        params = config.make_cell().init(jax.random.fold_in(key, 1), FEATURES)
        return params, optax.adam(config.learning_rate).init(params), key

    state = jax.jit(functools.partial(jax.lax.map, start))(keys)
    before, curve_before = _metrics(*_measure(state[0], keys, config), config)
    rows = [{"step": 0, "wall_s": 0.0, "mean_square_exponent": _finite(before["mean_square_exponent"], config)}]
    report.write_jsonl(workdir / "history.jsonl", rows)
    for count in map(len, np.array_split(np.arange(config.steps), min(RECORDS, config.steps))):
        state, losses = _advance(state, config=config, count=count)
        at = {"step": rows[-1]["step"] + count, "wall_s": round(time.perf_counter() - started, 3)}
        rows.append(at | {"mean_square_exponent": _finite(losses, config)[:, -1]})
        report.append_jsonl(workdir / "history.jsonl", rows[-1])
    after, curve_after = _metrics(*_measure(state[0], keys, config), config)
    report.write_csv(workdir / "history.csv", _history.tidy(rows, config))
    subtitle = f"{config.hidden_size} units, {config.steps} steps; {config.seeds} seeds"
    figure = _pictures.condition_number(curve_before, curve_after, config.lags, config.cell, subtitle)
    report.save_figure(workdir / "condition_number.png", figure)
    metrics = {f"before_{name}": value for name, value in before.items()}
    metrics |= {f"after_{name}": value for name, value in after.items()}
    summary = _folder.write_summary(workdir, "flossing", config, metrics, time.perf_counter() - started)
    print(_folder.as_text(f"flossing, {config.cell}, {config.length} steps", summary), flush=True)
    return summary


def mean_square_exponent(params: PyTree, xs: Float[Array, "T X"], *, cell: cells.Cell, k: int) -> Float[Array, ""]:
    """Returns what flossing lowers; all exponents with k = 0."""
    return jnp.mean(jnp.square(flow.lyapunov_spectrum(cell, params, xs, k=k or None)))


def _finite(losses: Float[Array, "S ..."], config: Config) -> Float[Array, "S ..."]:
    bad = np.argwhere(~np.isfinite(losses))
    if not bad.size:
        return losses
    where = f"in seed {config.seed + bad[0][0]}; floss fewer, or lower --learning_rate"
    raise FloatingPointError(f"exponents: expected finite numbers, got -inf or nan {where}")


# Seed by seed: batched QR factorisations side by side may hang jaxlib 0.10 on two cores.
@functools.partial(jax.jit, static_argnames=("config", "count"))
def _advance(state: PyTree, *, config: Config, count: int) -> tuple[PyTree, Float[Array, "S N"]]:
    loss = functools.partial(mean_square_exponent, cell=config.make_cell(), k=config.exponents)

    def update(state: PyTree, _: None) -> tuple[PyTree, Float[Array, ""]]:
        params, moments, key = state
        key, for_xs = jax.random.split(key)
        value, gradient = jax.value_and_grad(loss)(params, jax.random.normal(for_xs, (config.length, FEATURES)))
        updates, moments = optax.adam(config.learning_rate).update(gradient, moments)
        return (optax.apply_updates(params, updates), moments, key), value

    return jax.lax.map(lambda one: jax.lax.scan(update, one, length=count), state)


@functools.partial(jax.jit, static_argnames="config")
def _measure(params: PyTree, keys: Key[Array, "S"], config: Config) -> tuple[Float[Array, "S n"], Float[Array, "S L"]]:
    def one(of_seed: tuple[PyTree, Key[Array, ""]]) -> tuple[Float[Array, "n"], Float[Array, "L"]]:
        params, key = of_seed
        xs = jax.random.normal(jax.random.fold_in(key, 2), (config.length, FEATURES))
        values = flow.jacobian_log_singular_values(config.make_cell(), params, xs, config.lags)
        return flow.lyapunov_spectrum(config.make_cell(), params, xs), flow.log_condition_numbers(values)

    return jax.lax.map(one, (params, keys))


def _metrics(spectrum: Float[Array, "S n"], curve: Float[Array, "S L"], config: Config) -> tuple[dict, np.ndarray]:
    flossed = np.square(spectrum[:, : config.exponents or None]).mean(axis=1)
    ends = {"largest_exponent": spectrum[:, 0], "smallest_exponent": spectrum[:, -1]}
    return {"ln_condition_number": curve[:, -1], "mean_square_exponent": flossed, **ends}, curve


if __name__ == "__main__":
    _config.define_flags(Config)
    _main.run(lambda argv: floss(_config.from_flags(Config)))
