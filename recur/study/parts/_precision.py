"""Where gradients computed plainly, in three dtypes, part from those in log space (P13)."""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur import cells, flow
from recur.study import _lag_records
from recur.study.parts._setup import Job, Record, Setup, reference, series

PLOT = "precision"
DECAY = 0.9
LINEAR = f"linear, {DECAY:g} Q"
PLAIN = ("bfloat16", "float32", "float64")


class Sizes(NamedTuple):
    """Steps T of the linear network; how many of the run's cells, from the last on, and for how many steps.

    Every cell is compiled four times.
    """

    linear: int
    cells: int
    steps: int


SIZES = {
    "tiny": Sizes(24, 1, 8),
    "quick": Sizes(4000, 1, 4096),
    "standard": Sizes(4000, 100, 4096),
    "full": Sizes(4000, 100, 16384),
}


def jobs(setup: Setup) -> list[Job]:
    chosen = list(setup.cells)[-SIZES[setup.preset].cells :]
    of_cells = [Job(label, functools.partial(_of_cell, setup, label)) for label in chosen]
    return [Job(LINEAR, functools.partial(_linear, setup)), *of_cells]


def _linear(setup: Setup) -> list[Record]:
    """Its norm is 0.9^k at lag k exactly."""
    steps = SIZES[setup.preset].linear
    cell = cells.elman(8, activation="identity", recurrent_init=cells.Orthogonal(DECAY))
    meta = setup.meta(None, cell=LINEAR, hidden_size=8, initializer="orthogonal", gain=DECAY, input="no", length=steps)
    xs = np.zeros((steps, setup.seeds, 1), np.float32)
    lags = _lag_records.kept_lags(steps + 1)
    exact = reference(PLOT, f"{LINEAR}: exact", lags, lags * np.log(DECAY), cell=LINEAR)
    return [*_curves(setup, LINEAR, cell, xs, meta), exact]


def _of_cell(setup: Setup, label: str) -> list[Record]:
    steps = setup.steps(SIZES[setup.preset].steps)
    xs = np.asarray(setup.inputs(steps), np.float32)
    return list(_curves(setup, label, setup.cells[label], xs, setup.meta(label, length=steps, state="init")))


def _curves(setup: Setup, name: str, cell: cells.Cell, xs: np.ndarray, meta: Record) -> Iterator[Record]:
    """Plain norms in each dtype, from the same float32 numbers, and those in log space in float32."""
    drawn = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), setup.draw(cell, xs.shape[-1], label=name))
    lags = _lag_records.kept_lags(len(xs) + 1)
    for dtype in PLAIN:
        with jax.enable_x64(dtype == "float64"):
            arguments = jax.tree.map(lambda leaf, dtype=dtype: jnp.asarray(leaf, dtype), (drawn, xs))
            norms = np.asarray(_plain(cell, *arguments).astype(jnp.promote_types(dtype, jnp.float32)), np.float64)
        with np.errstate(divide="ignore"):
            logs = np.log(norms)
        yield series(PLOT, f"{name}, {dtype} plain", lags, logs[lags], {**meta, "dtype": dtype})
    logs = np.asarray(_log_space(cell, *jax.tree.map(jnp.asarray, (drawn, xs))), np.float64)
    yield series(PLOT, f"{name}, log space", lags, logs[lags], {**meta, "dtype": "float32"})


@functools.partial(jax.jit, static_argnames="cell")
def _plain(cell: cells.Cell, params: Any, xs: jax.Array) -> jax.Array:
    """Norms of what `jax.grad` gives at every state, ``[L, S]``.

    They are scaled by the largest entry, so that they vanish where every entry of the gradient has left the format, and
    not where their squares have.
    """

    def one(params: Any, xs: jax.Array) -> jax.Array:
        start = cell.initial_state((), xs.dtype)
        prepared = cell.prepare(params)
        moved = jax.tree.map(lambda leaf: jnp.zeros((len(xs) + 1, *leaf.shape), leaf.dtype), start)

        def loss(moved: Any) -> jax.Array:
            def step(state: Any, inputs: tuple) -> tuple[Any, None]:
                projected, by = inputs
                state = cell.advance(prepared, jax.tree.map(jnp.add, state, by), projected)
                return jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), state, start), None

            earlier, last = jax.tree.map(lambda leaf: leaf[:-1], moved), jax.tree.map(lambda leaf: leaf[-1], moved)
            final, _ = jax.lax.scan(step, start, (cell.project(prepared, xs), earlier))
            output = cell.output(jax.tree.map(jnp.add, final, last))
            return jnp.sum(output) * output.shape[-1] ** -0.5

        gradients = jax.tree.leaves(jax.grad(loss)(moved))
        flat = jnp.concatenate([leaf.reshape(len(leaf), -1) for leaf in gradients], axis=1)
        largest = jnp.abs(flat).max(axis=1, keepdims=True)
        scaled = flat / jnp.where(largest > 0, largest, 1)
        return (largest[:, 0] * jnp.linalg.norm(scaled, axis=1))[::-1]

    return jax.vmap(one, in_axes=(0, 1), out_axes=1)(params, xs)


@functools.partial(jax.jit, static_argnames="cell")
def _log_space(cell: cells.Cell, params: Any, xs: jax.Array) -> jax.Array:
    return jax.vmap(functools.partial(flow.adjoint_log_norms, cell), in_axes=(0, 1), out_axes=1)(params, xs)
