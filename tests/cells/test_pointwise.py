"""Cells that a user declares by one elementwise function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _oracles import assert_close, loop, random_problem
from jax.nn import sigmoid

import recur
from recur.cells import Constant, Gaussian, pointwise


@pointwise(
    state=("h", "c"),
    gates={"i": sigmoid, "f": sigmoid, "g": jnp.tanh, "o": None},
    split=("o",),
    weights={"p_o": Gaussian(), "b_h": Constant(0.25)},
    keep="f",
    write="i",
)
def peephole(gate, state, weight):
    """An LSTM whose output gate sees the new cell state, and gates its recurrent share by it."""
    c = gate.f * state.c + gate.i * gate.g
    o = sigmoid(gate.o.x + weight.p_o * c + jnp.tanh(c) * (gate.o.h + weight.b_h))
    return {"c": c, "h": o * jnp.tanh(c)}


def peephole_in_numpy(params, state, x):
    def product(gate):
        return x @ params["kernel"][:, gate] + params["bias"][gate], state.h @ params["recurrent_kernel"][:, gate]

    def squash(a):
        return 1 / (1 + np.exp(-a))

    i, f, g = (sum(product(gate)) for gate in range(3))
    c = squash(f) * state.c + squash(i) * np.tanh(g)
    o_x, o_h = product(3)
    h = squash(o_x + params["p_o"] * c + np.tanh(c) * (o_h + params["b_h"])) * np.tanh(c)
    return state._replace(h=h, c=c), h


def test_declared_cell_equals_its_equations(x64):
    problem = random_problem(peephole(3), 9, (2, 3), mask=True, reset=True, reverse=True, dtype=np.float64)
    run = recur.unroll(peephole(3), *problem[:3], **problem.options)
    assert_close(tuple(run[:3]), tuple(loop(peephole_in_numpy, *problem[:3], **problem.options)))


def test_declared_cell_has_exact_gradients(x64):
    problem = random_problem(peephole(2), 4, (), dtype=np.float64)

    def loss(params):
        return recur.unroll(peephole(2), params, problem.xs).final.h.sum()

    gradient = jax.grad(loss)(problem.params)
    start = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), peephole(2).initial_state())

    def loss_in_numpy(params):
        return loop(peephole_in_numpy, params, problem.xs, start).final.h.sum()

    for name, array in problem.params.items():
        difference = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            ahead, behind = array.copy(), array.copy()
            ahead[index] += 1e-6
            behind[index] -= 1e-6
            values = (loss_in_numpy({**problem.params, name: moved}) for moved in (ahead, behind))
            difference[index] = (next(values) - next(values)) / 2e-6
        np.testing.assert_allclose(gradient[name], difference, rtol=1e-6, atol=1e-8, err_msg=name)


def test_weights_are_drawn_by_their_initialisers(key):
    params = peephole(500).init(key, 3)
    np.testing.assert_array_equal(params["b_h"], 0.25)
    # 500 numbers: the relative standard error of the variance is 6 %; a vector's fan-in is its length.
    np.testing.assert_allclose(params["p_o"].var() * 500, 1, atol=0.25)


def test_factory_keeps_the_name_and_words_of_the_function():
    assert peephole.__name__ == "peephole"
    assert "new cell state" in peephole.__doc__
    assert peephole(3).name == "peephole"
    assert repr(peephole(3)) == "peephole(3)"
    assert peephole(3) == peephole(3)


def skew(params):
    free = params["recurrent_kernel"][:, 0]
    return free - free.T


def lame(params):
    """Parameters with a recurrent kernel for each gate, a weight and a bias that others make."""
    return {
        "recurrent_kernel": 0.5 * params["recurrent_kernel"],
        "tau": params["bias"][0] ** 2,
        "bias": 2 * params["bias"],
    }


def blend(gate, state, weight=None):
    return {"h": gate.f * state.h + gate.n * (1.0 if weight is None else weight.tau)}


DERIVED = {
    # name: (options, what the parameters are in full, of free ones)
    "one kernel for all gates": (
        {"recurrent_kernel": skew},
        lambda params: {"recurrent_kernel": jnp.stack([skew(params)] * 2, axis=1)},
    ),
    "several parameters": ({"parameters": lame, "weights": {"tau": None}}, lame),
    "diagonal": (
        {"recurrence": "diagonal", "recurrent_kernel": lambda params: -params["recurrent_kernel"][0]},
        lambda params: {"recurrent_kernel": jnp.stack([-params["recurrent_kernel"][0]] * 2)},
    ),
}


@pytest.mark.parametrize("name", DERIVED)
def test_parameters_made_of_others_are_those_in_every_engine(name, x64):
    """Values and gradients by the free parameters, against the same cell that gets the full ones."""
    options, full = DERIVED[name]
    gates = {"f": sigmoid, "n": jnp.tanh}
    cell = pointwise(state=("h",), gates=gates, **options)(blend)(3)
    weights = dict.fromkeys(options.get("weights", {}), Constant())
    plain = pointwise(state=("h",), gates=gates, weights=weights, recurrence=options.get("recurrence", "dense"))(blend)(
        3
    )
    params, xs, start, _ = random_problem(cell, 5, (2,), dtype=np.float64)
    assert "tau" not in params

    def loss(cell, make, engine, params):
        run = recur.unroll(cell, make(params), xs, start, engine=engine)
        return jnp.sum(jnp.sin(run.outputs)), run.outputs

    def graded(*arguments):
        return jax.value_and_grad(lambda params: loss(*arguments, params), has_aux=True)(params)

    wanted = graded(plain, lambda params: {**params, **full(params)}, recur.engines.Scan())
    for engine in (recur.engines.Scan(), recur.engines.Fused(), recur.engines.Newton(tol=1e-13)):
        assert_close(graded(cell, lambda params: params, engine), wanted)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (3, 2, 2), (3, 3, 3)])
def test_a_made_kernel_of_another_shape_is_refused(shape, key):
    cell = declare(recurrent_kernel=lambda params: jnp.zeros(shape), name="mine")(3)
    with pytest.raises(ValueError, match=r"recurrent_kernel: .* mine to return \(3, 2, 3\), .* got"):
        cell.prepare(cell.init(key, 2))


def test_made_parameters_without_a_name_of_the_cell_are_refused(key):
    cell = declare(parameters=lambda params: {"kernels": params["kernel"]}, name="mine")(3)
    with pytest.raises(TypeError, match=r"mine: .* some of \['bias', .* got \['kernels'\]"):
        cell.prepare(cell.init(key, 2))


def declare(state=("h",), gates=None, update=lambda gate, state: {"h": state.h}, **options):
    return pointwise(state=state, gates={"f": sigmoid, "n": None} if gates is None else gates, **options)(update)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"state": ()}, ValueError, ["state", "'h'", "first field"]),
        ({"state": ("c", "h")}, ValueError, ["state", "'h'", "first field", "'c', 'h'"]),
        ({"state": ("h", "h")}, ValueError, ["state", "distinct", "'h'"]),
        ({"state": ("h", "_c")}, ValueError, ["state", "attributes", "'_c'", "rename"]),
        ({"state": ("h", "a b")}, ValueError, ["state", "attributes", "'a b'", "rename"]),
        ({"gates": {}}, ValueError, ["gates", "at least one", "none"]),
        ({"gates": ["f"]}, TypeError, ["gates", "mapping", "['f']"]),
        ({"gates": {"in": None}}, ValueError, ["gates", "attributes", "'in'", "rename"]),
        ({"gates": {1: None}}, ValueError, ["gates", "attributes", "[1]", "rename"]),
        ({"gates": {"f": "sigmoid"}}, TypeError, ["gates['f']", "function or None", "'sigmoid'"]),
        ({"split": ("q",)}, ValueError, ["split", "'f', 'n'", "'q'"]),
        ({"split": ("f",)}, ValueError, ["split", "'f'", "None", "inside"]),
        ({"keep": "q"}, ValueError, ["keep", "'f', 'n'", "'q'"]),
        ({"write": "q"}, ValueError, ["write", "'f', 'n'", "'q'"]),
        ({"weights": {"bias": Constant()}}, ValueError, ["weights", "'bias'", "already"]),
        ({"weights": {"1p": Constant()}}, ValueError, ["weights", "attributes", "'1p'"]),
        ({"weights": {"p": 0.0}}, TypeError, ["weights['p']", "initialiser", "0.0"]),
        ({"weights": [("p", Constant())]}, TypeError, ["weights", "mapping"]),
        ({"weights": {"p": None}}, TypeError, ["weights['p']", "initialiser", "None"]),
        ({"parameters": {"bias": 0.0}}, TypeError, ["parameters", "function", "0.0"]),
        ({"recurrent_kernel": 1.0}, TypeError, ["recurrent_kernel", "function", "1.0"]),
        ({"recurrent_kernel": len, "recurrence": "none"}, ValueError, ["recurrent_kernel", "recurrent product"]),
        ({"recurrent_kernel": len, "parameters": len}, ValueError, ["recurrent_kernel", "without parameters"]),
    ],
)
def test_wrong_declarations_are_refused(options, error, words):
    with pytest.raises(error) as caught:
        declare(**options)
    assert all(word in str(caught.value) for word in ["expected", "got", *words]), str(caught.value)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda gate, state: {"h": state.h, "c": state.h}, ["['h']", "['c', 'h']"]),
        (lambda gate, state: {}, ["['h']", "[]"]),
        (lambda gate, state: state.h, ["['h']", "Tracer"]),
        (lambda gate, state: state, ["['h']", "State"]),
    ],
)
def test_an_update_that_returns_other_fields_is_refused(returned, words, key):
    cell = declare(update=returned, name="mine")(3)
    with pytest.raises(TypeError) as caught:
        recur.unroll(cell, cell.init(key, 2), jnp.ones((4, 2)))
    assert all(word in str(caught.value) for word in ["mine", "expected", "got", *words]), str(caught.value)


def test_an_update_that_changes_the_shape_is_refused(key):
    cell = declare(update=lambda gate, state: {"h": state.h[..., :1]}, name="mine")(3)
    with pytest.raises(ValueError, match=r"mine\(3\)\.h: expected shape \(3,\), got \(1,\); a step must return"):
        recur.unroll(cell, cell.init(key, 2), jnp.ones((4, 2)))
