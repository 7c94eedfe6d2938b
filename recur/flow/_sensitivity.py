"""How far the outputs move when a parameter moves, step by step forwards in time."""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from recur._checks import check_tree
from recur._types import Array, Bool, Float, Int, Params, PyTree, State
from recur.cells import Cell
from recur.engines._programs import compiled
from recur.flow._lognorm import Scaled, add, log_norm, rescale
from recur.flow._trajectory import at_least_float32, mark_not_finite, over_batch, trajectory

DIRECTIONS_AT_ONCE = 64


def parameter_sensitivity(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T *B X"],
    initial_state: State | None = None,
    *,
    lengths: Int[Array, "*B"] | None = None,
    mask: Bool[Array, "T *B"] | None = None,
    reset: Bool[Array, "T *B"] | None = None,
    reverse: bool = False,
    direction: Params | None = None,
) -> Any:
    """Measures how strongly the outputs at each step depend on the parameters that were used in all steps before.

        without `direction`:  ln E[(d output_t / d theta)^2], for each parameter tensor the mean over its entries
        with `direction` v:   ln E[(sum over theta of v d output_t / d theta)^2]

    and over output units and all batch axes. It may grow beyond bounds as memory gets longer, though no Jacobian
    explodes: for ``h_t = l h_{t-1} + x_t`` on white noise it is ``(1 + l^2) / (1 - l^2)^3`` for ``d h / d l``.

    Tangents are carried forwards with the states, each in its own scale, so that nothing underflows or overflows.
    Exact: without a direction every entry of every tensor is a direction of its own, each as dear as a run of the
    cell and T numbers large, 64 of them at once. That suits small cells. For large ones give directions: with entries
    drawn from N(0, 1) the square of the second form is on average the sum of squares over all entries.

    Args:
        cell: The recurrence.
        params: Its parameters.
        xs: Inputs.
        initial_state: State before the first step (see `recur.unroll`); it does not move with the parameters.
        lengths: Steps of each sequence that count, from the first on; the rest is padding.
        mask: Which steps count, wherever they stand; in place of `lengths`.
        reset: Where a new sequence begins, from the cell's own initial state: nothing passes there.
        reverse: Whether the last step is taken first.
        direction: A change of the parameters, a tree like them.

    Returns:
        Natural logarithms, ``[T]`` each: a tree like the parameters, or one array for a direction. -inf where
        nothing moves.

    Raises:
        TypeError: As `recur.unroll`, or a direction of another structure or dtype than the parameters.
        ValueError: As `recur.unroll`, a direction of other shapes, a cell without parameters, or no sequence.

    Reference:
        Zucchet and Orvieto (2024), https://arxiv.org/abs/2405.21064, sec. 2.

    Example:
        >>> import jax, jax.numpy as jnp, recur
        >>> cell = recur.cells.elman(1, activation="identity", recurrent_init=recur.cells.Identity(0.9))
        >>> params = {**cell.init(jax.random.key(0), 1), "kernel": jnp.ones((1, 1, 1))}
        >>> xs = jnp.zeros((50, 1)).at[0].set(1.0)  # h_t = l^(t-1), d h_t / d l = (t-1) l^(t-2)
        >>> log_squares = recur.flow.parameter_sensitivity(cell, params, xs)["recurrent_kernel"]
        >>> round(float(jnp.exp(0.5 * log_squares[10])), 4), round(10 * 0.9**9, 4)
        (3.8742, 3.8742)
    """
    found = trajectory(cell, params, xs, initial_state, lengths, mask, reset, reverse, align="none")
    if not jax.tree.leaves(params):
        raise ValueError(f"params: expected at least one array, got none; {cell!r} has nothing to measure")
    if 0 in found.features.shape[1:-1]:
        raise ValueError(f"xs: expected at least one sequence, got shape {found.features.shape}")
    if direction is not None:
        check_tree("direction", direction, params, "give a tree like params")
        direction = at_least_float32(direction)
    return _sensitivity(*found, direction)


@compiled("cell")
def _sensitivity(
    cell: Cell, params: Params, xs: PyTree, visited: State, counts: jax.Array | None, direction: Params | None
) -> Any:
    if direction is not None:
        return mark_not_finite(visited, _along(cell, params, direction, xs, visited, counts))
    flat, unravel = ravel_pytree(params)

    def entry(index: jax.Array) -> jax.Array:
        return _along(cell, params, unravel(jnp.zeros_like(flat).at[index].set(1.0)), xs, visited, counts)

    logs = jax.lax.map(entry, jnp.arange(flat.size), batch_size=DIRECTIONS_AT_ONCE)
    leaves, structure = jax.tree.flatten(params)
    stops = list(itertools.accumulate(leaf.size for leaf in leaves))
    means = [_log_mean(logs[stop - leaf.size : stop], (0,)) for leaf, stop in zip(leaves, stops, strict=True)]
    return mark_not_finite(visited, jax.tree.unflatten(structure, means))


def _along(
    cell: Cell, params: Params, direction: Params, xs: PyTree, visited: State, counts: jax.Array | None
) -> jax.Array:
    """Returns ``ln`` of the mean square change of the outputs as the parameters move in a direction, ``[T]``."""
    prepared, moving = jax.jvp(cell.prepare, (params,), (direction,))

    def one(xs: PyTree, visited: State) -> jax.Array:
        before = jax.tree.map(lambda leaf: leaf[:-1], visited)
        after = jax.tree.map(lambda leaf: leaf[1:], visited)

        def forward(moved: Scaled, inputs: tuple) -> tuple[Scaled, jax.Array]:
            before, after, x = inputs

            def step(prepared: Any, state: State) -> State:
                return cell.advance(prepared, state, cell.project(prepared, x))

            # What came so far and what this step adds may differ in scale by any factor: two tangents.
            _, carried = jax.jvp(lambda state: step(prepared, state), (before,), (moved.part,))
            _, fresh = jax.jvp(lambda prepared: step(prepared, before), (prepared,), (moving,))
            moved = add(rescale(carried, moved.exponent), rescale(fresh, jnp.zeros_like(moved.exponent)))
            _, output = jax.jvp(cell.output, (after,), (moved.part,))
            output = output.astype(jnp.promote_types(output.dtype, jnp.float32))
            return moved, 2 * log_norm(output, moved.exponent) - math.log(output.size)

        start = jax.tree.map(lambda leaf: jnp.zeros_like(leaf[0]), visited)
        _, logs = jax.lax.scan(forward, Scaled(start, jnp.zeros((), jnp.int32)), (before, after, xs))
        return logs

    batch_axes = jax.tree.leaves(xs)[0].ndim - 2
    logs = over_batch(one, batch_axes, in_axes=(1, 1), out_axes=1)(xs, visited)
    axes = tuple(range(1, 1 + batch_axes))
    if counts is None:
        return _log_mean(logs, axes)
    # A masked output does not move, and is no output.
    logs = jnp.where(counts, logs, -jnp.inf)
    return jax.nn.logsumexp(logs, axis=axes) - jnp.log(jnp.maximum(counts.sum(axes), 1))


def _log_mean(logs: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Returns ``ln mean exp(logs)`` over some axes, or none."""
    count = math.prod(logs.shape[axis] for axis in axes)
    return jax.nn.logsumexp(logs, axis=axes) - math.log(count)
