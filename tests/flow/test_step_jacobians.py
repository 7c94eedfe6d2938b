"""Jacobians from a declaration agree with those of JAX, and with what the declaration says of its structure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _oracles import one_of_each_kind, random_problem

import recur
from recur import cells, flow


def _peephole(gate, state, weight):
    c = gate.f * state.c + (1 - gate.f) * gate.g
    return {"h": jax.nn.sigmoid(gate.o + weight.peep * c) * jnp.tanh(c), "c": c}


PEEPHOLE = cells.pointwise(
    state=("h", "c"),
    gates={"f": jax.nn.sigmoid, "g": jnp.tanh, "o": None},
    weights={"peep": cells.Constant(0.5)},
    name="peephole",
)(_peephole)

TABLE = {**cells.CELLS, "peephole": PEEPHOLE, "stacked": lambda size: cells.stacked(cells.gru(size), cells.lstm(size))}


@pytest.mark.parametrize("name", one_of_each_kind(TABLE))
def test_declared_jacobians_are_those_of_jax(name, x64):
    cell = TABLE[name](3)
    params, xs, initial_state, _ = random_problem(cell, 4, (2,), dtype=np.float64)
    declared = flow.jacobians(cell, params, xs, initial_state)
    states = recur.unroll(cell, params, xs, initial_state).states
    before = jax.tree.map(lambda first, later: jnp.concatenate([first[None], later[:-1]]), initial_state, states)
    _, unravel = jax.flatten_util.ravel_pytree(jax.tree.map(lambda leaf: leaf[0, 0], before))

    @jax.jit
    def jacobian(state, x):
        def step(flat):
            return jax.flatten_util.ravel_pytree(cell.step(params, unravel(flat), x)[0])[0]

        return jax.jacfwd(step)(jax.flatten_util.ravel_pytree(state)[0])

    for t, row in ((0, 0), (0, 1), (3, 1)):
        expected = jacobian(jax.tree.map(lambda leaf, at=(t, row): leaf[at], before), xs[t, row])
        np.testing.assert_allclose(declared[t, :, :, row], expected, rtol=1e-12, atol=1e-13)


def test_diagonal_and_dense_parts_are_told_apart():
    for name, diagonal in {"ind_rnn": True, "min_gru": True, "elman": False}.items():
        cell = cells.CELLS[name](3)
        params, xs, initial_state, _ = random_problem(cell, 3, ())
        jacobian = np.asarray(flow.jacobians(cell, params, xs, initial_state))
        off = jacobian[:, ~np.eye(3, dtype=bool)]
        assert (off == 0).all() == diagonal, name


@pytest.mark.parametrize(
    ("name", "affine"),
    [("min_gru", True), ("ind_rnn", False), ("elman_identity", False), ("lstm", False), ("gru", False), ("lru", True)],
)
def test_affine_steps_are_recognised_and_right(name, affine):
    cell = cells.CELLS[name](3)
    params, xs, state, _ = random_problem(cell, 1, (2,))
    prepared = cell.prepare(params)
    projected = cell.project(prepared, jnp.asarray(xs[0]))
    parts = cell.affine(prepared, projected)
    assert (parts is not None) == affine
    if affine:
        core = jax.tree.map(
            lambda a, s, b: jnp.broadcast_to(a, b.shape) * s + b, parts.decay, cell.linear_state(state), parts.drive
        )
        by_parts = cell.from_linear_state(prepared, core, projected)
        stepped, _ = cell.step(params, state, jnp.asarray(xs[0]))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), by_parts, stepped)


def test_affinity_is_read_off_the_program():
    def declared(update, **options):
        return cells.pointwise(state=("h",), gates={"n": None}, name="x", **options)(update)(2)

    linear_diagonal = declared(lambda gate, state: {"h": gate.n}, recurrence="diagonal")
    squares = declared(lambda gate, state: {"h": gate.n + state.h**2}, recurrence="none")
    crossed = cells.pointwise(state=("h", "c"), gates={"n": None}, recurrence="none", name="y")(
        lambda gate, state: {"h": gate.n + state.c, "c": state.h}
    )(2)
    for cell, affine in ((linear_diagonal, True), (squares, False), (crossed, False)):
        params = cell.init(jax.random.key(0), 1)
        prepared = cell.prepare(params)
        assert (cell.affine(prepared, cell.project(prepared, jnp.ones((1,)))) is not None) == affine


def test_a_cell_without_a_recurrent_kernel_takes_no_initialiser_of_one():
    factory = cells.pointwise(state=("h",), gates={"n": None}, recurrence="none", name="x")(lambda gate, state: {})
    with pytest.raises(ValueError, match="recurrent_init: expected None"):
        factory(2, recurrent_init="orthogonal")
    with pytest.raises(ValueError, match="recurrence: expected one of"):
        cells.pointwise(state=("h",), gates={"n": None}, recurrence="sparse", name="x")(lambda gate, state: {})
    with pytest.raises(ValueError, match="split: expected none without a recurrent product"):
        cells.pointwise(state=("h",), gates={"n": None}, split=("n",), recurrence="none")(lambda gate, state: {})


@pytest.mark.parametrize(("r_min", "r_max"), [(0.5, 0.5), (0.9, 1.0), (-0.1, 0.5)])
def test_lru_refuses_radii_that_are_no_ring(r_min, r_max):
    with pytest.raises(ValueError, match="r_min, r_max: expected 0 <= r_min < r_max < 1"):
        cells.lru(4, r_min=r_min, r_max=r_max)
    with pytest.raises(ValueError, match="max_phase"):
        cells.lru(4, max_phase=0.0)


@jax.custom_vjp
def spike(v):
    return (v > 0).astype(v.dtype)


spike.defvjp(lambda v: (spike(v), v), lambda v, cotangent: (cotangent / (1 + v * v),))


def test_a_surrogate_gradient_is_measured_backwards_and_refused_forwards(key, x64):
    cell = recur.cells.pointwise(state=("h",), gates={"n": spike})(lambda gate, state: {"h": gate.n + 0.5 * state.h})(3)
    params, xs = cell.init(key, 2, jnp.float64), jax.random.normal(key, (4, 2), jnp.float64)

    def last(start):
        state = start
        for x in xs:
            state, output = cell.step(params, state, x)
        return jnp.sum(output) / jnp.sqrt(3.0)

    gradient = jax.grad(last)(cell.initial_state((), jnp.float64)).h
    found = recur.flow.adjoint_log_norms(cell, params, xs)
    np.testing.assert_allclose(found[-1], jnp.log(jnp.linalg.norm(gradient)), rtol=1e-9)
    with pytest.raises(ValueError, match=r"cell: expected .* forwards, got .*custom_vjp; declare"):
        recur.flow.lyapunov_spectrum(cell, params, xs)
