"""Laws that every cell keeps, whatever its equations: what a value is, and what a run over time owes its parts."""

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recur import cells, engines, flow
from recur.check._engine_checks import BATCH, FEATURES, ROUNDINGS, STEPS, rounding, vector
from recur.check._scorecard import Check, Score

HALF = STEPS // 2


def checks(name: str, cell: cells.Cell, seed: int) -> Iterator[Check]:
    """Yields the laws as checks of a cell."""
    laws: dict[str, Callable[[cells.Cell, int], Iterator[Score]]] = {
        "a cell is a value": _value,
        "parameters follow from the key": _parameters,
        "a step keeps its state": _step,
        "rows of a batch are independent": _rows,
        "two halves make the whole": _halves,
        "padding counts nowhere": _padding,
        "nothing passes a reset": _reset,
        "networks run side by side": _networks,
        "flow equals derivatives of the run": _flow,
    }
    for title, law in laws.items():
        yield Check(title, name, None, lambda law=law: list(law(cell, seed)))


def _holds(what: str, holds: bool) -> Score:
    return Score(what, 1.0, float(holds), 0.0)


def _same(what: str, expected: Any, measured: Any) -> Score:
    exact = vector(expected)
    return Score(what, exact, vector(measured), rounding(ROUNDINGS, expected, "float32"))


def _problem(cell: cells.Cell, seed: int) -> tuple[Any, jax.Array, Any]:
    """Returns parameters with no bias zero, inputs ``[T, B, X]`` and a state that is not zero."""
    rng = np.random.default_rng([seed, 2])

    def moved(scale: float, tree: Any) -> Any:
        return jax.tree.map(
            lambda a: a + jnp.asarray(scale * rng.standard_normal(a.shape), a.dtype) if _is_real(a) else a, tree
        )

    params = moved(0.1, cell.init(jax.random.key(seed), FEATURES, jnp.float32))
    xs = jnp.asarray(rng.standard_normal((STEPS, BATCH, FEATURES)), jnp.float32)
    return params, xs, moved(0.5, cell.initial_state((BATCH,), jnp.float32))


def _is_real(leaf: jax.Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.floating)


def _value(cell: cells.Cell, seed: int) -> Iterator[Score]:
    del seed
    yield _holds("equal cells have equal hashes", hash(copy.copy(cell)) == hash(cell) and copy.copy(cell) == cell)
    yield _holds("a deep copy is equal", copy.deepcopy(cell) == cell)
    yield _holds("pickled and read again it is equal", pickle.loads(pickle.dumps(cell)) == cell)
    yield _holds("it holds no arrays", not any(hasattr(leaf, "shape") for leaf in jax.tree.leaves(vars(cell))))


def _parameters(cell: cells.Cell, seed: int) -> Iterator[Score]:
    one, again = (cell.init(jax.random.key(seed), FEATURES, jnp.float32) for _ in range(2))
    yield _holds("the same key draws the same", jax.tree.all(jax.tree.map(np.array_equal, one, again)))
    leaves = jax.tree.leaves(one)
    yield _holds("all are finite numbers", all(np.isfinite(leaf).all() for leaf in leaves))
    with jax.enable_x64(True):
        wide = jax.tree.leaves(cell.init(jax.random.key(seed), FEATURES, jnp.float64))
    shapes = [a.shape == b.shape for a, b in zip(leaves, wide, strict=True)]
    yield _holds("another dtype has the same shapes", all(shapes))


def _step(cell: cells.Cell, seed: int) -> Iterator[Score]:
    params, xs, state = _problem(cell, seed)
    after, output = jax.eval_shape(cell.step, params, state, xs[0])
    like = jax.tree.map(lambda a: (a.shape, np.dtype(a.dtype)), state)
    yield _holds(
        "structure, shapes and dtypes stay", jax.tree.map(lambda a: (a.shape, np.dtype(a.dtype)), after) == like
    )
    yield _holds("the output has one row for each of the batch", output.shape[:1] == (BATCH,))
    one, many = cell.initial_state((), jnp.float32), cell.initial_state((2, BATCH), jnp.float32)
    spread = jax.tree.map(lambda a: np.broadcast_to(a, (2, BATCH, *a.shape)), one)
    yield _holds("batch axes repeat the initial state", jax.tree.all(jax.tree.map(np.array_equal, spread, many)))


def _rows(cell: cells.Cell, seed: int) -> Iterator[Score]:
    params, xs, state = _problem(cell, seed)
    together = _run(cell, params, xs, state)
    for row in (0, BATCH - 1):
        alone = _run(cell, params, xs[:, row], jax.tree.map(lambda a, row=row: a[row], state))
        yield _same(f"row {row} alone", jax.tree.map(lambda a, row=row: a[:, row], together.states), alone.states)


def _halves(cell: cells.Cell, seed: int) -> Iterator[Score]:
    params, xs, state = _problem(cell, seed)
    whole = _run(cell, params, xs, state)
    first = _run(cell, params, xs[:HALF], state)
    second = _run(cell, params, xs[HALF:], first.final)
    yield _same("outputs of the second half", whole.outputs[HALF:], second.outputs)
    yield _same("final state", whole.final, second.final)
    back = _run(cell, params, xs[::-1], state, reverse=True)
    yield _same("reverse turns time round", whole.outputs[::-1], back.outputs)


def _padding(cell: cells.Cell, seed: int) -> Iterator[Score]:
    params, xs, state = _problem(cell, seed)
    mask = np.arange(STEPS)[:, None] < np.full(BATCH, HALF)
    padded = jnp.where(mask[..., None], xs, jnp.nan)
    short, long = _run(cell, params, xs[:HALF], state), _run(cell, params, padded, state, mask=mask)
    yield _same("final state behind padding that is not a number", short.final, long.final)
    yield _holds("outputs there are zero", not np.any(long.outputs[HALF:]))
    found = jax.grad(_sum_of_outputs, argnums=(1, 2))(cell, params, padded, state, mask=mask)
    wanted = jax.grad(_sum_of_outputs, argnums=(1, 2))(cell, params, xs[:HALF], state)
    yield _same("gradient of the parameters", wanted[0], found[0])
    yield _same("gradient of the inputs before", wanted[1], found[1][:HALF])
    yield _holds("gradient of the padding is zero", not np.any(found[1][HALF:]))


def _reset(cell: cells.Cell, seed: int) -> Iterator[Score]:
    params, xs, state = _problem(cell, seed)
    reset = np.zeros((STEPS, BATCH), bool)
    reset[HALF] = True
    broken = xs.at[HALF - 1].set(jnp.nan)
    fresh = cell.initial_state((BATCH,), jnp.float32)
    after = _run(cell, params, xs[HALF:], fresh)
    found = _run(cell, params, broken, state, reset=reset, reset_state=fresh)
    yield _same("outputs after it, with NaN before it", after.outputs, found.outputs[HALF:])
    options = {"reset": reset, "reset_state": fresh, "since": HALF}
    gradients = jax.grad(_sum_of_outputs, argnums=(1, 2))(cell, params, broken, state, **options)
    wanted = jax.grad(_sum_of_outputs, argnums=(1, 2))(cell, params, xs[HALF:], fresh)
    yield _same("gradient of the parameters, with NaN before it", wanted[0], gradients[0])
    yield _holds("gradient of inputs before it is zero", not np.any(gradients[1][:HALF]))


def _networks(cell: cells.Cell, seed: int) -> Iterator[Score]:
    params, xs, state = _problem(cell, seed)
    other, _, _ = _problem(cell, seed + 1)
    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), params, other)
    side_by_side = jax.vmap(lambda p: _run(cell, p, xs, state).outputs)(both)
    one_by_one = jnp.stack([_run(cell, p, xs, state).outputs for p in (params, other)])
    yield _same("vmap over parameters", one_by_one, side_by_side)


def _flow(cell: cells.Cell, seed: int) -> Iterator[Score]:
    params, xs, state = _problem(cell, seed)

    def last_output(shift: Any, lag: int) -> jax.Array:
        moved = jax.tree.map(lambda a, d: a + d if d is not None else a, _at(cell, params, xs, state, lag), shift)
        output = _run(cell, params, xs[STEPS - lag :], moved).outputs[-1] if lag else cell.output(moved)
        return jnp.sum(output) * output.shape[-1] ** -0.5

    expected = []
    for lag in (1, STEPS):
        shift = jax.tree.map(jnp.zeros_like, _at(cell, params, xs, state, lag))
        gradient = jax.grad(last_output)(shift, lag)
        squares = sum(jnp.sum(jnp.square(a).reshape(BATCH, -1), axis=1) for a in jax.tree.leaves(gradient))
        expected.append(0.5 * jnp.log(squares))
    with np.errstate(divide="ignore"):
        found = flow.adjoint_log_norms(cell, params, xs, state)
    yield Score("log norms at lag 1 and T", np.stack(expected), np.asarray(found)[[1, STEPS]], 1e-3)


def _at(cell: cells.Cell, params: Any, xs: jax.Array, state: Any, lag: int) -> Any:
    """The state `lag` steps before the end."""
    return state if lag == STEPS else _run(cell, params, xs[: STEPS - lag], state).final


def _run(cell: cells.Cell, params: Any, xs: Any, state: Any, **options: Any) -> engines.Run:
    return engines.unroll(cell, params, xs, state, engine=engines.Scan(), **options)


def _sum_of_outputs(cell: cells.Cell, params: Any, xs: Any, state: Any, since: int = 0, **options: Any) -> jax.Array:
    outputs = _run(cell, params, xs, state, **options).outputs[since:]
    # Every entry has a weight of its own, so that none can hide behind another.
    return jnp.sum(outputs[: STEPS - HALF] * _weights(outputs[: STEPS - HALF].shape))


def _weights(shape: tuple[int, ...]) -> np.ndarray:
    return np.cos(np.arange(np.prod(shape, dtype=int))).reshape(shape).astype(np.float32)
