"""Every recurrence of a module by name, with the inputs that it really sees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import recur
from recur import cells, nn

T, B, X, H = 6, 2, 3, 4
LENGTHS = jnp.array([6, 3])


def test_layers_of_a_stack_read_what_the_layers_below_wrote():
    stack = nn.Stack([cells.lstm(H), cells.gru(H)], X, bidirectional=True, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (B, T, X))
    found = nn.recurrences(stack, x, lengths=LENGTHS)
    assert list(found) == ["layers.0.forward", "layers.0.backward", "layers.1.forward", "layers.1.backward"]
    below = stack.layers[0](x, lengths=LENGTHS)
    mask = np.arange(T)[:, None] < np.asarray(LENGTHS)
    for name, (cell, params, xs, lengths) in found.items():
        assert lengths.tolist() == LENGTHS.tolist()
        read = x if ".0." in name else below
        np.testing.assert_array_equal(np.asarray(xs), np.asarray(jnp.moveaxis(read, 1, 0)))
        # What runs on these is what the module computes.
        run = recur.unroll(cell, params, xs, mask=mask, reverse=name.endswith("backward"))
        if ".1." in name:
            half = slice(0, H) if name.endswith("forward") else slice(H, None)
            expected = jnp.moveaxis(stack(x, lengths=LENGTHS)[..., half], 1, 0)
            np.testing.assert_allclose(np.asarray(run.outputs), np.asarray(expected), atol=1e-6)


def test_encoder_and_decoder_and_a_module_of_ones_own():
    options = {"hidden_size": H, "bidirectional": True, "attention": "general"}
    model = nn.EncoderDecoder(5, 6, cells.gru, **options, rngs=nnx.Rngs(0))
    source, target = jnp.ones((B, T), int), jnp.ones((B, T - 1), int)
    found = nn.recurrences(model, source, target, source_lengths=LENGTHS)
    names = ["encoder.layers.0.forward", "encoder.layers.0.backward", "decoder.layers.0"]
    assert list(found) == names
    assert found[names[0]].xs.shape == (T, B, 5)
    assert found[names[0]].lengths.tolist() == LENGTHS.tolist()
    assert found[names[2]].xs.shape == (T - 1, B, 6)
    assert found[names[2]].lengths is None

    class Twice(nnx.Module):
        def __init__(self):
            self.rnn = nn.RNN(cells.elman(X), X, rngs=nnx.Rngs(0))

        def __call__(self, x):
            return self.rnn(self.rnn(x))

    assert list(nn.recurrences(Twice(), jnp.ones((B, T, X)), lengths=LENGTHS)) == ["rnn", "rnn#2"]
    assert list(nn.recurrences(nn.RNN(cells.elman(H), X, rngs=nnx.Rngs(0)), jnp.ones((B, T, X)))) == ["rnn"]


def test_a_module_without_recurrence_is_refused():
    with pytest.raises(ValueError, match="module: expected one that runs a layer"):
        nn.recurrences(nnx.Linear(X, H, rngs=nnx.Rngs(0)), jnp.ones((B, X)))
