"""Live comparison with Keras 3 on its JAX backend: values, states, gradients, masks, both ways."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import recur
from recur import interop
from recur.nn import RNN, Bidirectional, Stack

keras = pytest.importorskip("keras", reason="compares with Keras 3; pip install 'recur-jax[peers]'")
if keras.backend.backend() != "jax":
    pytest.skip("Keras's gradients are taken by JAX here: set KERAS_BACKEND=jax", allow_module_level=True)

B, T, X, H = 3, 6, 3, 4
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
LAYERS = {
    "simple_rnn": lambda **options: keras.layers.SimpleRNN(H, **options),
    "simple_rnn_relu": lambda **options: keras.layers.SimpleRNN(H, activation="relu", **options),
    "simple_rnn_linear": lambda **options: keras.layers.SimpleRNN(H, activation=None, **options),
    "lstm": lambda **options: keras.layers.LSTM(H, **options),
    "gru": lambda **options: keras.layers.GRU(H, **options),
    "gru_reset_before": lambda **options: keras.layers.GRU(H, reset_after=False, **options),
}
MERGES = {"concat": "concat", "sum": "sum", "ave": "mean", "mul": "product"}
MASK = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1], [0, 1, 0, 1, 1, 0]], bool)


@pytest.fixture(autouse=True)
def _keras_promotes_ranks():
    with jax.numpy_rank_promotion("allow"):
        yield


def fill(layer, seed=0, input_size=X):
    """Builds a layer and makes all its weights random, biases too."""
    rng = np.random.default_rng(seed)
    layer.build((None, None, input_size))
    for weight in layer.weights:
        weight.assign(0.5 * rng.normal(size=weight.shape))
    return layer


def make(name, merge_mode=None, *, dtype="float32", **options):
    if dtype == "bfloat16":  # in which JAX draws no orthogonal matrix
        options["recurrent_initializer"] = "glorot_uniform"
    layer = LAYERS[name](**{"dtype": dtype, "return_sequences": True, **options})
    if merge_mode is not None:
        layer = keras.layers.Bidirectional(layer, merge_mode=merge_mode, dtype=dtype)
    return fill(layer)


def exact(layer):
    """Gives a float64 layer a tanh in float64: Keras's own, on JAX, rounds to float32 (BIT64_TO_BIT32_DTYPE)."""
    for part in layer.layers if isinstance(layer, keras.Sequential) else [layer]:
        both = isinstance(part, keras.layers.Bidirectional)
        for one in [part.forward_layer, part.backward_layer] if both else [part]:
            if one.cell.activation is keras.activations.tanh:
                one.cell.activation = jnp.tanh
    return layer


def inputs(dtype, width=H, states=0):
    rng = np.random.default_rng(1)

    def draw(*shape):
        return jnp.array(rng.normal(size=shape).astype(dtype))

    return draw(B, T, X), draw(B, T, width), [draw(B, H) for _ in range(states)]


def keras_measure(layer, x, d_outputs, d_states, mask=None):
    weights = [variable.value for variable in layer.trainable_variables]
    rest = [variable.value for variable in layer.non_trainable_variables]  # seeds, which nothing here uses
    call = {} if mask is None else {"mask": mask}

    @jax.jit
    def run(weights, rest, x, cotangents, call):
        def results(weights, x):
            result, _ = layer.stateless_call(weights, rest, x, **call)
            outputs, *states = result if isinstance(result, (list, tuple)) else [result]
            return outputs, states

        (outputs, states), pull_back = jax.vjp(results, weights, x)
        return outputs, states, *pull_back(cotangents)

    return run(weights, rest, x, (d_outputs, d_states), call)


def fill_with_gradients(layer, d_weights):
    """A layer that holds the gradients: both biases of a gate have the gradient of recur's one."""
    for weight, gradient in zip(layer.trainable_variables, d_weights, strict=True):
        if weight.name == "bias" and gradient.ndim == 2:
            gradient = gradient.at[1, : 2 * H].set(0)
        weight.assign(gradient)
    return layer


# Every cell in float64, which shows the least error, every merge once. Each case compiles a program of its own.
CASES = [(name, merge, "float64", masked) for name in LAYERS for merge, masked in ((None, False), ("concat", True))]
CASES += [(name, None, "float32", True) for name in ("simple_rnn", "lstm", "gru", "gru_reset_before")]
CASES += [("gru", "sum", "float32", True), ("lstm", "ave", "float32", False), ("lstm", "mul", "float32", True)]


@pytest.mark.parametrize(("name", "merge_mode", "dtype", "masked"), CASES)
def test_same_values_states_and_gradients(name, merge_mode, dtype, masked, measure):
    with jax.enable_x64(dtype == "float64"):
        layer = make(name, merge_mode, dtype=dtype, return_state=True)
        leaves = (2 if name == "lstm" else 1) * (1 if merge_mode is None else 2)
        x, d_outputs, d_states = inputs(dtype, 2 * H if merge_mode == "concat" else H, leaves)
        call = {}
        if masked:
            # At a masked step Keras repeats an output that counted already; recur gives zero. So none is asked for.
            call["mask"] = jnp.array(MASK)
            d_outputs = d_outputs * MASK[..., None]
        module = interop.from_keras(layer)
        if dtype == "float64":
            exact(layer)
        want_outputs, want_states, d_weights, want_dx = keras_measure(layer, x, d_outputs, d_states, **call)
        assert type(module) is (RNN if merge_mode is None else Bidirectional)
        with jax.numpy_rank_promotion("raise"):
            outputs, states, d_params, dx = measure(module, x, d_outputs, d_states, **call)
        close = {"rtol": 0, "atol": TOLERANCE[dtype]}
        counted = MASK if masked else np.ones_like(MASK)
        assert outputs.dtype == dx.dtype == dtype
        np.testing.assert_allclose(outputs[counted], want_outputs[counted], **close)
        for got, want in zip(states, want_states, strict=True):
            np.testing.assert_allclose(got, want, **close)
        np.testing.assert_allclose(dx, want_dx, **close)
        gradients = fill_with_gradients(make(name, merge_mode, dtype=dtype), d_weights)
        want_d_params = nnx.state(interop.from_keras(gradients))
        for got, want in zip(jax.tree.leaves(d_params), jax.tree.leaves(want_d_params), strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE[dtype] * max(1, abs(want).max()))


def stack(name, *, bidirectional, dropout=0.0, dtype="float32"):
    layers = []
    for _ in range(2):
        layer = LAYERS[name](dtype=dtype, return_sequences=True)
        layers.append(keras.layers.Bidirectional(layer, dtype=dtype) if bidirectional else layer)
        layers.append(keras.layers.Dropout(dropout, dtype=dtype))
    return fill(keras.Sequential(layers[:-1] if dropout else layers[::2]))


@pytest.mark.parametrize(("name", "bidirectional"), [("lstm", False), ("gru", True)])
def test_sequential_is_a_stack(name, bidirectional, measure, x64):
    model = stack(name, bidirectional=bidirectional, dtype="float64")
    x, d_outputs, _ = inputs("float64", 2 * H if bidirectional else H)
    module = interop.from_keras(model)
    want, _, _, want_dx = keras_measure(exact(model), x, d_outputs, [])
    assert type(module) is Stack
    assert module.bidirectional is bidirectional
    outputs, states = module(x, return_state=True)
    outputs, _, _, dx = measure(module, x, d_outputs, jax.tree.map(jnp.zeros_like, jax.tree.leaves(states)))
    np.testing.assert_allclose(outputs, want, rtol=0, atol=1e-10)
    np.testing.assert_allclose(dx, want_dx, rtol=0, atol=1e-10)


def test_a_list_of_layers_is_a_stack(assert_bitwise):
    model = stack("lstm", bidirectional=False)
    assert_bitwise(interop.from_keras(model.layers), interop.from_keras(model))


def test_dropout_layers_between_are_the_dropout_of_the_stack(assert_bitwise):
    model = stack("gru", bidirectional=False, dropout=0.25)
    module = interop.from_keras(model)
    assert module.dropout == 0.25
    back = interop.to_keras(module)
    assert [type(layer).__name__ for layer in back.layers] == ["GRU", "Dropout", "GRU"]
    assert back.layers[1].rate == 0.25
    assert_bitwise(interop.from_keras(back), module)
    x, _, _ = inputs("float32")
    np.testing.assert_allclose(module(x), model(x), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "merge_mode", "dtype"),
    [
        *((name, None, "float64") for name in LAYERS),
        ("lstm", "concat", "float32"),
        ("gru", "sum", "bfloat16"),
        ("gru_reset_before", "ave", "float32"),
        ("simple_rnn", "mul", "float64"),
    ],
)
def test_there_and_back_is_bitwise(name, merge_mode, dtype, assert_bitwise):
    with jax.enable_x64(dtype == "float64"):
        layer = make(name, merge_mode, dtype=dtype)
        module = interop.from_keras(layer)
        back = interop.to_keras(module)
        assert type(back) is type(layer)
        assert_bitwise(interop.from_keras(back), module)
        if merge_mode is not None:
            assert module.merge == MERGES[merge_mode]
        if dtype == "float64" and name in ("lstm", "gru", "gru_reset_before"):
            x, _, _ = inputs(dtype)
            np.testing.assert_allclose(exact(back)(x), exact(layer)(x), rtol=0, atol=1e-10)


def test_back_from_recurs_own_initialisation(key):
    module = Stack([recur.cells.lstm(H), recur.cells.gru(H + 1)], X, rngs=nnx.Rngs(key))
    model = interop.to_keras(module, return_sequences=False)
    x, _, _ = inputs("float32")
    np.testing.assert_allclose(model(x), module(x, return_sequences=False), atol=1e-5)


@pytest.mark.parametrize("merge_mode", [None, "concat"])
def test_return_sequences_false_is_the_last_output(merge_mode):
    layer = make("gru", merge_mode, return_sequences=False)
    x, _, _ = inputs("float32")
    got = interop.from_keras(layer)(x, mask=jnp.array(MASK), return_sequences=False)
    np.testing.assert_allclose(got, layer(x, mask=jnp.array(MASK)), atol=1e-5)


@pytest.mark.parametrize("name", ["simple_rnn", "lstm", "gru"])
def test_a_layer_without_biases(name):
    layer = make(name, use_bias=False)
    x, _, _ = inputs("float32")
    np.testing.assert_allclose(interop.from_keras(layer)(x), layer(x), atol=1e-5)


def test_two_cells_in_one_bidirectional_layer():
    layer = fill(
        keras.layers.Bidirectional(
            keras.layers.LSTM(H, return_sequences=True),
            backward_layer=keras.layers.GRU(H + 1, return_sequences=True, go_backwards=True),
        )
    )
    module = interop.from_keras(layer)
    assert (module.forward.cell, module.backward.cell) == (recur.cells.lstm(H), recur.cells.gru(H + 1))
    x, _, _ = inputs("float32")
    np.testing.assert_allclose(module(x), layer(x), atol=1e-5)


def tanh(x):
    return 2 * x


def built(layer):
    layer.build((None, None, X))
    return layer


LSTM = keras.layers.LSTM
REFUSED = {
    "not built": (lambda: LSTM(H), ValueError, r"layer 'lstm\w*': expected weights, got a layer that is not built"),
    "activation": (lambda: built(LSTM(H, activation="relu")), ValueError, r"'activation': <function relu"),
    "a function called tanh": (lambda: built(LSTM(H, activation=tanh)), ValueError, r"'activation': <function tanh"),
    "recurrent_activation": (
        lambda: built(keras.layers.GRU(H, recurrent_activation="hard_sigmoid")),
        ValueError,
        r"'recurrent_activation': <function hard_sigmoid",
    ),
    "go_backwards": (
        lambda: built(LSTM(H, go_backwards=True)),
        ValueError,
        r"expected go_backwards=False, got True; .*reverse=True",
    ),
    "stateful": (
        lambda: [layer := LSTM(H, stateful=True), layer.build((2, None, X))][0],
        ValueError,
        r"expected stateful=False, got True; .*initial_state",
    ),
    "dropout": (lambda: built(LSTM(H, dropout=0.5)), ValueError, r"expected dropout=0.0, got 0.5; set layer.cell"),
    "recurrent_dropout": (
        lambda: built(LSTM(H, recurrent_dropout=0.5)),
        ValueError,
        r"expected recurrent_dropout=0.0, got 0.5",
    ),
    "regularizer": (
        lambda: built(LSTM(H, recurrent_regularizer="l2")),
        ValueError,
        r"expected recurrent_regularizer=None, got .*L2.*; set layer.cell.recurrent_regularizer = None",
    ),
    "activity_regularizer": (
        lambda: built(LSTM(H, activity_regularizer="l2")),
        ValueError,
        r"expected activity_regularizer=None.*set layer.activity_regularizer = None",
    ),
    "constraint": (
        lambda: built(LSTM(H, kernel_constraint="non_neg")),
        ValueError,
        r"expected kernel_constraint=None",
    ),
    "mixed precision": (
        lambda: built(LSTM(H, dtype="mixed_bfloat16")),
        ValueError,
        r"expected compute dtype='float32', got 'bfloat16'",
    ),
    "merge_mode": (
        lambda: built(keras.layers.Bidirectional(LSTM(H), merge_mode=None)),
        ValueError,
        r"expected merge_mode one of \['ave', 'concat', 'mul', 'sum'\], got None",
    ),
    "another layer": (lambda: built(keras.layers.Dense(H)), TypeError, r"expected SimpleRNN, LSTM, GRU.*got Dense"),
    "in a model": (
        lambda: fill(keras.Sequential([LSTM(H, return_sequences=True), keras.layers.Dense(2)])),
        TypeError,
        r"got Dense; of a larger model pass the recurrent layers alone",
    ),
    "no layer": (lambda: np.zeros(3), TypeError, r"layer: expected recurrent layers of Keras 3, got ndarray"),
    "nothing": (list, ValueError, r"at least one recurrent layer"),
    "last outputs only": (
        lambda: [built(LSTM(X)), built(LSTM(H))],
        ValueError,
        r"expected return_sequences=True, got False",
    ),
    "one way and two": (
        lambda: fill(
            keras.Sequential([LSTM(H, return_sequences=True), keras.layers.Bidirectional(LSTM(H))]),
        ),
        ValueError,
        r"all in one direction or all in two.*got \[1, 2\]",
    ),
    "merge in a stack": (
        lambda: fill(
            keras.Sequential(
                [keras.layers.Bidirectional(LSTM(H, return_sequences=True), merge_mode="sum") for _ in range(2)]
            )
        ),
        ValueError,
        r"layers\[0\]: expected directions that are concatenated.*got merge 'sum'",
    ),
    "uneven dropout": (
        lambda: fill(
            keras.Sequential(
                [
                    LSTM(H, return_sequences=True),
                    keras.layers.Dropout(0.1),
                    LSTM(H, return_sequences=True),
                    keras.layers.Dropout(0.2),
                    LSTM(H),
                ]
            )
        ),
        ValueError,
        r"Dropout layers of one rate between all recurrent layers.*rates \[0.1, 0.2\]",
    ),
    "dropout at the end": (
        lambda: fill(keras.Sequential([LSTM(H, return_sequences=True), LSTM(H), keras.layers.Dropout(0.1)])),
        ValueError,
        r"Dropout layers of one rate between all recurrent layers",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case):
    make_layer, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        interop.from_keras(make_layer())


def test_refuses_float64_outside_of_x64_mode(x64):
    layer = make("gru", dtype="float64")
    with jax.enable_x64(False), pytest.raises(TypeError, match=r"at most float32.*got float64; .*jax_enable_x64"):
        interop.from_keras(layer)


def test_refuses_to_go_back(key):
    leaky = recur.cells.pointwise(state=("h",), gates={"n": jnp.tanh})(lambda gate, state: {"h": gate.n})
    with pytest.raises(ValueError, match=r"a cell that keras has too, one of \['elman', .*'lstm'\]"):
        interop.to_keras(RNN(leaky(H), X, rngs=nnx.Rngs(key)))
    with pytest.raises(ValueError, match=r"got residual=True"):
        interop.to_keras(Stack([recur.cells.gru(H)] * 2, X, residual=True, rngs=nnx.Rngs(key)))
    with pytest.raises(TypeError, match=r"expected recur.nn.RNN.*got LSTM"):
        interop.to_keras(make("lstm"))
