"""An engine against a plain loop over the cell's step in float64, and gradients against finite differences."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur import cells, engines
from recur.check._scorecard import Check, Score

STEPS, BATCH, HIDDEN, FEATURES = 7, 3, 3, 2
GROUPS = ("params", "inputs", "initial state", "reset state")
# Half ulps that a run may lose if no step magnifies an error: a dot product of X + H terms and the bias, and two
# functions such as tanh of up to 4 ulp each, at every step.
ROUNDINGS = STEPS * (FEATURES + HIDDEN + 1 + 16)
EVERYTHING, PLAIN = "mask, reset, reverse", "plain"


class Problem(NamedTuple):
    """A run to check. `arguments` are what a gradient is taken to, in the order of `GROUPS`; float32 NumPy arrays."""

    arguments: tuple[Any, Any, Any, Any]
    mask: np.ndarray
    reset: np.ndarray
    weights: tuple[Any, Any]


def checks(
    names: Mapping[str, cells.Cell], seed: int, chosen: Mapping[str, engines.Engine] | None = None
) -> Iterator[Check]:
    """Yields three checks for every cell and every engine that runs it; by default all of `recur.engines.ENGINES`."""
    if chosen is None:
        chosen = {name: make() for name, make in engines.ENGINES.items()}
    for name, cell in names.items():
        for engine_name, engine in chosen.items():
            if engine.refusal(cell):
                continue
            pair = _Pair(cell, engine, seed)
            yield Check("engine equals the loop", name, engine_name, pair.values)
            yield Check("gradient equals differences", name, engine_name, pair.differences)
            yield Check("float32 gradient equals float64", name, engine_name, pair.precision)


class _Pair(NamedTuple):
    """A cell and an engine."""

    cell: cells.Cell
    engine: engines.Engine
    seed: int

    def values(self) -> Iterator[Score]:
        problem = _problem(self.cell, self.seed)
        params, xs, start, _ = problem.arguments
        run = engines.unroll(self.cell, params, xs, start, engine=self.engine)
        yield from _same_run(f"{PLAIN}, float32", (run.outputs, run.final), _loop(self.cell, self.seed, PLAIN), "f4")
        expected = _loop(self.cell, self.seed, EVERYTHING)
        for kind in ("float32", "float64"):
            _, found, _ = _evaluate(self.cell, self.engine, self.seed, kind)
            yield from _same_run(f"{EVERYTHING}, {kind}", found, expected, kind)

    def differences(self) -> Iterator[Score]:
        """Central differences of step h: an error of h^2 by their form, and of eps / h for every rounding of a run."""
        problem, engine = _problem(self.cell, self.seed), self.engine
        rng = np.random.default_rng([self.seed, 1])
        value, _, gradients = _evaluate(self.cell, engine, self.seed, "float64")
        arguments = _cast(problem.arguments, "float64")
        eps = np.finfo(np.float64).eps
        step = eps ** (1 / 3)
        for index, group in enumerate(GROUPS):
            if not jax.tree.leaves(arguments[index]):
                continue
            direction = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape), arguments[index])
            length = np.linalg.norm(vector(direction))
            ends = []
            for sign in (1, -1):
                moved = list(arguments)
                moved[index] = jax.tree.map(
                    lambda leaf, v, sign=sign, length=length: leaf + sign * step * v / length,
                    arguments[index],
                    direction,
                )
                ends.append(_function(self.cell, engine, "float64")(tuple(moved), problem)[0])
            measured = vector(gradients[index]) @ vector(direction) / length
            yield Score(
                f"d loss / d {group}, along a random direction, float64",
                (ends[0] - ends[1]) / (2 * step),
                measured,
                eps ** (2 / 3) * ROUNDINGS * max(1.0, abs(value)),
            )

    def precision(self) -> Iterator[Score]:
        """The way back loses as much as the way there, whose error it takes along."""
        engine = self.engine
        _, _, expected = _evaluate(self.cell, engine, self.seed, "float64")
        _, _, measured = _evaluate(self.cell, engine, self.seed, "float32")
        for group, exact, found in zip(GROUPS, expected, measured, strict=True):
            if jax.tree.leaves(exact):
                tolerance = rounding(2 * ROUNDINGS, exact, "float32")
                yield Score(f"d loss / d {group}, float32", vector(exact), vector(found, exact, "float32"), tolerance)


def _same_run(name: str, found: tuple, expected: tuple, kind: str) -> Iterator[Score]:
    for part, a, b in zip(("outputs", "final state"), found, expected, strict=True):
        yield Score(f"{part}, {name}", vector(b), vector(a, b, kind), rounding(ROUNDINGS, b, kind))


def rounding(count: int, exact: Any, kind: str) -> float:
    return count * np.finfo(kind).eps / 2 * max(1.0, np.abs(vector(exact)).max())


def vector(tree: Any, like: Any = None, kind: Any = None) -> np.ndarray:
    """Joins all leaves, if they are shaped `like` others and of dtype `kind`."""
    leaves = jax.tree.leaves(tree)
    if like is not None:
        shapes, wanted = ([leaf.shape for leaf in jax.tree.leaves(t)] for t in (tree, like))
        kinds = {np.dtype(leaf.dtype) for leaf in leaves}
        if shapes != wanted or kinds != {np.dtype(kind)}:
            raise ValueError(f"expected shapes {wanted} of {np.dtype(kind)}, got {shapes} of {kinds}")
    return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in leaves])


def _cast(tree: Any, kind: str) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf, kind), tree)


@functools.cache
def _problem(cell: cells.Cell, seed: int) -> Problem:
    """Draws parameters off their initial values, so that no bias is zero, and all else; the last row is masked."""
    rng = np.random.default_rng(seed)

    def normal(scale: float, like: Any) -> Any:
        return jax.tree.map(lambda leaf: (scale * rng.standard_normal(leaf.shape)).astype(np.float32), like)

    drawn = cell.init(jax.random.key(seed), FEATURES, jnp.float32)
    state = cell.initial_state((BATCH,), jnp.float32)
    params = jax.tree.map(lambda a, b: np.asarray(a) + b, drawn, normal(0.1, drawn))
    xs = rng.standard_normal((STEPS, BATCH, FEATURES)).astype(np.float32)
    mask, reset = rng.random((STEPS, BATCH)) < 0.7, rng.random((STEPS, BATCH)) < 0.3
    mask[:, -1] = False
    outputs = np.zeros((STEPS, BATCH, cells.output_size(cell)))
    return Problem(
        (params, xs, normal(0.5, state), normal(0.5, state)), mask, reset, (normal(1.0, outputs), normal(1.0, state))
    )


@functools.cache
def _function(cell: cells.Cell, engine: engines.Engine, kind: str) -> Callable:
    """Returns ``(arguments, problem) -> (loss, (outputs, final), gradients)`` of the run with everything, in `kind`."""

    def loss(arguments: tuple, problem: Problem) -> tuple[jax.Array, tuple]:
        params, xs, start, restart = arguments
        options = {"mask": problem.mask, "reset": problem.reset, "reset_state": restart, "reverse": True}
        run = engines.unroll(cell, params, xs, start, **options, engine=engine)
        parts = jax.tree.map(lambda a, weight: jnp.sum(a * weight), (run.outputs, run.final), problem.weights)
        return sum(jax.tree.leaves(parts)), (run.outputs, run.final)

    compiled = jax.jit(jax.value_and_grad(loss, has_aux=True))

    def evaluate(arguments: tuple, problem: Problem) -> tuple[float, tuple, tuple]:
        with jax.enable_x64(kind == "float64"):
            problem = problem._replace(weights=_cast(problem.weights, kind), arguments=())
            (value, run), gradients = jax.device_get(compiled(_cast(arguments, kind), problem))
        return float(value), run, gradients

    return evaluate


@functools.cache
def _evaluate(cell: cells.Cell, engine: engines.Engine, seed: int, kind: str) -> tuple[float, tuple, tuple]:
    problem = _problem(cell, seed)
    return _function(cell, engine, kind)(problem.arguments, problem)


@functools.cache
def _loop(cell: cells.Cell, seed: int, variant: str) -> tuple[np.ndarray, Any]:
    """The oracle: ``cell.step`` step after step in plain Python, in float64, on the CPU: ``(outputs, final)``."""
    problem = _problem(cell, seed)

    def where(flags: np.ndarray, yes: Any, no: Any) -> Any:
        return jax.tree.map(lambda a, b: np.where(flags.reshape(-1, *(1,) * (a.ndim - 1)), a, b), yes, no)

    with jax.enable_x64(True), _on_cpu():
        params, xs, state, restart = _cast(problem.arguments, "float64")
        outputs, step = [None] * STEPS, jax.jit(cell.step)
        for t in range(STEPS) if variant == PLAIN else reversed(range(STEPS)):
            if variant == PLAIN:
                state, outputs[t] = jax.device_get(step(params, state, xs[t]))
                continue
            after, output = jax.device_get(step(params, where(problem.reset[t], restart, state), xs[t]))
            state = where(problem.mask[t], after, state)
            outputs[t] = where(problem.mask[t], output, np.zeros_like(output))
    return np.stack(outputs), state


def _on_cpu() -> contextlib.AbstractContextManager:
    try:
        return jax.default_device(jax.devices("cpu")[0])
    except RuntimeError:  # JAX_PLATFORMS leaves the CPU out: the loop then runs where all else does
        return contextlib.nullcontext()
