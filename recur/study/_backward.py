"""The gradient of any loss with respect to the states of one recurrence, carried back in a scale of its own."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur._types import Array, Bool, Float, Int, Params, State
from recur.cells import Cell
from recur.engines import Scan, unroll
from recur.flow._lognorm import Scaled, add, log_norm, rescale
from recur.flow._trajectory import at_least_float32, over_batch


class Path(NamedTuple):
    """One run of a recurrence, in the order in which it takes its steps.

    Args:
        cell: The recurrence.
        params: Its parameters.
        xs: Inputs ``[T, *B, X]``.
        visited: All states, the initial one first, leaves ``[T + 1, *B, ...]``.
        restart: State that resets set, leaves ``[*B, ...]``.
        mask: False where a step does not count ``[T, *B]``.
        reset: True where the state is set to `restart` ``[T, *B]``.
    """

    cell: Cell
    params: Params
    xs: Float[Array, "T *B X"]
    visited: State
    restart: State
    mask: Bool[Array, "T *B"]
    reset: Bool[Array, "T *B"]


class Entering(NamedTuple):
    """Where a gradient enters a recurrence from outside, as parts times powers of two.

    Args:
        outputs: At the output of every step: part ``[T, *B, H]``, exponent ``[T, *B]``.
        final: At the last state: leaves ``[*B, ...]``, exponent ``[*B]``.
    """

    outputs: Scaled
    final: Scaled


class Leaving(NamedTuple):
    """What of it comes out.

    Args:
        log_norms: ``ln ||d loss / d s_k||`` at the state after k steps ``[T + 1, *B]``.
        xs: Gradient at the inputs: part ``[T, *B, X]``, exponent ``[T, *B]``.
        start: Gradient at the initial state.
        restart: Gradient at the state that resets set.
    """

    log_norms: Float[Array, "L *B"]
    xs: Scaled
    start: Scaled
    restart: Scaled


def path(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T *B X"],
    *,
    initial_state: State | None = None,
    reset_state: State | None = None,
    mask: Bool[Array, "T *B"] | None = None,
    reset: Bool[Array, "T *B"] | None = None,
    reverse: bool = False,
) -> Path:
    """Runs a cell once, step by step; the arguments are those of `recur.unroll`."""
    flags = {"mask": mask, "reset": reset, "reset_state": reset_state}
    run = unroll(cell, params, xs, initial_state, **flags, reverse=reverse, engine=Scan())
    batch = run.outputs.shape[1:-1]
    if initial_state is None:
        initial_state = cell.initial_state(batch, run.outputs.dtype)

    def turned(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: jnp.flip(leaf, 0), tree) if reverse else tree

    visited = jax.tree.map(
        lambda first, later: jnp.concatenate([first[None].astype(later.dtype), later]),
        initial_state,
        turned(run.states),
    )
    restart = initial_state if reset_state is None else reset_state
    flat = run.outputs.shape[:-1]
    return Path(
        cell,
        at_least_float32(params),
        at_least_float32(turned(xs)),
        visited,
        jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), restart, run.final),
        jnp.ones(flat, bool) if mask is None else turned(mask),
        jnp.zeros(flat, bool) if reset is None else turned(reset),
    )


def back(path: Path, entering: Entering) -> Leaving:
    """Carries a gradient back along a path; `entering` and the result are in the order of the path's steps."""
    cell, *arrays = path
    return _back(cell, *arrays, entering)


def elementwise(part: Any, exponent: Int[Array, "*A"], axes: int) -> Scaled:
    """Moves the magnitude of every entry of the first `axes` axes into an exponent of its own."""
    scale = rescale
    for _ in range(axes):
        scale = jax.vmap(scale)
    return scale(part, exponent)


def elementwise_sum(a: Scaled, b: Scaled, axes: int) -> Scaled:
    """Adds entry by entry of the first `axes` axes, each with an exponent of its own."""
    total = add
    for _ in range(axes):
        total = jax.vmap(total)
    return total(a, b)


@functools.partial(jax.jit, static_argnames="cell")
def _back(
    cell: Cell,
    params: Params,
    xs: jax.Array,
    visited: State,
    restart: State,
    mask: jax.Array,
    reset: jax.Array,
    entering: Entering,
) -> Leaving:
    prepared = cell.prepare(params)

    def step(state: State, x: Any) -> State:
        return cell.advance(prepared, state, cell.project(prepared, x))

    def nothing(tree: Any) -> Scaled:
        return Scaled(jax.tree.map(jnp.zeros_like, tree), jnp.zeros((), jnp.int32))

    def pick(flag: jax.Array, yes: Scaled, no: Scaled) -> Scaled:
        return jax.tree.map(lambda a, b: jnp.where(flag, a, b), yes, no)

    def one(xs: Any, visited: State, mask: Any, reset: Any, outputs: Scaled, restart: State, final: Scaled) -> Leaving:
        before = jax.tree.map(lambda leaf: leaf[:-1], visited)
        after = jax.tree.map(lambda leaf: leaf[1:], visited)

        def body(carry: tuple[Scaled, Scaled], inputs: tuple) -> tuple[tuple[Scaled, Scaled], tuple]:
            later, to_restart = carry
            before, after, x, counts, begins, entering = inputs
            # A masked step has no output that anybody sees.
            (read,) = jax.vjp(cell.output, after)[1](jnp.where(counts, entering.part, 0))
            adjoint = add(later, rescale(read, entering.exponent))
            begins = begins & counts
            state = jax.tree.map(lambda a, b: jnp.where(begins, a, b), restart, before)
            to_state, to_x = jax.vjp(step, state, x)[1](adjoint.part)
            through, of_x = rescale(to_state, adjoint.exponent), rescale(to_x, adjoint.exponent)
            stays = pick(counts, pick(begins, nothing(before), through), adjoint)
            to_restart = add(to_restart, pick(begins, through, nothing(before)))
            return (stays, to_restart), (log_norm(*adjoint), pick(counts, of_x, nothing(x)))

        inputs = before, after, xs, mask, reset, outputs
        carry = final, nothing(restart)
        (start, to_restart), (norms, of_xs) = jax.lax.scan(body, carry, inputs, reverse=True)
        return Leaving(jnp.concatenate([log_norm(*start)[None], norms]), of_xs, start, to_restart)

    axes = mask.ndim - 1
    mapped = over_batch(one, axes, (1, 1, 1, 1, 1, 0, 0), Leaving(1, 1, 0, 0))
    return mapped(xs, visited, mask, reset, entering.outputs, restart, entering.final)
