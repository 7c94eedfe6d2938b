"""Every cell of CELLS meets every engine of ENGINES: values and gradients against plain loops in float64."""

import functools

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from _oracles import EQUATIONS, assert_close, assert_identical, equations_step, loop, random_problem, weighted_sum

import recur
from recur.cells import CELLS
from recur.engines import ENGINES

HIDDEN = 3

TABLE = {
    **{name: factory(HIDDEN) for name, factory in CELLS.items()},
    "stacked": recur.cells.stacked(recur.cells.lstm(HIDDEN), recur.cells.gru(HIDDEN), residual=True),
}

VARIANTS = {
    # name: (T, batch shape, options)
    "plain": (7, (), {}),
    "no_steps": (0, (2,), {"mask": True, "reset": True}),
    "one_step": (1, (3,), {"mask": True, "reset": True}),
    "two_steps": (2, (2,), {"reset": True}),
    "mask": (7, (3,), {"mask": True}),
    "everything": (7, (2, 3), {"mask": True, "reset": True, "reverse": True}),
    "everything_unbatched": (7, (), {"mask": True, "reset": True, "reverse": True}),
    "long": (64, (2,), {"reverse": True}),
    "thousand": (1000, (2,), {"mask": True}),
}

# Auto hands the work to another engine of the table, which one test holds it to: all else is that engine's.
EXACT = [name for name in ENGINES if name != "auto"]

# A field that no step reads has no gradient.
UNREAD = {"lru": ("h",)}

KEEPING = ("orthogonal",)

SLOW = [pytest.mark.slow]

PAIRS = [(c, e) for c in TABLE for e in EXACT if not ENGINES[e]().refusal(TABLE[c])]


def quick_where(quick, pairs=PAIRS, variants=("",)):
    """All pairs times all variants; those for which ``quick(cell, engine, variant)`` is false run in the slow suite."""
    return [
        pytest.param(*pair, *([variant] if variant else []), marks=[] if quick(*pair, variant) else SLOW)
        for pair in pairs
        for variant in variants
    ]


def with_scan(cell, engine, variant):
    return engine == "scan" and cell in ("gru", "lru", "lstm")


def oracle_step(name, xp):
    """The published equations where they are known, else the cell's own step."""
    return equations_step(name, xp) if name in EQUATIONS else TABLE[name].step


def to_float64(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def oracle(name, problem):
    """The oracle's trajectory in NumPy float64, or through `jax.numpy` for a cell without equations here."""
    xp = np if name in EQUATIONS else jnp
    options = dict(problem.options)
    if "reset_state" in options:
        options["reset_state"] = to_float64(options["reset_state"])
    return loop(oracle_step(name, xp), *(to_float64(part) for part in problem[:3]), **options, xp=xp)


def run(name, engine, problem):
    params, xs, initial_state, options = problem
    return recur.unroll(TABLE[name], params, xs, initial_state, **options, engine=ENGINES[engine]())


def test_named_equations_are_of_cells_that_exist():
    assert set(EQUATIONS) <= set(CELLS)


@pytest.mark.parametrize(
    ("cell", "engine", "variant"),
    quick_where(lambda cell, engine, variant: variant in ("no_steps", "everything", "long"), variants=VARIANTS),
)
def test_values(cell, engine, variant):
    length, batch_shape, options = VARIANTS[variant]
    problem = random_problem(TABLE[cell], length, batch_shape, **options)
    if length == 1000:
        # Small enough for networks without a bound on their states: none leaves the range of float32.
        problem = problem._replace(params=jax.tree.map(lambda leaf: 0.3 * leaf, problem.params))
    actual = run(cell, engine, problem)
    with jax.enable_x64(True):
        expected = oracle(cell, problem)
    assert actual.outputs.shape == (length, *batch_shape, HIDDEN)
    assert {leaf.dtype for leaf in jax.tree.leaves(actual[:3])} == {np.dtype("float32")}
    # A cell that keeps its state adds up what every step rounds off.
    assert_close(actual[:3], tuple(expected), scale=length / 64 if cell in KEEPING and length > 64 else 1)


@pytest.mark.parametrize(("cell", "engine"), [(c, e) for c in TABLE for e in EXACT if (c, e) not in PAIRS])
def test_an_engine_refuses_what_it_cannot_run(cell, engine):
    problem = random_problem(TABLE[cell], 2, ())
    with pytest.raises(ValueError, match=rf"engine: .* cannot run .*: {ENGINES[engine]().refusal(TABLE[cell])}"):
        run(cell, engine, problem)


@pytest.mark.parametrize("cell", TABLE)
def test_auto_is_the_engine_that_it_names(cell):
    problem = random_problem(TABLE[cell], 7, (3,), mask=True)
    chosen = run(cell, "auto", problem)
    assert chosen.info.engine in EXACT
    assert "auto" in chosen.info.reason
    assert_identical(chosen[:3], run(cell, chosen.info.engine, problem)[:3])


@pytest.mark.parametrize(("cell", "engine"), quick_where(with_scan))
def test_values_in_float64(cell, engine, x64):
    problem = random_problem(TABLE[cell], 7, (3,), mask=True, reset=True, dtype=np.float64)
    actual = run(cell, engine, problem)
    assert {leaf.dtype for leaf in jax.tree.leaves(actual[:3])} == {np.dtype("float64")}
    assert_close(actual[:3], tuple(oracle(cell, problem)))


@pytest.mark.parametrize(("cell", "engine"), quick_where(with_scan))
def test_bfloat16_inputs_and_parameters_keep_a_float32_state(cell, engine):
    # The numbers are rounded once, before; everything after that is float32 work on them.
    params, xs, initial_state, options = random_problem(TABLE[cell], 7, (3,), mask=True)
    params, xs = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), (params, xs))
    problem = type(random_problem(TABLE[cell], 0, ()))(params, xs, initial_state, options)
    actual = run(cell, engine, problem)
    with jax.enable_x64(True):
        expected = oracle(cell, problem)
    assert {leaf.dtype for leaf in jax.tree.leaves(actual[:3])} == {np.dtype("float32")}
    assert_close(actual[:3], tuple(expected))


GRADIENTS = {"plain": (5, (), {}), "everything": (5, (3,), {"mask": True, "reset": True, "reverse": True})}


@functools.cache
def oracle_gradients(name, variant):
    """Value and gradients of the plain loop in float64, to params, inputs, initial state and reset state."""
    length, batch_shape, options = GRADIENTS[variant]
    problem = random_problem(TABLE[name], length, batch_shape, **options, dtype=np.float64)

    def loss(params, xs, initial_state, reset_state):
        options = {**problem.options, "reset_state": reset_state}
        return weighted_sum(loop(oracle_step(name, jnp), params, xs, initial_state, **options, xp=jnp))

    value, gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2, 3)))(*differentiable(problem))
    return problem, to_float64(value), to_float64(gradients)


def differentiable(problem):
    return (*problem[:3], problem.options.get("reset_state"))


@pytest.mark.parametrize(
    ("cell", "engine", "variant"),
    quick_where(lambda cell, engine, variant: variant == "everything", variants=GRADIENTS),
)
def test_gradients_equal_those_of_the_loop(cell, engine, variant, x64):
    problem, value, gradients = oracle_gradients(cell, variant)

    def loss(params, xs, initial_state, reset_state):
        options = {**problem.options, "reset_state": reset_state}
        return weighted_sum(run(cell, engine, (params, xs, initial_state, options))[:3])

    actual = jax.value_and_grad(loss, argnums=(0, 1, 2, 3))(*differentiable(problem))
    assert_close(actual, (value, gradients))
    read = {field: g for field, g in gradients[2]._asdict().items() if field not in UNREAD.get(cell, ())}
    everywhere = jax.tree.leaves((gradients[0], read))
    assert all(np.abs(leaf).max() > 1e-3 for leaf in everywhere), "a gradient that is zero would prove nothing"


@pytest.mark.parametrize(("cell", "engine"), quick_where(with_scan))
def test_gradients_in_float32(cell, engine):
    with jax.enable_x64(True):
        problem, _, gradients = oracle_gradients(cell, "everything")
    args = jax.tree.map(lambda leaf: leaf.astype(np.float32), differentiable(problem))

    def loss(params, xs, initial_state, reset_state):
        options = {**problem.options, "reset_state": reset_state}
        return weighted_sum(run(cell, engine, (params, xs, initial_state, options))[:3])

    assert_close(jax.grad(loss, argnums=(0, 1, 2, 3))(*args), gradients, scale=2)


@pytest.mark.parametrize(
    ("cell", "engine"),
    quick_where(
        lambda cell, engine, variant: engine == "scan" or (cell, engine) in (("gru", "newton"), ("lru", "associative")),
        [pair for pair in PAIRS if pair[0] in CELLS],
    ),
)
def test_first_and_second_derivatives_by_finite_differences(cell, engine, x64):
    # All along one random direction v; the five derivatives are compiled as one function.
    problem = random_problem(TABLE[cell], 3, (2,), mask=True, reset=True, dtype=np.float64, seed=7)
    args, unravel = jax.flatten_util.ravel_pytree(differentiable(problem))
    v = np.random.default_rng(8).standard_normal(args.shape)

    def loss(args):
        params, xs, initial_state, reset_state = unravel(args)
        options = {**problem.options, "reset_state": reset_state}
        return weighted_sum(run(cell, engine, (params, xs, initial_state, options))[:3])

    @jax.jit
    def derivatives(args):
        value, forward = jax.jvp(loss, (args,), (v,))
        reverse, forward_over_reverse = jax.jvp(jax.grad(loss), (args,), (v,))
        reverse_over_reverse = jax.grad(lambda args: jax.grad(loss)(args) @ v)(args)
        return value, forward, reverse, forward_over_reverse, reverse_over_reverse

    step = 1e-5
    ahead, behind = derivatives(args + step * v), derivatives(args - step * v)
    by_difference = [(a - b) / (2 * step) for a, b in zip(ahead, behind, strict=True)]
    _, forward, reverse, forward_over_reverse, reverse_over_reverse = derivatives(args)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-7)
    close(forward, by_difference[0])
    close(reverse @ v, by_difference[0])
    close(forward_over_reverse, by_difference[2])
    close(reverse_over_reverse, by_difference[2])
