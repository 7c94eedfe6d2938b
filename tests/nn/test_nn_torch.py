"""A bidirectional tagger, and an encoder with its decoder's attention, beside torch's own modules."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from model_oracle import compiled, drawn

from recur import cells, interop, nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.slow

V, K, S, T, H = 6, 4, 5, 3, 3
RNG = np.random.default_rng(0)
IDS, TARGET, LENGTHS = RNG.integers(0, V, (3, S)), RNG.integers(0, V, (3, T)), np.array([5, 2, 1])


def packed(lstm, x, lengths):
    """Runs a torch LSTM over padded sequences, and pads what comes with zeros."""
    each = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    outputs, state = lstm(each)
    return torch.nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True, total_length=x.shape[1])[0], state


def tensor(array):
    return torch.as_tensor(np.array(array))


def test_a_bidirectional_tagger_equals_torch():
    maker = functools.partial(nn.SequenceTagger, V, K, cells.lstm(H), embedding_size=2, layers=2)
    graph, params, tensors = drawn(maker, jnp.float32)
    found = compiled(lambda params: nnx.merge(graph, params)(IDS, lengths=LENGTHS))(params)
    lstm = interop.to_torch(nnx.merge(graph, params).stack)
    with torch.no_grad():
        outputs, _ = packed(lstm, tensor(tensors["embedding"]["table"])[tensor(IDS)], LENGTHS)
        expected = outputs @ tensor(tensors["readout"]["kernel"]) + tensor(tensors["readout"]["bias"])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_an_encoder_decoder_with_dot_attention_equals_torch():
    maker = functools.partial(nn.EncoderDecoder, V, V, cells.lstm(H), embedding_size=H, tied=True)
    graph, params, tensors = drawn(maker, jnp.float32)
    found = compiled(lambda params: nnx.merge(graph, params)(IDS, TARGET, source_lengths=LENGTHS))(params)
    model = nnx.merge(graph, params)
    source, table = tensor(tensors["source_embedding"]["table"]), tensor(tensors["vocabulary"]["embedding"]["table"])
    with torch.no_grad():
        memory, state = packed(interop.to_torch(model.encoder), source[tensor(IDS)], LENGTHS)
        hidden, _ = interop.to_torch(model.decoder)(table[tensor(TARGET)] * H**0.5, state)
        scores = torch.bmm(hidden, memory.transpose(1, 2))
        padding = torch.arange(S)[None] >= tensor(LENGTHS)[:, None]
        weights = torch.softmax(scores.masked_fill(padding[:, None], -torch.inf), dim=-1)
        both = torch.cat([torch.bmm(weights, memory), hidden], dim=-1)
        attended = torch.tanh(both @ tensor(tensors["combine"]["kernel"]) + tensor(tensors["combine"]["bias"]))
        expected = attended @ table.T + tensor(tensors["vocabulary"]["bias"])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
