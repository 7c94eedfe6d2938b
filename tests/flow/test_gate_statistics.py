"""Gate statistics against a plain loop over steps, layers and gates."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur import cells, flow

T, B, X, H = 6, 4, 3, 5


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def loop(params, xs, gates, step, fields):
    """Runs one layer in float64 and collects the activated gates of every step: by name, and the outputs."""
    params = {name: np.asarray(leaf, np.float64) for name, leaf in params.items()}
    state = [np.zeros((B, H)) for _ in range(fields)]
    found, outputs = {name: [] for name, activation in gates if activation}, []
    for x in np.asarray(xs, np.float64):
        values = {}
        for index, (name, activation) in enumerate(gates):
            share_x = x @ params["kernel"][:, index] + params["bias"][index]
            share_h = state[0] @ params["recurrent_kernel"][:, index]
            values[name] = activation(share_x + share_h) if activation else (share_x, share_h)
            if activation:
                found[name].append(values[name])
        state = step(values, state, params)
        outputs.append(state[0])
    return found, np.stack(outputs)


def lstm_step(gate, state, params):
    c = gate["f"] * state[1] + gate["i"] * gate["g"]
    return [gate["o"] * np.tanh(c), c]


def gru_step(gate, state, params):
    n = np.tanh(gate["n"][0] + gate["r"] * (gate["n"][1] + params["recurrent_bias"]))
    return [gate["z"] * state[0] + (1 - gate["z"]) * n]


LSTM = ((("i", sigmoid), ("f", sigmoid), ("g", np.tanh), ("o", sigmoid)), lstm_step, 2)
GRU = ((("r", sigmoid), ("z", sigmoid), ("n", None)), gru_step, 1)
ELMAN = ((("h", np.tanh),), lambda gate, state, params: [gate["h"]], 1)


def assert_as_found(got, found):
    assert set(got) == set(found)
    for name, values in found.items():
        values = np.stack(values)
        # 0 is the middle of tanh, 1/2 that of a sigmoid: saturated is 0.1 from a bound.
        low = -0.9 if name in ("g", "h") else 0.1
        np.testing.assert_allclose(got[name].mean, values.mean(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(got[name].saturated_low, (values < low).mean(), rtol=1e-6)
        np.testing.assert_allclose(got[name].saturated_high, (values > 0.9).mean(), rtol=1e-6)
    assert any(0 < (np.stack(values) > 0.9).mean() < 1 for values in found.values())


def wide(cell, seed, input_size=X):
    """Parameters large enough for gates to saturate here and there."""
    params = cell.init(jax.random.key(seed), input_size)
    return jax.tree.map(lambda leaf: 2.5 * leaf + 0.1, params)


XS = np.random.default_rng(0).normal(size=(T, B, X)).astype(np.float32)


@pytest.mark.parametrize(
    ("cell", "oracle"),
    [(cells.lstm(H), LSTM), (cells.gru(H), GRU), (cells.elman(H), ELMAN)],
    ids=["lstm", "gru", "elman"],
)
def test_equals_a_plain_loop(cell, oracle):
    params = wide(cell, 0)
    assert_as_found(flow.gate_statistics(cell, params, XS), loop(params, XS, *oracle)[0])


@pytest.mark.parametrize("residual", [False, True])
def test_a_stack_is_measured_layer_by_layer(residual):
    layers = (cells.lstm(H), cells.gru(H), cells.elman(H))
    cell = cells.stacked(*layers, residual=residual)
    params = {f"layer_{n}": wide(layer, n, X if n == 0 else H) for n, layer in enumerate(layers)}
    got = flow.gate_statistics(cell, params, XS)
    assert set(got) == set(params)
    below = XS
    for index, oracle in enumerate((LSTM, GRU, ELMAN)):
        found, outputs = loop(params[f"layer_{index}"], below, *oracle)
        assert_as_found(got[f"layer_{index}"], found)
        below = below + outputs if residual and index > 0 else outputs


def test_the_initial_state_counts():
    cell = cells.elman(H)
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), X)) | {
        "recurrent_kernel": 100 * jnp.eye(H)[:, None]
    }
    state = cell.initial_state((B,))._replace(h=jnp.where(jnp.arange(B)[:, None] < 1, 1.0, -1.0) * jnp.ones((B, H)))
    (found,) = flow.gate_statistics(cell, params, XS, state).values()
    np.testing.assert_allclose(found, [-0.5, 0.75, 0.25], rtol=1e-6)


def test_an_activation_without_bounds_is_saturated_at_zero_only():
    cell = cells.elman(H, activation="relu")
    (found,) = flow.gate_statistics(cell, wide(cell, 0), XS).values()
    assert 0 < found.saturated_low < 1
    assert found.saturated_high == 0


def test_seeds_go_side_by_side_and_bad_states_show():
    cell = cells.elman(H, activation="relu")
    params = jax.vmap(functools.partial(wide, cell))(jnp.arange(2))
    params["recurrent_kernel"] = params["recurrent_kernel"].at[1].set(1e38)
    measure = jax.vmap(lambda params: flow.gate_statistics(cell, params, XS)["h"].mean)
    alone = flow.gate_statistics(cell, jax.tree.map(lambda leaf: leaf[0], params), XS)["h"].mean
    np.testing.assert_allclose(measure(params), [alone, np.nan], rtol=1e-5)
    with pytest.raises(ValueError, match="states: expected finite numbers"):
        flow.gate_statistics(cell, jax.tree.map(lambda leaf: leaf[1], params), XS)


def test_what_a_cell_lacks_is_named():
    plain = cells.gru(H, reset_after=False)
    with pytest.raises(ValueError, match=r"cell: expected one that declares its gates, got gru\(5, reset"):
        flow.gate_statistics(plain, plain.init(jax.random.key(0), X), XS)
    stack = cells.stacked(cells.lstm(H), plain)
    with pytest.raises(ValueError, match="cell, layer 1: expected one that declares its gates"):
        flow.gate_statistics(stack, stack.init(jax.random.key(0), X), XS)
    linear = cells.elman(H, activation="identity")
    with pytest.raises(ValueError, match="cell: expected at least one gate with an activation, got elman_identity"):
        flow.gate_statistics(linear, linear.init(jax.random.key(0), X), XS)


def test_gates_without_a_dense_product(key):
    # min_gru's gate sees the input alone, ind_rnn's its own unit as well.
    xs = jax.random.normal(jax.random.key(1), (T, B, X))
    cell = cells.min_gru(H, bias_init={"z": 2.0})
    params = cell.init(key, X)
    z = sigmoid(np.asarray(xs @ params["kernel"][:, 0], np.float64) + 2.0)
    assert_as_found(flow.gate_statistics(cell, params, xs), {"z": list(z)})
    cell = cells.ind_rnn(H, activation="tanh")
    params = cell.init(key, X)
    h, found = np.zeros((B, H)), []
    for x in np.asarray(xs, np.float64):
        h = np.tanh(x @ np.asarray(params["kernel"][:, 0], np.float64) + np.asarray(params["recurrent_kernel"][0]) * h)
        found.append(h)
    assert_as_found(flow.gate_statistics(cell, params, xs), {"h": found})
