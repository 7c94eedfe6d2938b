"""Ids of any integers mean what int32 ones mean; whole numbers that 32 bits do not hold are refused, not wrapped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from recur import cells, interop, nn

NARROW = [np.uint8, np.int16, np.uint16, np.uint32]


@pytest.fixture(scope="module")
def model():
    return nn.LanguageModel(300, cells.gru, hidden_size=4, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("dtype", NARROW)
def test_loss_and_gradient_of_narrow_ids(model, dtype):
    ids = np.array([[3, 0, 255, 127], [1, 200, 128, 9]])
    graph, params = nnx.split(model)

    def loss(params, inputs, targets):
        return nnx.merge(graph, params).loss(inputs, targets)

    measure = jax.jit(jax.value_and_grad(loss))
    wanted = measure(params, ids[:, :-1].astype(np.int32), ids[:, 1:].astype(np.int32))
    got = measure(params, ids[:, :-1].astype(dtype), ids[:, 1:].astype(dtype))
    assert np.isfinite(wanted[0])
    jax.tree.map(np.testing.assert_array_equal, got, wanted)


@pytest.mark.parametrize("dtype", NARROW)
def test_one_hot_and_losses_of_many_classes(dtype):
    """300 classes are more than a byte counts: the gradient was one of other classes."""
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(5, 300)).astype(np.float32), np.array([0, 44, 255, 127, 1])
    hidden, table, bias = (rng.normal(size=shape).astype(np.float32) for shape in ((5, 3), (300, 3), (300,)))
    for call in (
        lambda ids: jax.grad(nn.cross_entropy)(logits, ids),
        lambda ids: nn.accuracy(logits, ids),
        lambda ids: jax.grad(lambda hidden: nn.readout_cross_entropy(hidden, table, bias, ids))(hidden),
        lambda ids: nn.Embedding(300, rngs=nnx.Rngs(0))(ids),
    ):
        np.testing.assert_array_equal(call(labels.astype(dtype)), call(labels.astype(np.int32)))


def test_labels_and_ids_outside_are_nan_of_any_dtype():
    logits = np.zeros((2, 200), np.float32)
    for label in (np.int8(-1), np.uint8(200), np.int16(-200), np.uint32(2**32 - 1), np.int64(2**31 - 1)):
        assert np.isnan(nn.cross_entropy(logits, np.array([label, 3], label.dtype)))
        assert np.isnan(nn.Embedding(200, 2, rngs=nnx.Rngs(0))(np.array([label]))).all()


def test_tokens_follow_each_other_beyond_the_dtype_of_the_first():
    def step(state, token):
        return 9 * jax.nn.one_hot(token.astype(jnp.int32) + 1, 300), state

    wanted, start = [253, 254, 255, 256, 257], jnp.array([252], jnp.uint8)
    assert nn.greedy(step, jnp.zeros(1), start, max_length=5).tokens[0].tolist() == wanted
    found = nn.beam_search(step, jnp.zeros((1, 1)), start, beam_size=2, max_length=5)
    assert found.tokens[0, 0].tolist() == wanted
    assert [int(token[0]) for token, _ in nn.stream(step, jnp.zeros(1), start, max_length=5)] == wanted


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_numbers_beyond_32_bits_are_refused(dtype):
    large = np.array([2**32 + 1], dtype)
    rnn = nn.RNN(cells.gru(2), 2, rngs=nnx.Rngs(0))
    for name, call in {
        "ids": lambda: nn.Embedding(3, 2, rngs=nnx.Rngs(0))(large),
        "labels": lambda: nn.cross_entropy(np.zeros((1, 3), np.float32), large),
        "lengths": lambda: rnn(np.ones((1, 3, 2), np.float32), lengths=large),
    }.items():
        with pytest.raises(ValueError, match=f"{name}: expected numbers that u?int32 holds, got 4294967297"):
            call()


def test_big_endian_sequences_are_converted():
    rnn, x = nn.RNN(cells.gru(2), 2, rngs=nnx.Rngs(0)), np.arange(6, dtype=np.float32).reshape(1, 3, 2)
    np.testing.assert_array_equal(rnn(x.astype(">f4")), rnn(x))
    np.testing.assert_array_equal(rnn(x, lengths=np.array([2], ">i4")), rnn(x, lengths=np.array([2])))
    weights = {"weight_ih_l0": np.arange(8.0).reshape(4, 2), "weight_hh_l0": np.ones((4, 4))}
    found, wanted = (
        interop.from_torch({name: array.astype(dtype) for name, array in weights.items()}, nonlinearity="tanh")
        for dtype in (">f4", "f4")
    )
    np.testing.assert_array_equal(found(x), wanted(x))
