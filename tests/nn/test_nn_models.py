"""What holds for every model: transformations, half precision, nothing but parameters. Traced only, not compiled."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from recur import cells, nn

GRU = cells.gru(2)
IDS, VECTORS, LENGTHS = np.ones((2, 3), int), np.ones((2, 3), np.float32), np.array([3, 1])
CHARACTERS = np.ones((2, 3, 4), int)
CALLS = {
    "language model": (
        functools.partial(nn.LanguageModel, 5, GRU, embedding_size=2, tied=True),
        lambda model, key: model.loss(IDS, IDS, lengths=LENGTHS, key=key),
    ),
    "regressor": (
        functools.partial(nn.SequenceRegressor, 1, GRU, input_size=3),
        lambda model, key: model(VECTORS[None], lengths=LENGTHS[1:], key=key),
    ),
    "classifier": (
        functools.partial(nn.SequenceClassifier, 2, GRU, vocabulary_size=5, embedding_size=3, pooling="max"),
        lambda model, key: model(IDS, lengths=LENGTHS, key=key),
    ),
    "tagger": (
        functools.partial(nn.SequenceTagger, 5, 2, GRU, embedding_size=3, alphabet_size=4, character_embedding_size=2),
        lambda model, key: model(IDS, CHARACTERS, lengths=LENGTHS, character_lengths=IDS, key=key),
    ),
    "encoder-decoder": (
        functools.partial(nn.EncoderDecoder, 5, 6, GRU, embedding_size=3, attention="additive", feeding="input"),
        lambda model, key: model.loss(IDS, IDS, IDS, source_lengths=LENGTHS, target_lengths=LENGTHS, key=key),
    ),
    "captioner": (
        functools.partial(nn.Captioner, 3, 5, GRU, embedding_size=2, conditioning="both"),
        lambda model, key: model.loss(VECTORS, IDS, IDS, lengths=LENGTHS, key=key),
    ),
    "frames": (
        functools.partial(nn.FrameClassifier, (3, 2), 5, GRU),
        lambda model, key: model(jnp.ones((2, 3, 3, 2)), lengths=LENGTHS, key=key),
    ),
}


FEW = ("language model", "classifier")


@pytest.mark.parametrize(
    "name", [*FEW, *(pytest.param(name, marks=pytest.mark.slow) for name in CALLS if name not in FEW)]
)
def test_seeds_by_vmap_gradients_by_jit_half_precision_and_only_parameters(name):
    maker, call = CALLS[name]
    fresh = lambda key, dtype=jnp.float32: maker(dropout=0.1, layers=2, rngs=nnx.Rngs(key), dtype=dtype)  # noqa: E731
    graph, params, rest = nnx.split(nnx.eval_shape(lambda: fresh(jax.random.key(0), jnp.bfloat16)), nnx.Param, ...)
    assert not jax.tree.leaves(rest)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.bfloat16)}

    def seed(key):
        params = nnx.split(fresh(key, jnp.bfloat16))[1]
        loss = lambda params: jnp.sum(call(nnx.merge(graph, params), key))  # noqa: E731
        return jax.jit(jax.value_and_grad(loss))(params)

    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 4))
    value, gradient = jax.eval_shape(jax.vmap(seed), keys)
    assert (value.shape, value.dtype) == ((4,), jnp.float32)
    for leaf, parameter in zip(jax.tree.leaves(gradient), jax.tree.leaves(params), strict=True):
        assert (leaf.shape, leaf.dtype) == ((4, *parameter.shape), parameter.dtype)
    by_nnx = nnx.eval_shape(lambda: nnx.jit(lambda model: call(model, None))(fresh(jax.random.key(0))))
    assert by_nnx.dtype == jnp.float32
