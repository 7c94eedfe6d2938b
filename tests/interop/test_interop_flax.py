"""Comparison with Flax, NNX and Linen, which recur depends on: values, states, gradients, both ways."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import recur
from recur import interop
from recur.nn import RNN, Bidirectional, Stack

B, T, X, H = 3, 5, 3, 4
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
NORMAL = jax.nn.initializers.normal(0.5)
NNX = {
    "simple": (nnx.SimpleCell, {}),
    "simple_relu": (nnx.SimpleCell, {"activation_fn": nnx.relu}),
    "simple_identity": (nnx.SimpleCell, {"activation_fn": nnx.identity}),
    "lstm": (nnx.LSTMCell, {}),
    "optimized_lstm": (nnx.OptimizedLSTMCell, {}),
    "gru": (nnx.GRUCell, {}),
}
LINEN = {
    "simple": (linen.SimpleCell, {}),
    "lstm": (linen.LSTMCell, {}),
    "optimized_lstm": (linen.OptimizedLSTMCell, {}),
    "gru": (linen.GRUCell, {}),
}


def nnx_cell(name, *, input_size=X, dtype=jnp.float32, seed=0, **options):
    cls, own = NNX[name]
    if dtype == "bfloat16":  # in which JAX draws no orthogonal matrix
        options["recurrent_kernel_init"] = NORMAL
    return cls(
        input_size,
        H,
        **{"dtype": None, "param_dtype": dtype, "bias_init": NORMAL, **own, **options},
        rngs=nnx.Rngs(seed),
    )


def nnx_both(name="gru", merge_fn=None, **options):
    merge = {} if merge_fn is None else {"merge_fn": merge_fn}
    return nnx.Bidirectional(nnx.RNN(nnx_cell(name, **options)), nnx.RNN(nnx_cell(name, seed=1, **options)), **merge)


def linen_cell(name, **options):
    cls, own = LINEN[name]
    return cls(H, bias_init=NORMAL, **own, **options)


@nnx.jit
def call(model, x):
    return model(x)


def flat(carry):
    """Flax's carries in the order of recur's leaves: forward first, h before c (Flax has (c, h))."""
    is_lstm = isinstance(carry, tuple) and len(carry) == 2 and not isinstance(carry[0], tuple)
    if is_lstm:
        return [carry[1], carry[0]]
    return [leaf for part in carry for leaf in flat(part)] if isinstance(carry, tuple) else [carry]


def draw(*shape, dtype, seed=1):
    return jnp.array(np.random.default_rng(seed).normal(size=shape).astype(dtype))


@pytest.mark.parametrize(("name", "dtype"), [*((name, "float64") for name in NNX), ("gru", "float32")])
def test_nnx_rnn_is_the_same(name, dtype, measure):
    with jax.enable_x64(dtype == "float64"):
        rnn = nnx.RNN(nnx_cell(name, dtype=dtype), return_carry=True)
        graphdef, params, rest = nnx.split(rnn, nnx.Param, ...)
        x, d_outputs = draw(B, T, X, dtype=dtype), draw(B, T, H, dtype=dtype, seed=2)

        @jax.jit
        def run(params, rest, x):
            carry, outputs = nnx.merge(graphdef, params, rest)(x)
            return outputs, flat(carry)

        (want_outputs, want_states), pull_back = jax.vjp(lambda params, x: run(params, rest, x), params, x)
        d_states = [draw(B, H, dtype=dtype, seed=3 + index) for index in range(len(want_states))]
        d_params, want_dx = pull_back((d_outputs, d_states))
        module = interop.from_flax(rnn)
        outputs, states, got_d_params, dx = measure(module, x, d_outputs, d_states)
        close = {"rtol": 0, "atol": TOLERANCE[dtype]}
        np.testing.assert_allclose(outputs, want_outputs, **close)
        np.testing.assert_allclose(dx, want_dx, **close)
        for got, want in zip(states, want_states, strict=True):
            np.testing.assert_allclose(got, want, **close)
        want_d_params = nnx.state(interop.from_flax(nnx.merge(graphdef, d_params, rest)))
        if name == "gru":  # NNX has no such weight, so no gradient of it
            del got_d_params["params"]["recurrent_bias"], want_d_params["params"]["recurrent_bias"]
        for got, want in zip(jax.tree.leaves(got_d_params), jax.tree.leaves(want_d_params), strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE[dtype] * max(1, abs(want).max()))


@pytest.mark.parametrize("name", LINEN)
def test_linen_rnn_is_the_same(name, measure, x64):
    rnn = linen.RNN(linen_cell(name, param_dtype=jnp.float64), return_carry=True)
    x, d_outputs = draw(B, T, X, dtype="float64"), draw(B, T, H, dtype="float64", seed=2)
    params = jax.jit(rnn.init)(jax.random.key(0), x)

    @jax.jit
    def results(params, x):
        carry, outputs = rnn.apply(params, x)
        return outputs, flat(carry)

    (want_outputs, want_states), pull_back = jax.vjp(results, params, x)
    d_states = [draw(B, H, dtype="float64", seed=3 + index) for index in range(len(want_states))]
    d_params, want_dx = pull_back((d_outputs, d_states))
    outputs, states, got_d_params, dx = measure(interop.from_flax(rnn, params), x, d_outputs, d_states)
    close = {"rtol": 0, "atol": 1e-10}
    np.testing.assert_allclose(outputs, want_outputs, **close)
    np.testing.assert_allclose(dx, want_dx, **close)
    for got, want in zip(states, want_states, strict=True):
        np.testing.assert_allclose(got, want, **close)
    want_d_params = nnx.state(interop.from_flax(rnn, d_params))
    for got, want in zip(jax.tree.leaves(got_d_params), jax.tree.leaves(want_d_params), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-10 * max(1, abs(want).max()))


def test_lengths_agree_on_what_counts():
    both = nnx_both("lstm")
    x, lengths = draw(B, T, X, dtype="float32"), jnp.array([2, 5, 1])
    want_carry, want = both(x, seq_lengths=lengths, return_carry=True)
    got, state = interop.from_flax(both)(x, lengths=lengths, return_state=True)
    counted = np.arange(T) < np.asarray(lengths)[:, None]
    np.testing.assert_allclose(got[counted], want[counted], atol=1e-5)
    for left, right in zip(jax.tree.leaves(state), flat(want_carry), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)


@pytest.mark.parametrize(
    ("merge_fn", "merge"), [(None, "concat"), (jnp.add, "sum"), (lambda: None, None), (jnp.multiply, "product")]
)
def test_merges(merge_fn, merge):
    both = nnx_both(merge_fn=merge_fn)
    if merge is None:
        with pytest.raises(ValueError, match=r"module: expected merge_fn to be Flax's default"):
            interop.from_flax(both)
        return
    module = interop.from_flax(both)
    assert (type(module), module.merge) == (Bidirectional, merge)
    x = draw(B, T, X, dtype="float32")
    np.testing.assert_allclose(module(x), call(both, x), atol=1e-5)


@pytest.mark.parametrize(
    ("api", "merge"), [("nnx", "concat"), ("nnx", "sum"), ("nnx", "mean"), ("linen", "mean"), ("linen", "product")]
)
def test_bidirectional_there_and_back(merge, api, key, assert_bitwise):
    cell = recur.cells.lstm(H, bias_init=recur.cells.Gaussian())
    module = Bidirectional(cell, X, merge=merge, rngs=nnx.Rngs(key))
    x = draw(B, T, X, dtype="float32")
    if api == "nnx":
        other = interop.to_flax(module)
        outputs, back = call(other, x), interop.from_flax(other)
    else:
        other, variables = interop.to_flax(module, api="linen")
        outputs, back = jax.jit(other.apply)(variables, x), interop.from_flax(other, variables)
    np.testing.assert_allclose(outputs, module(x), atol=1e-5)
    assert back.merge == merge
    assert_bitwise(nnx.state(back), nnx.state(module))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("name", NNX)
def test_nnx_there_and_back_is_bitwise(name, dtype, assert_bitwise):
    with jax.enable_x64(dtype == "float64"):
        module = interop.from_flax(nnx_cell(name, dtype=dtype))
        assert type(module) is RNN
        other = interop.to_flax(module)
        assert isinstance(other, nnx.RNN)
        assert_bitwise(interop.from_flax(other), module)
        assert_bitwise(interop.from_flax(*interop.to_flax(module, api="linen")), module)


def test_stacks(assert_bitwise):
    layers = [nnx_both("lstm"), nnx_both("gru", input_size=2 * H)]
    model = nnx.Sequential(*layers)
    module = interop.from_flax(model)
    assert type(module) is Stack
    x = draw(B, T, X, dtype="float32")
    want = call(model, x)
    np.testing.assert_allclose(module(x), want, atol=1e-5)
    assert_bitwise(interop.from_flax(layers), module)
    back = interop.to_flax(module)
    np.testing.assert_allclose(call(back, x), want, atol=1e-5)
    assert_bitwise(interop.from_flax(back), module)
    deep, variables = interop.to_flax(module, api="linen")
    np.testing.assert_allclose(jax.jit(deep.apply)(variables, x), want, atol=1e-5)
    assert_bitwise(interop.from_flax(deep, variables["params"]), module)


def test_a_module_that_came_back_trains(key):
    """What to_flax returns is a whole NNX module: it splits, jits and has gradients."""
    rnn = interop.to_flax(RNN(recur.cells.lstm(H), X, rngs=nnx.Rngs(key)))
    x = draw(B, T, X, dtype="float32")
    gradients = nnx.grad(lambda model: (model(x) ** 2).sum())(rnn)
    assert all(abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradients))


def test_hidden_bias_of_the_gru(key):
    module = RNN(recur.cells.gru(H), X, rngs=nnx.Rngs(key))
    module.params["recurrent_bias"] = nnx.Param(jnp.arange(1.0, 1 + H))
    with pytest.raises(ValueError, match=r"recurrent_bias 0.*b_hn.*5594\), got up to 4; .*api='linen'"):
        interop.to_flax(module)
    other, variables = interop.to_flax(module, api="linen")
    x = draw(B, T, X, dtype="float32")
    np.testing.assert_allclose(jax.jit(other.apply)(variables, x), module(x), atol=1e-5)


def test_partitioned_parameters_of_linen():
    kernel_init = linen.with_partitioning(NORMAL, (None, "units"))
    rnn = linen.RNN(linen_cell("gru", kernel_init=kernel_init))
    params = jax.jit(rnn.init)(jax.random.key(0), jnp.ones((B, T, X)))
    kernel = np.asarray(interop.from_flax(rnn, params).params["kernel"])
    np.testing.assert_array_equal(kernel[:, 2], params["params"]["cell"]["in"]["kernel"].value)


def shared():
    rnn = nnx.RNN(nnx_cell("gru"))
    return nnx.Bidirectional(rnn, rnn)


def linen_args(module, **replaced):
    params = jax.jit(module.init)(jax.random.key(0), jnp.ones((B, T, X)))["params"]
    return module, {**params, **replaced}


REFUSED = {
    "gate_fn": (
        lambda: [nnx_cell("gru", gate_fn=nnx.hard_sigmoid)],
        ValueError,
        r"module: expected gate_fn=sigmoid, got hard_sigmoid",
    ),
    "activation_fn": (
        lambda: [nnx_cell("lstm", activation_fn=nnx.relu)],
        ValueError,
        r"module: expected activation_fn=tanh, got relu",
    ),
    "simple activation": (
        lambda: [nnx_cell("simple", activation_fn=nnx.gelu)],
        ValueError,
        r"activation_fn tanh, relu or identity",
    ),
    "residual": (lambda: [nnx_cell("simple", residual=True)], ValueError, r"expected residual=False, got True"),
    "reverse": (
        lambda: [nnx.RNN(nnx_cell("gru"), reverse=True)],
        ValueError,
        r"expected reverse=False, got True; give reverse=True to the call",
    ),
    "dtype": (
        lambda: [nnx.GRUCell(X, H, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))],
        ValueError,
        r"expected dtype='float32', got 'bfloat16'; build it with dtype=None",
    ),
    "shared weights": (lambda: [shared()], ValueError, r"module.forward_rnn: .*share no weights"),
    "an MGU": (
        lambda: linen_args(linen.RNN(linen.MGUCell(H))),
        TypeError,
        r"expected one of \['SimpleCell', .*'GRUCell'\] of flax.linen.*got MGUCell",
    ),
    "a layer": (lambda: [nnx.Linear(2, 2, rngs=nnx.Rngs(0))], TypeError, r"of flax.nnx.*got Linear"),
    "a dropout": (
        lambda: [nnx.Sequential(nnx.RNN(nnx_cell("gru")), nnx.Dropout(0.5))],
        TypeError,
        r"module.layers\[1\]: expected one of \['SimpleCell', .*got Dropout",
    ),
    "an empty list": (lambda: [[]], ValueError, r"at least one recurrent layer"),
    "a list of Linen modules": (lambda: [[linen_cell("gru")]], TypeError, r"expected a list of NNX modules"),
    "NNX with params": (lambda: [nnx_cell("gru"), {}], TypeError, r"params: expected None with an NNX module"),
    "Linen without params": (lambda: [linen_cell("gru")], TypeError, r"params: expected the parameters.*got None"),
    "other params": (
        lambda: (linen.RNN(linen_cell("gru")), linen_args(linen.RNN(linen_cell("lstm")))[1]),
        ValueError,
        r"module.cell: expected weights \['hn/bias', .*got \['hf/bias'",
    ),
    "params of a cell": (lambda: (linen.RNN(linen_cell("gru")), {}), ValueError, r"expected its weights under 'cell'"),
    "carry_init": (
        lambda: linen_args(linen.RNN(linen_cell("gru", carry_init=NORMAL))),
        ValueError,
        r"expected carry_init=zeros.*initial_state",
    ),
    "no module": (lambda: [np.zeros(3)], TypeError, r"a recurrent module of flax.nnx or flax.linen, got ndarray"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case):
    make_arguments, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        interop.from_flax(*make_arguments())


def test_refuses_float64_outside_of_x64_mode():
    with jax.enable_x64(True):
        cell = nnx_cell("gru", dtype="float64")
    with pytest.raises(TypeError, match=r"at most float32.*got float64; .*jax_enable_x64"):
        interop.from_flax(cell)


def test_refuses_to_go_back(key):
    with pytest.raises(ValueError, match=r"a cell that nnx has too.*got gru\(4, reset_after=False\)"):
        interop.to_flax(RNN(recur.cells.gru(H, reset_after=False), X, rngs=nnx.Rngs(key)))
    with pytest.raises(ValueError, match=r"without dropout, got dropout=0.5"):
        interop.to_flax(Stack([recur.cells.gru(H)] * 2, X, dropout=0.5, rngs=nnx.Rngs(key)))
    with pytest.raises(ValueError, match=r"api: expected one of \['linen', 'nnx'\], got 'haiku'"):
        interop.to_flax(RNN(recur.cells.gru(H), X, rngs=nnx.Rngs(key)), api="haiku")
