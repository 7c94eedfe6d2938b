"""Bad input: one clear error that names the argument, before anything runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from recur import cells, nn

X = np.ones((2, 5, 3), np.float32)


@pytest.fixture(scope="module")
def modules():
    return {
        "rnn": nn.RNN(cells.lstm(4), 3, rngs=nnx.Rngs(0)),
        "both": nn.Bidirectional(cells.lstm(4), 3, rngs=nnx.Rngs(0)),
        "stack": nn.Stack([cells.lstm(4), cells.gru(2)], 3, rngs=nnx.Rngs(0)),
    }


CALLS = {
    "rank": ((X[0, 0],), {}, ValueError, r"x: expected at least two axes \[\*B, T, X\], got shape \(3,\); add"),
    "features": ((X[..., :2],), {}, ValueError, r"x: expected 3 features \(last axis\), got shape \(2, 5, 2\)"),
    "tokens": ((X.astype(int),), {}, TypeError, "x: expected a floating dtype, got int32; one-hot"),
    "no array": (("text",), {}, TypeError, "x: expected an array, got str"),
    "both": ((X,), {"mask": X[..., 0] > 0, "lengths": [1, 2]}, ValueError, "lengths: expected None beside mask"),
    "mask dtype": ((X,), {"mask": X[..., 0]}, TypeError, "mask: expected dtype bool, got float32; compare"),
    "mask shape": ((X,), {"mask": X[..., 0].T > 0}, ValueError, r"mask: expected shape \(2, 5\), got \(5, 2\)"),
    "reset dtype": ((X,), {"reset": [[1] * 5] * 2}, TypeError, "reset: expected dtype bool, got int32"),
    "reset shape": ((X,), {"reset": X[:, 0, 0] > 0}, ValueError, r"reset: expected shape \(2, 5\), got \(2,\)"),
    "lengths dtype": ((X,), {"lengths": [1.0, 2.0]}, TypeError, "lengths: expected an integer dtype, got float32"),
    "lengths bool": ((X,), {"lengths": [True, False]}, TypeError, "lengths: expected an integer dtype, got bool"),
    "lengths shape": ((X,), {"lengths": 3}, ValueError, r"lengths: expected shape \(2,\), got \(\)"),
    "too long": ((X,), {"lengths": [5, 6]}, ValueError, "lengths: expected 0 <= length <= 5, .* got 6; cut"),
    "negative": ((X,), {"lengths": [-1, 2]}, ValueError, "lengths: expected 0 <= length <= 5, .* got -1"),
}


@pytest.mark.parametrize("which", ["rnn", "both", "stack"])
@pytest.mark.parametrize("case", CALLS)
def test_calls(modules, which, case):
    args, options, error, message = CALLS[case]
    with pytest.raises(error, match=message):
        modules[which](*args, **options)


def lstm_state(batch_shape=(2,), size=4):
    return cells.lstm(size).initial_state(batch_shape)


STATES = {
    "a bare array": ("rnn", lstm_state().h, TypeError, r"initial_state: expected State\(h=array, c=array\), got array"),
    "another cell's": (
        "stack",
        (lstm_state(), lstm_state(size=2)),
        TypeError,
        r"initial_state\[1\]: expected State\(h=array\), got State\(h=array, c=array\); it is for a layer of gru\(2\)",
    ),
    "another batch": (
        "both",
        (lstm_state(), lstm_state((3,))),
        ValueError,
        r"initial_state\[1\].h: expected shape \(2, 4\), got \(3, 4\); it is for a layer of lstm\(4\)",
    ),
    "no pair": ("both", lstm_state(), TypeError, r"initial_state: expected a tuple of 2 states, \(forward, backward\)"),
    "too few layers": (
        "stack",
        (lstm_state(),),
        TypeError,
        "expected a tuple of 2 states, one a layer, got tuple of 1",
    ),
    "no tuple": ("stack", 3, TypeError, "expected a tuple of 2 states, one a layer, got int"),
}


@pytest.mark.parametrize("case", STATES)
def test_states(modules, case):
    which, state, error, message = STATES[case]
    with pytest.raises(error, match=message):
        modules[which](X, initial_state=state)
    with pytest.raises(error, match=message.replace("initial_state", "reset_state", 1)):
        modules[which](X, reset=X[..., 0] > 0, reset_state=state)


def test_state_dtype_and_reset_state_without_reset(modules):
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), lstm_state())
    with pytest.raises(TypeError, match="initial_state.h: expected dtype float32, got bfloat16"):
        modules["rnn"](X, initial_state=half)
    with pytest.raises(ValueError, match="reset_state: expected None without reset"):
        modules["rnn"](X, reset_state=lstm_state())


def test_key_of_dropout(modules):
    with pytest.raises(TypeError, match="key: expected a PRNG key, got 0"):
        modules["stack"](X, key=0)


LSTM = cells.lstm(4)
CONSTRUCTORS = {
    "cell": (nn.RNN, ("lstm", 3), {}, TypeError, "cell: expected a recur.cells.Cell such as"),
    "input_size": (nn.RNN, (LSTM, 0), {}, ValueError, "input_size: expected a whole number >= 1, got 0"),
    "input_size type": (nn.Stack, ([LSTM], 2.5), {}, TypeError, "input_size: expected a whole number >= 1, got 2.5"),
    "rngs": (
        nn.RNN,
        (LSTM, 3),
        {"rngs": jax.random.key(0)},
        TypeError,
        r"rngs: expected flax.nnx.Rngs, got .*; make one with nnx.Rngs",
    ),
    "rngs of a stack": (nn.Stack, ([LSTM], 3), {"rngs": 0}, TypeError, "rngs: expected flax.nnx.Rngs, got int; make"),
    "dtype": (nn.RNN, (LSTM, 3), {"dtype": jnp.int32}, TypeError, "dtype: expected a floating dtype"),
    "merge": (nn.Bidirectional, (LSTM, 3), {"merge": "ave"}, ValueError, "merge: expected one of .*'mean'.* got 'ave'"),
    "merge of sizes": (
        nn.Bidirectional,
        (LSTM, 3),
        {"merge": "sum", "backward_cell": cells.lstm(5)},
        ValueError,
        r"merge: 'sum' expects cells of one output size, got \(4, 5\); or use 'concat'",
    ),
    "no cells": (nn.Stack, ([], 3), {}, ValueError, "cells: expected at least one cell, got none"),
    "one bare cell": (nn.Stack, (LSTM, 3), {}, TypeError, r"cells: expected a sequence of cells, .* got lstm\(4\)"),
    "no cell": (nn.Stack, ([LSTM, 5], 3), {}, TypeError, r"cells\[1\]: expected a recur.cells.Cell"),
    "residual": (
        nn.Stack,
        ([LSTM, cells.gru(2)], 3),
        {"residual": True},
        ValueError,
        r"residual: expected layers of one output size, got \[4, 2\]",
    ),
    "dropout of 1": (nn.Stack, ([LSTM], 3), {"dropout": 1.0}, ValueError, r"dropout: .* in \[0, 1\), got 1.0"),
    "dropout below 0": (nn.Stack, ([LSTM], 3), {"dropout": -0.1}, ValueError, r"dropout: .* in \[0, 1\), got -0.1"),
    "dropout NaN": (nn.Stack, ([LSTM], 3), {"dropout": float("nan")}, ValueError, "dropout: .* got nan"),
    "dropout type": (nn.Stack, ([LSTM], 3), {"dropout": "0.1"}, TypeError, "dropout: .* got '0.1'"),
}


@pytest.mark.parametrize("case", CONSTRUCTORS)
def test_constructors(case):
    make, args, options, error, message = CONSTRUCTORS[case]
    with pytest.raises(error, match=message):
        make(*args, **{"rngs": nnx.Rngs(0), **options})


def test_a_bidirectional_stack_is_no_cell():
    deep = nn.Stack([LSTM], 3, bidirectional=True, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="as_cell: .* got bidirectional=True: .* need the whole sequence"):
        deep.as_cell()
