"""Gradients of any loss at the states of every layer, against torch's, finite differences and float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from recur import cells, flow, nn, study

T, B, X, H = 12, 3, 4, 5
LENGTHS = np.array([12, 7, 1])


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def weights_of(torch, rnn):
    params = jax.tree.map(lambda leaf: torch.tensor(np.asarray(leaf), dtype=torch.float64), rnn.as_cell()[1])
    return params["kernel"], params["recurrent_kernel"], params["bias"]


def lstm_step(torch, weights, x, h, c):
    kernel, recurrent, bias = weights
    gates = torch.einsum("bx,xgh->bgh", x, kernel) + torch.einsum("bk,kgh->bgh", h, recurrent) + bias
    i, f, g, o = gates[:, 0].sigmoid(), gates[:, 1].sigmoid(), gates[:, 2].tanh(), gates[:, 3].sigmoid()
    c = f * c + i * g
    return o * c.tanh(), c


def run_layer(torch, weights, xs, lengths, reverse, kept):
    """One direction of a layer in torch; every state passes through a leaf of zeros, whose gradient is wanted."""
    h = c = torch.zeros(B, H, dtype=torch.float64)
    outputs = [None] * T
    boundaries = {}

    def marked(index, h, c):
        zeros = [torch.zeros(B, H, dtype=torch.float64, requires_grad=True) for _ in range(2)]
        boundaries[index] = zeros
        return h + zeros[0], c + zeros[1]

    h, c = marked(T if reverse else 0, h, c)
    for t in reversed(range(T)) if reverse else range(T):
        new = lstm_step(torch, weights, xs[t], h, c)
        counts = torch.tensor((t < lengths)[:, None])
        h, c = torch.where(counts, new[0], h), torch.where(counts, new[1], c)
        h, c = marked(t if reverse else t + 1, h, c)
        outputs[t] = torch.where(counts, h, torch.zeros_like(h))
    kept.append(boundaries)
    return torch.stack(outputs)


def log_norms(torch, kept, lengths):
    found = []
    for boundaries in kept:
        # Nothing reads the last c, and torch then has no gradient of it.
        squares = [[(leaf.grad**2).sum(-1) for leaf in boundaries[t] if leaf.grad is not None] for t in range(T + 1)]
        norms = torch.stack([sum(fields).sqrt() for fields in squares]).numpy()
        with np.errstate(divide="ignore"):
            found.append(np.where(np.arange(T + 1)[:, None] <= lengths, np.log(norms), -np.inf))
    return found


def pooled(y, lengths, is_torch):
    """Mean over steps, squared: every output is read once."""
    return ((y.sum(1) / 7) ** 2).sum(-1)


def attention(y, lengths, is_torch):
    """Softmax over time of one score a step, over the steps that count."""
    score = y.sum(-1)
    if is_torch:
        import torch

        score = torch.where(torch.tensor(np.arange(T) < lengths[:, None]), score, -torch.inf)
        weights = torch.softmax(score, 1)
    else:
        score = jnp.where(np.arange(T) < lengths[:, None], score, -jnp.inf)
        weights = jax.nn.softmax(score, axis=1)
    return ((weights[..., None] * y).sum(1) ** 2).sum(-1)


def every_step(y, lengths, is_torch):
    """A loss at every step, heavier at later ones."""
    return (y**3).sum(-1).sum(-1)


def test_two_bidirectional_layers_are_as_in_torch(torch):
    stack = nn.Stack([cells.lstm(H), cells.lstm(H)], X, bidirectional=True, rngs=nnx.Rngs(0))
    x = np.random.default_rng(0).normal(size=(B, T, X)).astype(np.float32)
    directions = [part for layer in stack.layers for part in (layer.forward, layer.backward)]
    weights = [weights_of(torch, part) for part in directions]
    for loss in (pooled, attention, every_step):
        found = study.loss_log_norms(
            stack, lambda y, loss=loss: loss(y, LENGTHS, False), jnp.asarray(x), lengths=jnp.asarray(LENGTHS)
        )
        assert list(found) == ["layers.0.forward", "layers.0.backward", "layers.1.forward", "layers.1.backward"]
        below, kept = torch.tensor(x, dtype=torch.float64).swapaxes(0, 1), []
        for layer in range(2):
            both = [run_layer(torch, weights[2 * layer + side], below, LENGTHS, bool(side), kept) for side in range(2)]
            below = torch.cat(both, -1)
        loss(below.swapaxes(0, 1), LENGTHS, True).sum().backward()
        for (name, ours), theirs in zip(found.items(), log_norms(torch, kept, LENGTHS), strict=True):
            np.testing.assert_allclose(np.asarray(ours), theirs, atol=1e-5, rtol=0, err_msg=f"{loss.__name__} {name}")


def test_a_loss_on_the_last_output_is_the_adjoint_of_flow():
    """One number, no lengths, a last output and a last state: what flow measures with the loss's own cotangent."""
    rnn = nn.RNN(cells.gru(H), X, rngs=nnx.Rngs(1))
    x = jax.random.normal(jax.random.key(0), (B, T, X))
    cotangent = jnp.broadcast_to(jnp.arange(1.0, H + 1), (B, H))
    found = study.loss_log_norms(lambda x: rnn(x, return_sequences=False), lambda y: (y * cotangent).sum(), x)
    cell, params = rnn.as_cell()
    expected = flow.adjoint_log_norms(cell, params, jnp.moveaxis(x, 1, 0), cotangent=cotangent)[::-1]
    np.testing.assert_allclose(np.asarray(found["rnn"]), np.asarray(expected), atol=1e-5)


def test_nothing_underflows_through_two_layers():
    """Each layer is linear and keeps 1 % a step: after 60 steps 1e-120 is left, which float32 does not hold."""
    steps = 60
    options = {"activation": "identity", "recurrent_init": cells.Identity(0.01), "kernel_init": 1.0}
    stack = nn.Stack([cells.elman(1, **options)] * 2, 1, rngs=nnx.Rngs(0))
    found = study.loss_log_norms(stack, lambda y: y[:, -1, 0], jnp.ones((1, steps, 1)))
    lags = np.arange(steps, -1, -1)
    above = lags * np.log(0.01)
    np.testing.assert_allclose(np.asarray(found["layers.1"][1:, 0]), above[1:], atol=1e-3)
    # d y_T / d h_t of the layer below: one path for each step at which it climbs.
    below = np.log(lags[1:] + 1.0) + above[1:]
    np.testing.assert_allclose(np.asarray(found["layers.0"][1:, 0]), below, atol=1e-3)
    assert found["layers.0"].min() < -200


def test_resets_and_states_that_are_handed_on():
    """A decoder begins with the encoder's last state; a reset cuts what came before it."""
    encoder, decoder = nn.RNN(cells.lstm(H), X, rngs=nnx.Rngs(0)), nn.RNN(cells.lstm(H), X, rngs=nnx.Rngs(1))
    x = jax.random.normal(jax.random.key(1), (B, T, X))
    reset = jnp.zeros((B, T), bool).at[:, 4].set(True)

    def model(x):
        _, state = encoder(x, reset=reset, return_state=True)
        return decoder(x[:, :5], initial_state=state)

    found = study.loss_log_norms(model, lambda y: (y[:, -1] ** 2).sum(-1), x)
    assert {name: norms.shape for name, norms in found.items()} == {"rnn": (T + 1, B), "rnn_1": (6, B)}
    np.testing.assert_allclose(np.asarray(found["rnn"][T]), np.asarray(found["rnn_1"][0]), rtol=1e-6)
    assert np.isneginf(found["rnn"][:5]).all()
    assert np.isfinite(found["rnn"][5:]).all()


def test_a_loss_of_another_shape_is_refused():
    rnn = nn.RNN(cells.elman(H), X, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="loss: expected the loss of each sequence"):
        study.loss_log_norms(rnn, lambda y: y[..., 0], jnp.ones((B, T, X)))
    with pytest.raises(ValueError, match="module: expected one that runs a layer"):
        study.loss_log_norms(lambda x: x, lambda y: y.sum(), jnp.ones((B, T, X)))
