"""The entry point: `unroll` checks its arguments, then hands them to an engine."""

from typing import Any

import jax
import jax.numpy as jnp

from recur._checks import (
    as_array,
    as_flags,
    brief,
    check_bool,
    check_floating,
    check_hashable,
    check_sortable,
    check_tree,
)
from recur._types import Array, Bool, Float, Params, PyTree, State
from recur.cells._base import Cell, check_cell, parameter_shapes
from recur.engines._auto import Auto, disagreement
from recur.engines._base import Engine, Info, Problem, Run
from recur.engines._fused import Fused, without_kernel
from recur.engines._programs import compiled
from recur.engines._reach import guarded, over, select, spoilt
from recur.engines._scan import Scan


def unroll(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T *B X"],
    initial_state: State | None = None,
    *,
    mask: Bool[Array, "T *B"] | None = None,
    reset: Bool[Array, "T *B"] | None = None,
    reset_state: State | None = None,
    reverse: bool = False,
    engine: Engine = Auto(),
) -> Run:
    """Runs a cell over a sequence.

        state_0 = initial_state,   state_t = F(params, state_{t-1}, x_t),   t = 1..T

    It is jitted once for a cell, an engine and the shapes of the arrays, and can be put under jit, vmap (over
    anything), grad, jvp and their compositions. Compile time does not depend on T.

    Args:
        cell: What to compute in one step.
        params: Its parameters, from ``cell.init``.
        xs: Inputs, time first, with any number of batch axes (none too). A cell that reads more than features takes
            a tuple or a dict: its first leaf are the features, all leaves are ``[T, *B, ...]``.
        initial_state: State before the first step, leaves ``[*B, H]``. Default ``cell.initial_state(batch_shape)``:
            zeros, in float32 or the widest dtype of `params` and `xs`, so bfloat16 inputs keep a float32 state.
        mask: False where a step does not count, wherever it stands: the state is held exactly, the output is zero,
            the input gets zero gradient (even one that is NaN), a reset there is not seen. A fully masked sequence
            returns its initial state.
        reset: True where the state is set to `reset_state` before the step: a new sequence begins there. Nothing before
            it reaches anything after it, in values or gradients, not even what is no number.
        reset_state: State at the beginning of a new sequence. Default ``cell.initial_state(batch_shape)``, whatever
            `initial_state` carries over from an earlier window.
        reverse: Whether to take the last step first, as if time were flipped before and after.
        engine: How to run it, one of `recur.engines`.

    Returns:
        `Run` of outputs ``[T, *B, H]``, states, final state and info. T = 0 returns the initial state.

    Raises:
        TypeError: A cell, engine, state, or dtype of the wrong kind.
        ValueError: A wrong rank or shape, or a cell that the engine cannot run.

    Example:
        >>> import jax, jax.numpy as jnp, recur
        >>> cell = recur.cells.lstm(4)
        >>> params = cell.init(jax.random.key(0), 3)
        >>> run = recur.unroll(cell, params, jnp.ones((7, 2, 3)))
        >>> run.outputs.shape, run.states.c.shape, run.final.h.shape, run.info.engine
        ((7, 2, 4), (7, 2, 4), (2, 4), 'fused')
    """
    _check_values(cell, engine)
    xs, features = _check_inputs(xs)
    batch_shape = features.shape[1:-1]
    _check_params(cell, params, features.shape[-1])
    dtype = jnp.result_type(jnp.float32, features.dtype, *(leaf.dtype for leaf in jax.tree.leaves(params)))
    wanted = jax.eval_shape(lambda: cell.initial_state(batch_shape, dtype))
    if initial_state is None:
        initial_state = cell.initial_state(batch_shape, dtype)
    for name, state in (("initial_state", initial_state), ("reset_state", reset_state)):
        if state is not None:
            check_tree(name, state, wanted, f"cell.initial_state({batch_shape}, {dtype.name}) makes one that fits")
    remedy = "one flag for each step of each sequence, xs.shape[:-1]"
    mask = as_flags("mask", mask, features.shape[:-1], remedy)
    reset = as_flags("reset", reset, features.shape[:-1], remedy)
    if reset is None and reset_state is not None:
        raise ValueError("reset_state: expected None without reset, got a state; give reset [T, *B] too")
    problem = Problem(
        params=params,
        xs=xs,
        start=initial_state,
        restart=cell.initial_state(batch_shape, dtype) if reset_state is None else reset_state,
        mask=mask,
        reset=reset,
    )
    return _run(cell, problem, engine=engine, reverse=check_bool("reverse", reverse))


@compiled("cell", "engine", "reverse")
def _run(cell: Cell, problem: Problem, *, engine: Engine, reverse: bool) -> Run:
    _check_step(cell, problem)
    if not problem.length:
        states = jax.tree.map(lambda leaf: jnp.zeros((0, *leaf.shape), leaf.dtype), problem.start)
        return Run(cell.output(states), states, problem.start, Info("scan", "no steps"))
    _check_parity(cell, problem, engine)
    if reverse:
        problem = problem._replace(xs=_turned(problem.xs), mask=_turned(problem.mask), reset=_turned(problem.reset))
    states, info = _selected(cell, problem, engine)
    final = jax.tree.map(lambda leaf: leaf[-1], states)
    states, mask = (_turned(tree) if reverse else tree for tree in (states, problem.mask))
    outputs = cell.output(states)
    if mask is not None:
        outputs = jnp.where(over(mask, outputs), outputs, 0)
    return Run(outputs, states, final, info)


def _selected(cell: Cell, problem: Problem, engine: Engine) -> tuple[State, Info]:
    """Runs the engine on inputs that are numbers wherever a gradient may come by.

    A masked step may hold anything, NaN too; behind a plain `where` its gradient would be 0 * NaN. So may a step in a
    run with resets: from it to the next reset states are computed by themselves, outside of any gradient.
    """
    mask, reset = problem.mask, problem.reset
    if mask is not None:
        problem = problem._replace(xs=_where(mask, problem.xs))
    if reset is None:
        return engine.run(cell, problem)
    bad = spoilt(reset if mask is None else reset & mask, problem.xs)
    states, info = engine.run(cell, problem._replace(xs=_where(~bad, problem.xs)))

    def as_they_come() -> State:
        found = Scan().run(cell, jax.lax.stop_gradient(problem))[0]
        return select(bad, found, guarded(bad, states))

    return jax.lax.cond(jnp.any(bad), as_they_come, lambda: states), info


def _where(flags: jax.Array, xs: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.where(over(flags, leaf), leaf, jnp.zeros_like(leaf)), xs)


def _turned(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.flip(leaf, 0), tree)


def _check_values(cell: Any, engine: Any) -> None:
    check_cell("cell", cell)
    if isinstance(engine, type) or not (hasattr(engine, "run") and hasattr(engine, "refusal")):
        raise TypeError(f"engine: expected an engine object such as recur.engines.Scan(), got {brief(engine)}")
    check_hashable("engine", engine)
    if lack := engine.refusal(cell):
        raise ValueError(f"engine: {engine!r} cannot run {cell!r}: {lack}; recur.engines.Scan() runs it")


def _check_inputs(xs: Any) -> tuple[Any, jax.Array]:
    """Returns the inputs as arrays, and the features among them, the first leaf."""
    if not isinstance(xs, tuple | dict):
        # A list is an array still to be made.
        xs = as_array("xs", xs)
    check_sortable("xs", xs)
    paths, tree = jax.tree_util.tree_flatten_with_path(xs)
    if not paths:
        raise TypeError(f"xs: expected an array [T, *B, X], got {brief(xs)}")
    names = ["xs" + jax.tree_util.keystr(path) for path, _ in paths]
    leaves = [as_array(name, leaf) for name, (_, leaf) in zip(names, paths, strict=True)]
    features, name = leaves[0], names[0]
    check_floating(name, features, "one-hot encode or embed token ids first (jax.nn.one_hot)")
    if features.ndim < 2:
        raise ValueError(
            f"{name}: expected at least two axes [T, *B, X], got shape {features.shape}; "
            f"add a feature axis with {name}[..., None]"
        )
    for name, leaf in zip(names, leaves, strict=True):
        if leaf.shape[: features.ndim - 1] != features.shape[:-1]:
            raise ValueError(
                f"{name}: expected {features.shape[:-1]} as first axes, as {names[0]} has, got {leaf.shape}"
            )
    return jax.tree.unflatten(tree, leaves), features


def _check_parity(cell: Cell, problem: Problem, engine: Engine) -> None:
    """Refuses a kernel that does not give what the oracle gives: asked for by name it is not replaced by another."""
    platform = jax.default_backend()
    if not isinstance(engine, Fused) or jax.config.jax_disable_jit or without_kernel(problem.dtype, platform):
        return
    if fault := disagreement(cell, Fused(), platform):
        raise ValueError(f"engine: {engine!r} cannot run {cell!r}: {fault}; recur.engines.Scan() runs it")


def _check_params(cell: Cell, params: Any, input_size: int) -> None:
    check_sortable("params", params)
    if _shapes(params) == _shapes(parameter_shapes(cell, input_size)):
        return
    for size in sorted(
        {size for leaf in jax.tree.leaves(params) for size in getattr(leaf, "shape", ())} - {0, input_size}
    ):
        if _shapes(parameter_shapes(cell, size)) == _shapes(params):
            raise ValueError(
                f"xs: expected {size} features (last axis), as params of {cell!r} were drawn for, got {input_size}; "
                f"draw params for these xs by cell.init(key, {input_size})"
            )
    remedy = f"for xs with {input_size} features, {cell!r} draws them by cell.init(key, {input_size})"
    check_tree("params", params, parameter_shapes(cell, input_size), remedy, dtypes=False)


def _shapes(tree: Any) -> tuple:
    """Structure and leaf shapes, to compare; None stands for a leaf that is no array."""
    return jax.tree.structure(tree), [getattr(leaf, "shape", None) for leaf in jax.tree.leaves(tree)]


def _check_step(cell: Cell, problem: Problem) -> None:
    """Refuses a step that changes the state's structure, shape or dtype, before a loop fails over it."""
    x = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), problem.xs)

    def step(params: Params, state: State, x: jax.Array) -> State:
        prepared = cell.prepare(params)
        return cell.advance(prepared, state, cell.project(prepared, x))

    after = jax.eval_shape(step, problem.params, problem.start, x)
    check_tree(
        f"state after a step of {cell!r}",
        after,
        problem.start,
        "a step must return a state like the one it got",
    )
