"""Live comparison with torch: values, states, gradients, lengths, both ways."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import recur
from recur import interop
from recur.nn import RNN, Bidirectional, Stack

torch = pytest.importorskip("torch", reason="compares with torch; pip install 'recur-jax[peers]'")

B, T, X, H = 3, 6, 3, 4
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
LAYERS = {
    "rnn_tanh": lambda **options: torch.nn.RNN(X, H, **options),
    "rnn_relu": lambda **options: torch.nn.RNN(X, H, nonlinearity="relu", **options),
    "lstm": lambda **options: torch.nn.LSTM(X, H, **options),
    "gru": lambda **options: torch.nn.GRU(X, H, **options),
}


def make(name, *, seed=0, dtype="float32", **options):
    """A layer all of whose weights are random; torch's own bounds would keep its biases small."""
    layer = LAYERS[name](batch_first=True, dtype=getattr(torch, dtype), **options)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64) * 0.5)
    return layer


def inputs(dtype, directions, layers, *, leaves):
    rng = np.random.default_rng(1)

    def draw(*shape):
        return rng.normal(size=shape).astype(dtype)

    return draw(B, T, X), draw(B, T, directions * H), [draw(B, H) for _ in range(directions * layers * leaves)]


def flat_states(states):
    """torch's states in the order of recur's leaves: layer by layer, forward first, h before c."""
    states = states if isinstance(states, tuple) else (states,)
    return [leaf for group in zip(*states, strict=True) for leaf in group]


def torch_measure(layer, x, d_outputs, d_states, lengths=None):
    x = torch.tensor(x, requires_grad=True)
    sequences = x
    if lengths is not None:
        pack = torch.nn.utils.rnn.pack_padded_sequence
        sequences = pack(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    outputs, states = layer(sequences)
    if lengths is not None:
        outputs, _ = torch.nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True, total_length=T)
    states = flat_states(states)
    loss = (outputs * torch.tensor(d_outputs)).sum()
    loss = loss + sum((state * torch.tensor(d)).sum() for state, d in zip(states, d_states, strict=True))
    loss.backward()
    return outputs.detach().numpy(), [state.detach().numpy() for state in states], x.grad.numpy()


def gradient_module(layer, name):
    """The gradients of torch's weights, in the layout of recur: both biases of a gate have the gradient of its one."""
    grads = {key: weight.grad for key, weight in layer.named_parameters()}
    for key in grads:
        if key.startswith("bias_hh"):
            grads[key] = torch.zeros_like(grads[key]) if name != "gru" else grads[key].clone()
            grads[key][: 2 * H] = 0
    nonlinearity = {"rnn_tanh": "tanh", "rnn_relu": "relu"}.get(name)
    return interop.from_torch(grads, nonlinearity=nonlinearity)


# (layers, bidirectional, with lengths, dtype): every structure in float64, which shows the least error, and the richest
# of them in float32 too. Each case compiles a program of its own.
STRUCTURES = [
    (1, False, False, "float64"),
    (1, True, True, "float64"),
    (2, False, True, "float64"),
    (2, True, False, "float64"),
    (1, False, True, "float32"),
    (2, True, True, "float32"),
]


@pytest.mark.parametrize(("layers", "bidirectional", "with_lengths", "dtype"), STRUCTURES)
@pytest.mark.parametrize("name", LAYERS)
def test_same_values_states_and_gradients(name, layers, bidirectional, with_lengths, dtype, measure):
    directions = 2 if bidirectional else 1
    layer = make(name, num_layers=layers, bidirectional=bidirectional, dtype=dtype)
    x, d_outputs, d_states = inputs(dtype, directions, layers, leaves=2 if name == "lstm" else 1)
    lengths = [4, 6, 1] if with_lengths else None
    want_outputs, want_states, want_dx = torch_measure(layer, x, d_outputs, d_states, lengths)
    with jax.enable_x64(dtype == "float64"):
        module = interop.from_torch(layer)
        assert type(module) is (Stack if layers == 2 else Bidirectional if bidirectional else RNN)
        call = {} if lengths is None else {"lengths": jnp.array(lengths)}
        outputs, states, d_params, dx = measure(module, jnp.array(x), jnp.array(d_outputs), d_states, **call)
        want_d_params = nnx.state(gradient_module(layer, name))
        close = {"rtol": 0, "atol": TOLERANCE[dtype]}
        assert outputs.dtype == dx.dtype == dtype
        np.testing.assert_allclose(outputs, want_outputs, **close)
        for got, want in zip(states, want_states, strict=True):
            np.testing.assert_allclose(got, want, **close)
        np.testing.assert_allclose(dx, want_dx, **close)
        # Sums over B * T terms of size one and more: a gradient's error is measured by its size.
        for got, want in zip(jax.tree.leaves(d_params), jax.tree.leaves(want_d_params), strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE[dtype] * max(1, abs(want).max()))


@pytest.mark.parametrize(
    ("layers", "bidirectional", "dtype"),
    [(1, False, "float32"), (2, False, "bfloat16"), (1, True, "float16"), (2, True, "float64")],
)
@pytest.mark.parametrize("name", LAYERS)
def test_there_and_back_is_bitwise(name, layers, bidirectional, dtype, assert_bitwise):
    layer = make(name, num_layers=layers, bidirectional=bidirectional, dtype=dtype)
    with jax.enable_x64(dtype == "float64"):
        once = interop.from_torch(layer)
        back = interop.to_torch(once)
        assert (type(back), back.batch_first, back.bidirectional) == (type(layer), True, bidirectional)
        assert all(weight.requires_grad and weight.dtype == getattr(torch, dtype) for weight in back.parameters())
        assert_bitwise(interop.from_torch(back), once)
    if dtype == "float64":
        x = torch.tensor(inputs(dtype, 1, 1, leaves=1)[0])
        (got, got_states), (want, want_states) = back(x), layer(x)
        for left, right in zip([got, *flat_states(got_states)], [want, *flat_states(want_states)], strict=True):
            torch.testing.assert_close(left, right, rtol=0, atol=1e-10)


def test_to_torch_draws_nothing_from_torch():
    module = interop.from_torch(make("gru"))
    state = torch.get_rng_state()
    interop.to_torch(module)
    assert torch.equal(torch.get_rng_state(), state)


def test_back_from_recurs_own_initialisation(key):
    stack = Stack([recur.cells.lstm(H)] * 2, X, bidirectional=True, dropout=0.25, rngs=nnx.Rngs(key))
    layer = interop.to_torch(stack)
    assert layer.dropout == 0.25
    x = jax.random.normal(key, (B, T, X))
    np.testing.assert_allclose(layer.eval()(torch.tensor(np.array(x)))[0].detach().numpy(), stack(x), atol=1e-5)


@pytest.mark.parametrize(("name", "nonlinearity"), [("rnn_relu", "relu"), ("lstm", None), ("gru", None)])
def test_state_dict_says_the_same_as_the_layer(name, nonlinearity, assert_bitwise):
    layer = make(name, num_layers=2, bidirectional=True)
    module = interop.from_torch(layer)
    assert_bitwise(interop.from_torch(layer.state_dict(), nonlinearity=nonlinearity), module)
    arrays = {f"net.rnn.{key}": tensor.numpy() for key, tensor in layer.state_dict().items()}
    arrays["net.head.weight"] = np.zeros((2, 2))
    assert_bitwise(interop.from_torch(arrays, nonlinearity=nonlinearity, prefix="net.rnn."), module)


def test_dropout_is_carried_over():
    layer = make("lstm", num_layers=2, dropout=0.25)
    module = interop.from_torch(layer)
    assert module.dropout == 0.25
    assert interop.from_torch(layer.state_dict(), dropout=0.5).dropout == 0.5
    assert interop.to_torch(module).dropout == 0.25
    x = inputs("float32", 1, 1, leaves=1)[0]
    with torch.no_grad():
        np.testing.assert_allclose(module(x), layer.eval()(torch.tensor(x))[0], atol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_without_biases(name):
    layer = make(name, bias=False)
    x = inputs("float32", 1, 1, leaves=1)[0]
    with torch.no_grad():
        want = layer(torch.tensor(x))[0]
    np.testing.assert_allclose(interop.from_torch(layer)(x), want, atol=1e-5)


@pytest.mark.parametrize(
    "cell",
    [
        lambda: torch.nn.RNNCell(X, H),
        lambda: torch.nn.RNNCell(X, H, nonlinearity="relu"),
        lambda: torch.nn.LSTMCell(X, H),
        lambda: torch.nn.GRUCell(X, H),
    ],
)
def test_single_cells(cell):
    torch.manual_seed(0)
    cell = cell()
    x = inputs("float32", 1, 1, leaves=1)[0]
    with torch.no_grad():
        state = cell(torch.tensor(x[:, 0]))
        state = cell(torch.tensor(x[:, 1]), state)
    want = state[0] if isinstance(state, tuple) else state
    np.testing.assert_allclose(interop.from_torch(cell)(x[:, :2])[:, 1], want, atol=1e-5)


def test_time_major_layers_too():
    layer = make("gru")
    other = torch.nn.GRU(X, H, batch_first=False)
    other.load_state_dict(layer.state_dict())
    x = inputs("float32", 1, 1, leaves=1)[0]
    with torch.no_grad():
        want = other(torch.tensor(x).swapaxes(0, 1))[0].swapaxes(0, 1)
    np.testing.assert_allclose(interop.from_torch(other)(x), want, atol=1e-5)


def test_engine_is_handed_on():
    engine = recur.engines.Scan(unroll=2)
    module = interop.from_torch(make("lstm", num_layers=2), engine=engine)
    assert [layer.engine for layer in module.layers] == [engine, engine]


REFUSED = {
    "projection": (lambda: torch.nn.LSTM(X, H, proj_size=2), ValueError, r"proj_size=0, got proj_size=2"),
    "projection in a state dict": (
        lambda: torch.nn.LSTM(X, H, proj_size=2).state_dict(),
        ValueError,
        r"proj_size=0, got proj_size=2|weight_hh_l0",
    ),
    "another layer": (lambda: torch.nn.Linear(2, 2), TypeError, r"source: expected one of .*'GRU'.* got .*Linear"),
    "a model": (lambda: torch.nn.Sequential(make("gru")), TypeError, r"of a larger model pass the layer itself"),
    "no weights": (dict, ValueError, r"expected weights such as weight_ih_l0, got none"),
    "prefix": (
        lambda: {f"rnn.{k}": v for k, v in make("gru").state_dict().items()},
        ValueError,
        r"got 'rnn.weight_ih_l0'; give prefix=, one of \['rnn.'\]",
    ),
    "a missing layer": (
        lambda: {k: v for k, v in make("gru", num_layers=3).state_dict().items() if "_l1" not in k},
        ValueError,
        r"without \['weight_hh_l1', 'weight_ih_l1'\]",
    ),
    "a missing direction": (
        lambda: {
            k: v
            for k, v in make("gru", num_layers=2, bidirectional=True).state_dict().items()
            if "_l0_reverse" not in k
        },
        ValueError,
        r"without layer 0 in reverse",
    ),
    "gates": (
        lambda: {"weight_ih_l0": np.zeros((8, 3)), "weight_hh_l0": np.zeros((8, 4))},
        ValueError,
        r"G = 1 \(RNN\), 3 \(GRU\) or 4 \(LSTM\) gates, got shape \(8, 4\)",
    ),
    "rank": (
        lambda: {"weight_ih_l0": np.zeros(8), "weight_hh_l0": np.zeros((8, 8))},
        ValueError,
        r"expected weight_ih_l0 with 2 axes, got shape \(8,\)",
    ),
    "layers that do not fit": (
        lambda: {
            **make("gru").state_dict(),
            **{k.replace("l0", "l1"): v for k, v in make("gru").state_dict().items()},
        },
        ValueError,
        r"layer 1, kernel: expected shape \(4, 3, 4\), got \(3, 3, 4\)",
    ),
    "float64": (lambda: make("gru", dtype="float64"), TypeError, r"at most float32.*got float64; .*jax_enable_x64"),
    "whole numbers": (
        lambda: {"weight_ih_l0": np.zeros((4, 4), int), "weight_hh_l0": np.zeros((4, 4), int)},
        TypeError,
        r"expected a floating dtype, got int64",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case):
    make_source, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        interop.from_torch(make_source())


def test_refuses_arguments_that_do_not_belong():
    layer = make("lstm", num_layers=2)
    for option in ({"dropout": 0.5}, {"nonlinearity": "tanh"}, {"prefix": "a."}):
        with pytest.raises(ValueError, match=rf"{next(iter(option))}: expected none with a torch module"):
            interop.from_torch(layer, **option)
    with pytest.raises(ValueError, match=r"nonlinearity: expected None for the weights of an LSTM"):
        interop.from_torch(layer.state_dict(), nonlinearity="relu")
    with pytest.raises(ValueError, match=r"nonlinearity: expected one of \['relu', 'tanh'\], got 'sine'"):
        interop.from_torch(make("rnn_tanh").state_dict(), nonlinearity="sine")
    with pytest.raises(ValueError, match=r"dropout: expected None for one layer"):
        interop.from_torch(make("gru").state_dict(), dropout=0.5)


def rngs():
    return nnx.Rngs(0)


BACK_REFUSED = {
    "cell": (lambda: RNN(recur.cells.elman(H, activation="identity"), X, rngs=rngs()), ValueError, r"cell that torch"),
    "reset before": (
        lambda: RNN(recur.cells.gru(H, reset_after=False), X, rngs=rngs()),
        ValueError,
        r"cell that torch has too, one of \['elman', 'elman_relu', 'gru', 'lstm'\], got gru\(4, reset_after=False\)",
    ),
    "deep cell": (
        lambda: RNN(recur.cells.stacked(recur.cells.lstm(H)), X, rngs=rngs()),
        ValueError,
        r"a cell that torch has too",
    ),
    "merge": (
        lambda: Bidirectional(recur.cells.gru(H), X, merge="sum", rngs=rngs()),
        ValueError,
        r"expected merge 'concat'.*got 'sum'",
    ),
    "sizes": (
        lambda: Stack([recur.cells.gru(H), recur.cells.gru(H + 1)], X, rngs=rngs()),
        ValueError,
        r"layers of one hidden size.*got \[4, 5\]",
    ),
    "cells": (
        lambda: Stack([recur.cells.gru(H), recur.cells.lstm(H)], X, rngs=rngs()),
        ValueError,
        r"layers of one cell.*got \['gru', 'lstm'\]",
    ),
    "residual": (
        lambda: Stack([recur.cells.gru(H)] * 2, X, residual=True, rngs=rngs()),
        ValueError,
        r"without residual connections.*got residual=True",
    ),
    "module": (lambda: nnx.Linear(2, 2, rngs=rngs()), TypeError, r"expected recur.nn.RNN.*got Linear"),
}


@pytest.mark.parametrize("case", BACK_REFUSED)
def test_refuses_to_go_back(case):
    make_module, error, message = BACK_REFUSED[case]
    with pytest.raises(error, match=message):
        interop.to_torch(make_module())


def test_refuses_mixed_dtypes():
    module = interop.from_torch(make("gru"))
    module.params["bias"] = nnx.Param(module.params["bias"][...].astype(jnp.bfloat16))
    with pytest.raises(ValueError, match=r"weights of one dtype, got \['bfloat16', 'float32'\]"):
        interop.to_torch(module)
