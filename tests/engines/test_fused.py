"""Kernels over all steps: sizes, blocks of rows, threads, elementary functions, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _oracles import assert_close, assert_identical, random_problem, weighted_sum

import recur
from recur import cells
from recur.engines import Fused, Scan
from recur.engines._steps import Steps
from recur.engines.kernels import _emit, _evaluate, _kernels, _register
from recur.engines.kernels._fused_scan import fused_scan


def value_and_gradients(cell, problem, engine):
    def loss(params, xs, initial_state):
        return weighted_sum(recur.unroll(cell, params, xs, initial_state, **problem.options, engine=engine)[:3])

    return jax.value_and_grad(loss, argnums=(0, 1, 2))(*problem[:3])


@pytest.mark.parametrize(
    ("name", "units", "rows"),
    [
        ("lstm", 1, 1),
        ("lstm", 16, 26),
        ("lstm", 50, 13),
        ("gru", 17, 3),
        ("gru", 64, 9),
        ("elman", 33, 12),
        ("ind_rnn", 20, 5),
        ("min_gru", 40, 2),
    ],
)
def test_sizes_that_fill_no_vector_and_no_block(name, units, rows):
    cell = cells.CELLS[name](units)
    problem = random_problem(cell, 6, (rows,), mask=True, reset=True)
    # Of the size of an initialised network: sums over many units stay of order 1.
    problem = problem._replace(params=jax.tree.map(lambda leaf: leaf / np.float32(units**0.5), problem.params))
    assert_close(value_and_gradients(cell, problem, Fused()), value_and_gradients(cell, problem, Scan()), scale=4)


def test_a_row_does_not_depend_on_the_rows_beside_it():
    cell = cells.lstm(21)
    params, xs, state, options = random_problem(cell, 9, (27,), mask=True, reset=True)
    prepared = cell.prepare(params)
    # The input's share is computed once: XLA's product of other rows may round otherwise.
    projected, bias = cell.input_product(prepared, jnp.asarray(xs))

    def run(rows):
        start, restart = jax.tree.map(lambda leaf: jnp.asarray(leaf[rows]), (state, options["reset_state"]))
        mask, reset = (jnp.asarray(options[name][:, rows]) for name in ("mask", "reset"))
        steps = Steps(prepared, projected[:, rows], start, restart, mask, reset)
        return jax.jit(fused_scan, static_argnums=0)(cell, bias, steps)

    whole = run(slice(None))
    for rows in (slice(0, 1), slice(5, 18), slice(26, 27)):
        assert_identical(run(rows), jax.tree.map(lambda leaf, rows=rows: leaf[:, rows], whole))


@pytest.fixture
def smaller_vectors(monkeypatch):
    """Compiles as for a processor with vectors of 8 and 16 registers."""
    monkeypatch.setattr(_kernels, "vectors", lambda: (8, False))
    _kernels._target.cache_clear()
    yield
    _kernels._target.cache_clear()


def test_processors_with_smaller_vectors(smaller_vectors):
    cell = cells.gru(13)
    problem = random_problem(cell, 5, (11,), mask=True, reset=True)
    assert_close(value_and_gradients(cell, problem, Fused()), value_and_gradients(cell, problem, Scan()), scale=4)


@pytest.fixture
def several_threads(monkeypatch):
    monkeypatch.setattr(_register, "threads", lambda: 3)
    _kernels._target.cache_clear()
    yield
    _kernels._target.cache_clear()


def test_more_threads_than_there_are(several_threads):
    cell = cells.lstm(14)
    problem = random_problem(cell, 50, (15,))
    assert_close(value_and_gradients(cell, problem, Fused()), value_and_gradients(cell, problem, Scan()), scale=4)


@pytest.mark.parametrize(("name", "networks", "rows"), [("lstm", 2, 15), ("gru", 5, 1), ("ind_rnn", 2, 7)])
def test_networks_and_their_rows_are_shared_among_threads(several_threads, name, networks, rows):
    cell = cells.CELLS[name](14)
    problem = random_problem(cell, 20, (rows,), mask=True, reset=True)
    several = jax.tree.map(lambda leaf: np.stack([leaf * (1 + n) / 4 for n in range(networks)]), problem.params)

    def of_each(engine):
        run = jax.jit(lambda params: value_and_gradients(cell, problem._replace(params=params), engine))
        together = jax.vmap(run)(several)
        alone = [run(jax.tree.map(lambda leaf, n=n: leaf[n], several)) for n in range(networks)]
        return together, jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone)

    (together, alone), (_, wanted) = of_each(Fused()), of_each(Scan())
    assert_close(together, alone)
    assert_close(together, wanted, scale=4)


FUNCTIONS = {
    "abs": jnp.abs,
    "ceil": jnp.ceil,
    "clip": lambda x: jnp.clip(x, -0.5, 2.0),
    "cube": lambda x: x**3,
    "elu": jax.nn.elu,
    "exp": jnp.exp,
    "expm1": jnp.expm1,
    "floor": jnp.floor,
    "inverse": lambda x: x**-2,
    "leaky": jax.nn.leaky_relu,
    "log": jnp.log,
    "log1p": jnp.log1p,
    "minimum": lambda x: jnp.minimum(x, 1.5),
    "relu": jax.nn.relu,
    "rsqrt": jax.lax.rsqrt,
    "sigmoid": jax.nn.sigmoid,
    "sign": jnp.sign,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "sqrt": jnp.sqrt,
    "tanh": jnp.tanh,
    "where": lambda x: jnp.where((x > 1) | ~(x >= -1), x, 2 * x),
}


@cells.pointwise(state=("h", *FUNCTIONS), gates={"x": None}, recurrence="none", name="every_function")
def every_function(gate, state):
    del state
    return {"h": gate.x, **{name: function(gate.x) for name, function in FUNCTIONS.items()}}


def test_elementary_functions():
    cell = every_function(1)
    around = np.concatenate([np.linspace(-12, 12, 400), np.geomspace(1e-18, 90, 200), -np.geomspace(1e-18, 100, 200)])
    edges = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e38, -1e38, 1.0, -1.0])
    xs = np.concatenate([around, edges]).astype(np.float32)[:, None]
    params = {"kernel": np.ones((1, 1, 1), np.float32), "bias": np.zeros((1, 1), np.float32)}
    states = recur.unroll(cell, params, xs, engine=Fused()).states
    values = states.h.ravel()
    # A product with 1 leaves every number as it is.
    np.testing.assert_array_equal(values, xs.ravel())
    with jax.enable_x64(True):
        wanted = {name: np.asarray(f(jnp.asarray(values, jnp.float64))) for name, f in FUNCTIONS.items()}
    for name in FUNCTIONS:
        with np.errstate(over="ignore"):
            found, true = np.asarray(getattr(states, name).ravel()), wanted[name].astype(np.float32)
        close = np.isclose(found, true, rtol=6e-7, atol=1e-37, equal_nan=True)
        assert close.all(), (name, values[~close], found[~close], true[~close])


def test_no_function_is_further_from_the_truth_than_that_of_xla():
    """By at most half a unit in the last place, from the smallest normal number to the largest, of both signs."""
    sizes = np.unique(np.concatenate([np.geomspace(1.2e-38, 3.4e38, 20001), np.linspace(0, 20, 20001)]))
    xs = np.concatenate([sizes, -sizes]).astype(np.float32)
    params = {"kernel": np.ones((1, 1, 1), np.float32), "bias": np.zeros((1, 1), np.float32)}
    states = recur.unroll(every_function(1), params, xs[:, None], engine=Fused()).states
    by_xla = jax.jit(lambda x: {name: f(x) for name, f in FUNCTIONS.items()})(xs)
    with jax.enable_x64(True):
        exact = {name: np.asarray(f(jnp.asarray(xs, jnp.float64))) for name, f in FUNCTIONS.items()}
    assert np.asarray(states.tanh).ravel()[xs >= 10].min() == 1
    for name, true in exact.items():
        with np.errstate(over="ignore"):
            rounded = true.astype(np.float32)
        # Where the result is no normal number, both flush it to zero, or overflow.
        normal = np.isfinite(rounded) & (np.abs(rounded) > 1.2e-38)
        unit = np.spacing(np.abs(rounded[normal]))
        errors = [
            (np.abs(np.asarray(found).ravel()[normal].astype(np.float64) - true[normal]) / unit).max()
            for found in (getattr(states, name), by_xla[name])
        ]
        assert errors[0] <= max(errors[1], 2.5) + 0.5, (name, errors)


def test_what_is_evaluated_is_what_is_emitted():
    special = {"select_n", "clamp", "integer_pow", "convert_element_type"}
    assert set(_emit.FUNCTIONS) | special == _evaluate.ARITHMETIC


def declared(update, **options):
    return cells.pointwise(state=("h",), gates={"a": jnp.tanh}, name="declared", **options)(update)


@pytest.mark.parametrize(
    ("update", "why"),
    [
        (lambda gate, state: {"h": gate.a - jnp.mean(gate.a, -1, keepdims=True)}, "mixes units"),
        (lambda gate, state: {"h": jnp.roll(gate.a, 1, -1)}, "mixes units"),
        (
            lambda gate, state: {"h": gate.a * jnp.broadcast_to(jnp.linspace(0, 1, 4), gate.a.shape)},
            "units are not alike",
        ),
        (lambda gate, state: {"h": gate.a / gate.a.shape[-1]}, "depends on the number of units"),
        (lambda gate, state: {"h": jnp.sin(gate.a)}, "sin, which has no kernel"),
        (lambda gate, state: {"h": jnp.sort(gate.a, axis=-1)}, "mixes units"),
        (
            lambda gate, state: {"h": gate.a * jax.lax.broadcasted_iota(jnp.float32, gate.a.shape, gate.a.ndim - 1)},
            "units are not alike",
        ),
    ],
)
def test_steps_that_are_not_compiled_are_refused_and_left_to_scan(update, why):
    cell = declared(update)(4)
    assert why in Fused().refusal(cell)
    params, xs, _, _ = random_problem(cell, 3, (2,))
    assert recur.unroll(cell, params, xs).info.engine == "scan"
    with pytest.raises(ValueError, match="engine: .* cannot run .*recur.engines.Scan"):
        recur.unroll(cell, params, xs, engine=Fused())


def test_other_numbers_run_by_scan_and_info_says_so(x64):
    cell = cells.lstm(3)
    params, xs, _, _ = random_problem(cell, 3, (2,), dtype=np.float64)
    info = recur.unroll(cell, params, xs, engine=Fused()).info
    assert info.reason == "asked for, by jax.lax.scan for float64"


def test_networks_and_batches_under_vmap_in_both_orders():
    cell = cells.gru(5)
    params, xs, _, _ = random_problem(cell, 6, (4,))
    networks = jax.tree.map(lambda leaf: np.stack([leaf, 0.5 * leaf, -leaf]), params)

    def loss(engine, params, x):
        return weighted_sum(recur.unroll(cell, params, x, engine=engine)[:3])

    def gradients(engine):
        of_one = jax.grad(lambda params, x: loss(engine, params, x), argnums=(0, 1))
        rows_inside = jax.vmap(jax.vmap(of_one, (None, 1)), (0, None))
        rows_outside = jax.vmap(jax.vmap(of_one, (0, None)), (None, 1))
        return rows_inside(networks, xs), rows_outside(networks, xs)

    (inside, outside), (wanted, _) = gradients(Fused()), gradients(Scan())
    assert_close(inside, wanted, scale=4)
    assert_close(jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), outside), wanted, scale=4)


def test_networks_of_networks_and_what_runs_by_scan_under_vmap(x64):
    cell = cells.gru(3)
    params, xs, _, _ = random_problem(cell, 5, (2,))
    several = jax.tree.map(lambda leaf: np.stack([[leaf, -leaf], [0.5 * leaf, 2 * leaf], [leaf, leaf / 4]]), params)

    def loss(engine, params, xs):
        return weighted_sum(recur.unroll(cell, params, xs, engine=engine)[:3])

    def of_each(function, engine, params=several):
        return jax.vmap(jax.vmap(lambda params: function(functools.partial(loss, engine), params, xs)))(params)

    def gradients(loss, params, xs):
        return jax.grad(loss, argnums=(0, 1))(params, xs)

    def curvature(loss, params, xs):
        return jax.jvp(lambda params: jax.grad(loss)(params, xs), (params,), (params,))[1]

    assert_close(of_each(gradients, Fused()), of_each(gradients, Scan()), scale=4)
    assert_close(of_each(curvature, Fused()), of_each(curvature, Scan()), scale=20)
    wide = jax.tree.map(np.float64, several)
    assert_close(of_each(gradients, Fused(), wide), of_each(gradients, Scan(), wide))


def test_forward_mode_equals_reverse_mode():
    cell = cells.lstm(5)
    params, xs, state, options = random_problem(cell, 6, (3,), mask=True, reset=True)
    direction = jax.tree.map(lambda leaf: np.cos(np.arange(leaf.size, dtype=np.float32)).reshape(leaf.shape), params)

    def loss(params):
        return weighted_sum(recur.unroll(cell, params, xs, state, **options, engine=Fused())[:3])

    forward = jax.jvp(loss, (params,), (direction,))[1]
    reverse = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, jax.grad(loss)(params), direction)))
    np.testing.assert_allclose(forward, reverse, rtol=1e-4)
