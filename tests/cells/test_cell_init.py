"""What the initialisers draw, gate by gate."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur.cells import (
    CELLS,
    INITIALIZERS,
    Chrono,
    Constant,
    Gaussian,
    GlorotUniform,
    Identity,
    LecunNormal,
    Orthogonal,
    elman,
    gru,
    ind_rnn,
    lstm,
    pointwise,
)

H, X = 16, 5


def gates(array):
    """One matrix or vector a gate: the axis G is the last but one."""
    return [np.asarray(array[..., index, :], np.float64) for index in range(array.shape[-2])]


def assert_all_different(arrays):
    for index, a in enumerate(arrays):
        assert all(not np.allclose(a, b) for b in arrays[:index])


# These draw their recurrence in ways of their own, which their own tests look at.
OWN_RECURRENCE = {"antisymmetric", "orthogonal", "ind_rnn", "lru", "min_gru"}


@pytest.mark.parametrize("name", sorted(set(CELLS) - OWN_RECURRENCE))
def test_recurrent_kernels_are_orthogonal_gate_by_gate(name, key):
    kernels = gates(CELLS[name](H).init(key, X)["recurrent_kernel"])
    for kernel in kernels:
        np.testing.assert_allclose(kernel.T @ kernel, np.eye(H), atol=1e-5)
    assert_all_different(kernels)


@pytest.mark.parametrize("name", sorted(set(CELLS) - {"lru"}))
def test_input_kernels_are_glorot_gate_by_gate(name, key):
    # By gate, the bound is sqrt(6 / (X + H)); of all gates as one matrix it would be smaller.
    kernels = gates(CELLS[name](H).init(key, X)["kernel"])
    bound = math.sqrt(6 / (X + H))
    for kernel in kernels:
        assert 0.9 * bound < np.abs(kernel).max() <= bound
    assert_all_different(kernels)


@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_gain_scales_orthogonal_and_identity(gain, key):
    for kernel in gates(lstm(H, recurrent_init=Orthogonal(gain)).init(key, X)["recurrent_kernel"]):
        np.testing.assert_allclose(np.linalg.svd(kernel)[1], gain, rtol=1e-5)
    for kernel in gates(lstm(H, recurrent_init=Identity(gain)).init(key, X)["recurrent_kernel"]):
        np.testing.assert_array_equal(kernel, gain * np.eye(H))


@pytest.mark.parametrize("gain", [1.0, 1.7])
def test_gaussian_has_variance_gain_squared_over_fan_in(gain, key):
    size = 200
    kernel = np.asarray(Gaussian(gain)(key, (size, size), jnp.float32), np.float64)
    # The relative standard error of a variance over n numbers is sqrt(2 / n) = 0.7 %, of a mean std / sqrt(n).
    np.testing.assert_allclose(kernel.var(), gain**2 / size, rtol=0.03)
    assert abs(kernel.mean()) < 4 * gain / math.sqrt(size) / size


def test_lecun_has_variance_one_over_fan_in(key):
    kernel = np.asarray(LecunNormal()(key, (50, 800), jnp.float32))
    np.testing.assert_allclose(kernel.var(), 1 / 50, rtol=0.03)


@pytest.mark.parametrize(("name", "keep", "write"), [("lstm", 1, 0), ("gru", 1, None), ("gru_reset_before", 1, None)])
def test_chrono_biases(name, keep, write, key):
    units, longest = 4000, 50.0
    bias = np.asarray(CELLS[name](units, bias_init=Chrono(longest), recurrent_init="zeros").init(key, 1)["bias"])
    time_constants = 1 / (1 - 1 / (1 + np.exp(-bias[keep].astype(np.float64))))
    assert time_constants.min() >= 2 - 1e-4
    assert time_constants.max() <= longest * (1 + 1e-5)
    # 1 + u, u uniform on [1, 49]: mean 26, quarters at 14 and 38; four standard errors are 0.9.
    np.testing.assert_allclose(time_constants.mean(), 26, atol=0.9)
    np.testing.assert_allclose(np.quantile(time_constants, [0.25, 0.75]), [14, 38], atol=1.5)
    for gate in range(len(bias)):
        if gate == write:
            np.testing.assert_array_equal(bias[gate], -bias[keep])
        elif gate != keep:
            np.testing.assert_array_equal(bias[gate], 0)


def test_forget_bias(key):
    def bias_of(**options):
        return np.asarray(lstm(H, **options).init(key, X)["bias"])[:, 0].tolist()

    assert bias_of() == [0, 1, 0, 0]
    assert bias_of(forget_bias=0.0) == [0, 0, 0, 0]
    assert bias_of(forget_bias=2) == [0, 2, 0, 0]
    assert bias_of(bias_init=0.5) == [0.5, 1, 0.5, 0.5]
    assert bias_of(bias_init={"f": -1.0}) == [0, -1, 0, 0]
    assert bias_of(bias_init={"o": 3.0}, forget_bias=0.25) == [0, 0.25, 0, 3]
    for name in ("elman", "gru", "gru_reset_before"):
        assert not CELLS[name](H).init(key, X)["bias"].any()
    assert not gru(H).init(key, X)["recurrent_bias"].any()


def test_a_mapping_sets_gates_one_by_one_and_leaves_the_default_to_the_others(key):
    cell = lstm(H, recurrent_init={"f": "identity", "g": Identity(0.5)}, kernel_init={"o": 0.0})
    params = cell.init(key, X)
    i, f, g, o = gates(params["recurrent_kernel"])
    np.testing.assert_array_equal(f, np.eye(H))
    np.testing.assert_array_equal(g, 0.5 * np.eye(H))
    for kernel in (i, o):
        np.testing.assert_allclose(kernel.T @ kernel, np.eye(H), atol=1e-5)
    assert [bool(kernel.any()) for kernel in gates(params["kernel"])] == [True, True, True, False]


def test_a_function_is_an_initialiser(key):
    def ones(key, shape, dtype):
        return jnp.ones(shape, dtype)

    params = gru(H, kernel_init=ones, recurrent_init=jax.nn.initializers.normal(), bias_init=ones).init(key, X)
    assert params["kernel"].min() == params["bias"].max() == 1
    assert 0 < np.asarray(params["recurrent_kernel"]).std() < 0.02


@pytest.mark.parametrize("name", INITIALIZERS)
def test_names_stand_for_initialisers(name, key):
    by_name = elman(H, recurrent_init=name)
    assert by_name == elman(H, recurrent_init=INITIALIZERS[name]())
    drawn = by_name.init(key, X)["recurrent_kernel"]
    assert bool(jnp.isfinite(drawn).all())
    assert bool(drawn.any()) == (name != "zeros")


@pytest.mark.parametrize("name", CELLS)
def test_the_key_decides(name, key):
    cell = CELLS[name](H)
    again = jax.tree.map(np.array_equal, cell.init(key, X), CELLS[name](H).init(key, X))
    assert all(jax.tree.leaves(again))
    other = cell.init(jax.random.key(1), X)
    for kernel in {"kernel", "recurrent_kernel", "nu_log", "readout", "skip"} & set(other):
        assert not np.allclose(cell.init(key, X)[kernel], other[kernel])


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.bfloat16])
@pytest.mark.parametrize("bias_init", ["zeros", Chrono(100.0)])
@pytest.mark.parametrize("name", ["lstm", "gru", "gru_reset_before"])
def test_parameters_come_in_the_dtype_asked_for(name, dtype, bias_init, key, x64):
    params = CELLS[name](H, bias_init=bias_init).init(key, X, dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(dtype)}
    tolerance = 1e-12 if dtype == jnp.float64 else 0.05
    for kernel in gates(params["recurrent_kernel"]):
        np.testing.assert_allclose(kernel.T @ kernel, np.eye(H), atol=tolerance)


def test_weights_have_keys_of_their_own(key):
    # A weight and Chrono draw the same distribution; from one key they would draw the same numbers.
    def log_uniform(key, shape, dtype):
        return jnp.log(jax.random.uniform(key, shape, dtype, 1.0, 49.0))

    declare = pointwise(
        state=("h",),
        gates={"f": jax.nn.sigmoid, "n": jnp.tanh},
        weights=dict.fromkeys(["p", "q", "s", "t"], log_uniform),
        keep="f",
    )
    cell = declare(lambda gate, state, weight: {"h": gate.f * state.h + weight.p * gate.n})(H, bias_init=Chrono(50))
    params = cell.init(key, X)
    assert_all_different([params["bias"][0], *(params[name] for name in "pqst")])
    with jax.debug_key_reuse(True):
        cell.init(jax.random.key(5), X)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: lstm(4, kernel_init="xavier"), ValueError, ["kernel_init", "glorot_uniform", "'xavier'"]),
        (lambda: lstm(4, bias_init="xavier"), ValueError, ["bias_init", "zeros", "'xavier'"]),
        (lambda: gru(4, recurrent_init={"q": "zeros"}), ValueError, ["recurrent_init", "'r', 'z', 'n'", "'q'"]),
        (lambda: elman(4, recurrent_init=[1.0]), TypeError, ["recurrent_init", "expected", "initialiser", "[1.0]"]),
        (lambda: elman(4, recurrent_init=True), TypeError, ["recurrent_init", "expected", "True"]),
        (lambda: elman(4, recurrent_init=Chrono(9)), ValueError, ["recurrent_init", "expected", "bias_init=Chrono"]),
        (lambda: elman(4, bias_init=Chrono(9)), ValueError, ["bias_init", "keep", "lstm or gru"]),
        (lambda: elman(4, activation="gelu"), ValueError, ["activation", "'tanh'", "'gelu'"]),
        (lambda: Chrono(2), ValueError, ["max_steps", "> 2", "got 2"]),
        (lambda: Chrono(math.nan), ValueError, ["max_steps", "> 2", "nan"]),
        (lambda: Chrono(math.inf), ValueError, ["max_steps", "finite", "inf"]),
        (lambda: Chrono("9"), TypeError, ["max_steps", "expected a number", "'9'"]),
        (lambda: lstm(4, forget_bias="one"), TypeError, ["forget_bias", "expected a number", "'one'"]),
        (lambda: lstm(4, forget_bias=1, bias_init=Chrono(9)), ValueError, ["forget_bias", "None", "one of both"]),
        (lambda: lstm(4, forget_bias=1, bias_init={"f": 0}), ValueError, ["forget_bias", "None", "one of both"]),
        (lambda: lstm(0), ValueError, ["hidden_size", ">= 1", "got 0"]),
        (lambda: lstm(2.5), TypeError, ["hidden_size", "whole number", "2.5"]),
        (lambda: gru(True, reset_after=False), TypeError, ["hidden_size", "whole number", "True"]),
        (lambda: lstm(4).init(jax.random.key(0), 0), ValueError, ["input_size", ">= 1", "got 0"]),
        (lambda: lstm(4).init(0, 3), TypeError, ["key", "PRNG key", "got 0", "jax.random.key(seed)"]),
        (lambda: lstm(4).init(jax.random.split(jax.random.key(0), 2), 3), TypeError, ["key", "one", "(2,)", "vmap"]),
    ],
)
def test_wrong_options_are_refused(make, error, words):
    with pytest.raises(error) as caught:
        make()
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_initialisers_compare_by_value():
    assert Constant(1) == Constant(1.0)
    assert GlorotUniform() == GlorotUniform()
    assert Orthogonal(1.0) != Orthogonal(0.9)
    assert lstm(4, recurrent_init="orthogonal") == lstm(4)
    assert lstm(4, recurrent_init=Orthogonal(0.9)) != lstm(4)


def test_orthogonal_kernels_of_many_seeds_are_factored_one_by_one():
    """Batched QR factorisations side by side hang jaxlib 0.10 on two cores; the draws are those of each seed alone."""
    cell, keys = CELLS["lstm"](6), jax.random.split(jax.random.key(0), 3)
    many = jax.jit(jax.vmap(lambda key: cell.init(key, 2)))
    factorisations = [line for line in many.lower(keys).as_text().splitlines() if "geqrf" in line]
    assert all("x6x6x" not in line for line in factorisations), factorisations
    for row, key in enumerate(keys):
        alone = cell.init(key, 2)["recurrent_kernel"]
        np.testing.assert_allclose(many(keys)["recurrent_kernel"][row], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["orthogonal", "glorot_uniform", "lecun_normal"])
def test_a_diagonal_kernel_is_drawn_by_no_initialiser_of_matrices(name, key):
    with pytest.raises(ValueError, match="draws matrices; a diagonal recurrent kernel takes Uniform"):
        ind_rnn(4, recurrent_init=name).init(key, 2)


def test_the_identity_of_a_diagonal_kernel_is_ones(key):
    params = ind_rnn(4, recurrent_init=Identity(0.5)).init(key, 2)
    np.testing.assert_array_equal(params["recurrent_kernel"], np.full((1, 4), 0.5, np.float32))
    drawn = ind_rnn(400).init(key, 2)["recurrent_kernel"]
    assert 0 <= drawn.min() < 0.05 < 0.95 < drawn.max() < 1
