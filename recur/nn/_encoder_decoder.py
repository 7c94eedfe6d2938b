"""From one sequence to another: an encoder, a decoder, and attention between them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from recur._checks import is_one_of
from recur._types import Array, Bool, Float, Int, Key, State
from recur.cells import Cell, output_size
from recur.engines import Auto, Engine
from recur.nn._attention import Attention
from recur.nn._cells import CellOrFactory, layer_cells
from recur.nn._dropout import drop, fold_key
from recur.nn._embed import Embedding, Vocabulary
from recur.nn._initial_state import InitialState
from recur.nn._layout import as_ids, carried_dtype, length_mask, read_sequences
from recur.nn._recurrent_dropout import RecurrentDropout
from recur.nn._stack import Stack

FEEDINGS = (None, "input", "context")


class Memory(NamedTuple):
    """What a decoder knows of its sources; it does not change while it decodes.

    Args:
        values: The encoder's outputs ``[*B, S, M]``, zero where a token does not count.
        keys: What the attention makes of them ``[*B, S, H]``.
        mask: False where a token does not count ``[*B, S]``.
        state: That the decoder begins with, one entry a layer.
    """

    values: Float[Array, "*B S M"]
    keys: Float[Array, "*B S H"]
    mask: Bool[Array, "*B S"]
    state: tuple[State, ...]


class DecoderState(NamedTuple):
    """What changes while a decoder decodes.

    Args:
        layers: One state a layer.
        attended: The attentional vector of the step before ``[*B, A]``; None unless it is fed back.
    """

    layers: tuple[State, ...]
    attended: Float[Array, "*B A"] | None


class EncoderDecoder(nnx.Module):
    """Predicts a target sequence from a source, attending to all of it at every step.

        m_1..m_S = encoder(embed(source)),   h_t = decoder step on x_t,   c_t = attention(h_t, m)
        a_t = tanh(W [c_t, h_t] + b),        logits_t = W' a_t + b'

    `feeding` says what the decoder reads, and so whether attention can wait until the recurrence is done:

        None        x_t = embed(y_{t-1})               all steps at once: one unroll, then one attention
        "input"     x_t = [embed(y_{t-1}), a_{t-1}]    step by step (Luong's input feeding)
        "context"   x_t = [embed(y_{t-1}), c_t],       step by step (Bahdanau), with c_t = attention(h_{t-1}, m)

    The decoder begins with the encoder's last states where they fit its own, both directions of a bidirectional
    encoder concatenated (which fit if the encoder's cells have half the size), and else with dense maps of the
    encoder's last output (`InitialState`).

    Args:
        source_size: Tokens of the source vocabulary.
        target_size: Tokens V of the target vocabulary.
        cell: A cell for every layer of the decoder, or a factory such as ``recur.cells.lstm`` beside `hidden_size`.
        hidden_size: Units H of a layer; None beside a cell.
        layers: How many layers the encoder and the decoder have each.
        encoder_cell: A cell for the encoder, or a factory beside `encoder_hidden_size`; by default that of the decoder.
        encoder_hidden_size: Units of an encoder layer, in each direction; by default `hidden_size`. None beside a cell.
        embedding_size: Features E that tokens are embedded in, on both sides; None for one-hot vectors.
        bidirectional: Whether the encoder runs in both directions, outputs concatenated.
        attention: ``"dot"``, ``"general"`` (both multiplicative) or ``"additive"`` (see `Attention`).
        feeding: None, ``"input"`` or ``"context"``. Bahdanau's model is ``"additive"`` with ``"context"``.
        tied: Whether W' is the table of the target embedding, looked up with scale sqrt(E); a_t then has E features,
            otherwise H.
        dropout: Probability that an entry is dropped out of an embedding (not of one-hot vectors), on its way into a
            layer above, or out of a_t into the readout. It acts in calls with a `key`.
        recurrent_dropout: What is dropped of every recurrence in calls with a `key` (see `RNN`).
        rngs: Draws the parameters; it is not kept.
        engine: How to run the cells over time, where they are not run step by step.
        dtype: Of the parameters. States and logits are float32 or wider.

    Attributes:
        source_embedding: The `Embedding` of the source.
        encoder: Its layers.
        vocabulary: Embedding and readout of the target.
        decoder: Its layers.
        attention: The `Attention`.
        combine: `nnx.Linear` that makes a_t.
        bridge: The `InitialState`, or None where the encoder's states fit.

    Raises:
        TypeError: A cell, `rngs` or dtype of the wrong kind.
        ValueError: A size below 1, missing or given twice, dropout outside [0, 1) or of what a cell lacks, an unknown
            attention or feeding, sizes that ``"dot"`` cannot compare, or a table that cannot be tied.

    Reference:
        Sutskever et al. (2014), "Sequence to sequence learning with neural networks",
        https://arxiv.org/abs/1409.3215. Luong et al. (2015), https://arxiv.org/abs/1508.04025, equations 5 to 8 and
        section 3.3. Bahdanau et al. (2015), https://arxiv.org/abs/1409.0473; its readout is a maxout of h_t, c_t and
        y_{t-1} instead of a_t.

    Example:
        Sentences of 8,000 words in one language to 6,000 in another, of which 1 begins a sentence and 2 ends it::

            model = nn.EncoderDecoder(
                8000, 6000, cells.lstm, hidden_size=256, embedding_size=256, tied=True, dropout=0.3, rngs=nnx.Rngs(0))
            loss = model.loss(
                source, target[:, :-1], target[:, 1:], source_lengths=lengths, target_lengths=target_lengths, key=key)

            @nnx.jit
            def translate(model, source, lengths):
                memory = model.encode(source, lengths=lengths)
                step, start = functools.partial(model.step, memory), jnp.ones(len(source), int)
                return nn.beam_search(
                    step, model.initial_state(memory), start, beam_size=5, max_length=50, end=2, alpha=0.6)
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        cell: CellOrFactory,
        *,
        hidden_size: int | None = None,
        layers: int = 1,
        encoder_cell: CellOrFactory | None = None,
        encoder_hidden_size: int | None = None,
        embedding_size: int | None = None,
        bidirectional: bool = False,
        attention: str = "dot",
        feeding: str | None = None,
        tied: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float | RecurrentDropout = 0.0,
        rngs: nnx.Rngs,
        engine: Engine = Auto(),
        dtype: Any = jnp.float32,
    ) -> None:
        if not is_one_of(feeding, FEEDINGS):
            raise ValueError(f"feeding: expected one of {list(FEEDINGS)}, got {feeding!r}")
        cells = layer_cells(cell, hidden_size, layers)
        encoder_cell = cell if encoder_cell is None else encoder_cell
        if encoder_hidden_size is None and not isinstance(encoder_cell, Cell):
            encoder_hidden_size = hidden_size
        encoder_cells = layer_cells(encoder_cell, encoder_hidden_size, layers)
        made = {"rngs": rngs, "dtype": dtype}
        layered = {"dropout": dropout, "recurrent_dropout": recurrent_dropout, "engine": engine, **made}
        self.feeding = feeding
        self.source_embedding = Embedding(source_size, embedding_size, dropout=dropout, **made)
        self.encoder = Stack(encoder_cells, self.source_embedding.output_size, bidirectional=bidirectional, **layered)
        memory_size, width = self.encoder.output_size, output_size(cells[-1])
        attended_size = embedding_size if tied and embedding_size is not None else width
        self.vocabulary = Vocabulary(target_size, embedding_size, attended_size, tied=tied, dropout=dropout, **made)
        fed_size = {None: 0, "input": attended_size, "context": memory_size}[feeding]
        self.decoder = Stack(cells, self.vocabulary.embedding.output_size + fed_size, **layered)
        self.attention = Attention(width, memory_size, score=attention, **made)
        self.combine = nnx.Linear(memory_size + width, attended_size, rngs=rngs, param_dtype=dtype)
        given = jax.eval_shape(lambda: _join(self.encoder, self.encoder.initial_state()))
        fits = _shapes(given) == _shapes(jax.eval_shape(self.decoder.initial_state))
        self.bridge = None if fits else InitialState(memory_size, self.decoder, **made)

    def __call__(
        self,
        source: Int[Array, "*B S"],
        target: Int[Array, "*B T"],
        *,
        source_lengths: Int[Array, "*B"] | None = None,
        target_lengths: Int[Array, "*B"] | None = None,
        return_attention: bool = False,
        key: Key[Array, ""] | None = None,
    ) -> Any:
        """Runs the model over targets that are known (teacher forcing).

        Args:
            source: Tokens to attend to.
            target: What the decoder reads: a start mark, and the target without its last token.
            source_lengths: Source tokens that count, from the first, 0 to S. The others get no attention.
            target_lengths: Target tokens that count. What comes of the others means nothing.
            return_attention: Whether to return ``(logits, weights)``, the weights ``[*B, T, S]`` of the source tokens.
            key: Draws what is dropped. Without it nothing is dropped (evaluation).

        Returns:
            Logits of each target token's successor, ``[*B, T, V]``.

        Raises:
            TypeError: An array or key of the wrong kind or dtype.
            ValueError: A wrong rank, shape or length.
        """
        attended, weights = self._run(source, target, source_lengths, target_lengths, key)
        logits = self.vocabulary.logits(attended)
        return (logits, weights) if return_attention else logits

    def loss(
        self,
        source: Int[Array, "*B S"],
        target: Int[Array, "*B T"],
        labels: Int[Array, "*B T"],
        *,
        source_lengths: Int[Array, "*B"] | None = None,
        target_lengths: Int[Array, "*B"] | None = None,
        label_smoothing: float = 0.0,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, ""]:
        """Returns the mean cross-entropy of `labels`, each target token's successor, in nats a token that counts.

        What `nn.cross_entropy` makes of the logits, without holding them all (see `nn.readout_cross_entropy`). The
        other arguments are those of a call.
        """
        attended, _ = self._run(source, target, source_lengths, target_lengths, key)
        mask = None if target_lengths is None else length_mask(target_lengths, attended.shape[:-1])
        return self.vocabulary.loss(attended, labels, mask=mask, label_smoothing=label_smoothing)

    def encode(
        self,
        source: Int[Array, "*B S"],
        *,
        lengths: Int[Array, "*B"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Memory:
        """Runs the encoder; its arguments are those of a call."""
        x = self.source_embedding(source, key=fold_key(key, 0))
        sequences = read_sequences(x, self.encoder.input_size, mask=None, lengths=lengths, reset=None)
        result = self.encoder.run(sequences, key=fold_key(key, 1))
        values = jnp.moveaxis(result.outputs, 0, -2)
        mask = jnp.ones(x.shape[:-1], bool) if sequences.mask is None else jnp.moveaxis(sequences.mask, 0, -1)
        given = _join(self.encoder, result.state) if self.bridge is None else self.bridge(result.last, self.decoder)
        return Memory(values, self.attention.keys(values), mask, given)

    def initial_state(self, memory: Memory) -> DecoderState:
        """Returns the decoder's state before the start mark."""
        if self.feeding != "input":
            return DecoderState(memory.state, None)
        shape = (*memory.mask.shape[:-1], self.combine.out_features)
        return DecoderState(memory.state, jnp.zeros(shape, carried_dtype(self.decoder)))

    def step(
        self, memory: Memory, state: DecoderState, token: Int[Array, "*B"]
    ) -> tuple[Float[Array, "*B V"], DecoderState]:
        """Reads one target token: ``(logits of the next one, next state)``.

        ``functools.partial(model.step, memory)`` is what `nn.greedy` and its like want.
        """
        state, attended, _ = self._advance(memory, state, self.vocabulary.embedding(token), None)
        return self.vocabulary.logits(attended), state

    def _run(self, source, target, source_lengths, target_lengths, key):
        """Returns the attentional vectors of all steps, as the readout gets them, and the attention weights."""
        memory = self.encode(source, lengths=source_lengths, key=fold_key(key, 0))
        target = as_ids("target", target)
        x = self.vocabulary.embedding(target, key=fold_key(key, 1))
        if self.feeding is None:
            hidden = self.decoder(x, initial_state=memory.state, lengths=target_lengths, key=fold_key(key, 2))
            attended, weights = self._attend(hidden, memory)
        else:
            if target_lengths is not None:
                # A padded step comes after those that count; it only must not bring a NaN into their gradients.
                x = jnp.where(length_mask(target_lengths, target.shape)[..., None], x, 0)
            attended, weights = self._step_by_step(memory, x, fold_key(key, 2))
        return drop(fold_key(key, 3), attended, self.decoder.dropout), weights

    def _step_by_step(self, memory: Memory, x: Float[Array, "*B T E"], key: Key[Array, ""] | None):
        def body(state: DecoderState, inputs: tuple) -> tuple[DecoderState, tuple]:
            x, place = inputs
            state, attended, weights = self._advance(memory, state, x, key, place)
            return state, (attended, weights)

        steps = jnp.moveaxis(x, -2, 0), jnp.arange(x.shape[-2])
        _, outputs = jax.lax.scan(body, self.initial_state(memory), steps)
        return tuple(jnp.moveaxis(leaf, 0, -2) for leaf in outputs)

    def _advance(
        self,
        memory: Memory,
        state: DecoderState,
        x: Float[Array, "*B E"],
        key: Key[Array, ""] | None,
        place: Int[Array, ""] | None = None,
    ):
        """Takes one step of the decoder: ``(next state, its attentional vector, its attention weights)``."""
        if self.feeding == "context":
            before = self.decoder.cell.output(state.layers)
            context, weights = self._look(before, memory)
            x = jnp.concatenate([x, context], axis=-1)
            layers, hidden = self.decoder.step(state.layers, x, key=key, place=place)
            return DecoderState(layers, None), self._combine(context, hidden), weights
        if self.feeding == "input":
            x = jnp.concatenate([x, state.attended], axis=-1)
        layers, hidden = self.decoder.step(state.layers, x, key=key, place=place)
        context, weights = self._look(hidden, memory)
        attended = self._combine(context, hidden)
        return DecoderState(layers, attended if self.feeding == "input" else None), attended, weights

    def _attend(self, hidden: Float[Array, "*B T H"], memory: Memory):
        context, weights = self.attention(hidden, memory.values, memory.keys, memory.mask)
        return self._combine(context, hidden), weights

    def _look(self, query: Float[Array, "*B H"], memory: Memory):
        context, weights = self.attention(query[..., None, :], memory.values, memory.keys, memory.mask)
        return context[..., 0, :], weights[..., 0, :]

    def _combine(self, context: Float[Array, "*A M"], hidden: Float[Array, "*A H"]) -> Float[Array, "*A W"]:
        return jnp.tanh(self.combine(jnp.concatenate([context, hidden], axis=-1)))


def _join(encoder: Stack, states: tuple) -> tuple[State, ...]:
    """Returns an encoder's states as those of one direction: both, array by array, side by side."""
    if not encoder.bidirectional:
        return states
    return tuple(
        jax.tree.map(lambda forward, backward: jnp.concatenate([forward, backward], axis=-1), *both) for both in states
    )


def _shapes(tree: Any) -> tuple:
    return jax.tree.structure(tree), [leaf.shape for leaf in jax.tree.leaves(tree)]
