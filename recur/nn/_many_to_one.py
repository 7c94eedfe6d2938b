"""One prediction for a whole sequence."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import nnx

from recur._checks import check_bool, check_positive, is_one_of
from recur._types import Array, Bool, Float, Int, Key, PyTree
from recur.engines import Auto, Engine
from recur.nn._cells import CellOrFactory, layer_cells
from recur.nn._dropout import drop, fold_key
from recur.nn._embed import Embedding
from recur.nn._layout import carried_dtype, length_mask
from recur.nn._recurrent_dropout import RecurrentDropout
from recur.nn._stack import Stack

POOLINGS = ("last", "mean", "max")


class PoolState(NamedTuple):
    """What a stream carries on: the layers' states, and what is pooled of their outputs so far.

    Args:
        layers: One state a layer.
        pooled: Sum or maximum of the outputs, ``[*B, H]``; None where the last output alone counts.
        count: Steps so far ``[*B, 1]``; None unless the mean is taken.
    """

    layers: PyTree
    pooled: Float[Array, "*B H"] | None
    count: Float[Array, "*B 1"] | None


class _ManyToOne(nnx.Module):
    """Layers over tokens or features, pooled over time, and a linear readout."""

    def __init__(
        self,
        output_size: int,
        cell: CellOrFactory,
        *,
        input_size: int | None = None,
        vocabulary_size: int | None = None,
        embedding_size: int | None = None,
        hidden_size: int | None = None,
        layers: int = 1,
        bidirectional: bool = False,
        pooling: str = "last",
        dropout: float = 0.0,
        recurrent_dropout: float | RecurrentDropout = 0.0,
        rngs: nnx.Rngs,
        engine: Engine = Auto(),
        dtype: Any = jnp.float32,
    ) -> None:
        if (input_size is None) == (vocabulary_size is None):
            raise ValueError(
                f"input_size: expected it, for features, or vocabulary_size, for tokens, got {input_size} and "
                f"{vocabulary_size}; give one of them"
            )
        if vocabulary_size is None and embedding_size is not None:
            raise ValueError(f"embedding_size: expected None without vocabulary_size, got {embedding_size}")
        if not is_one_of(pooling, POOLINGS):
            raise ValueError(f"pooling: expected one of {list(POOLINGS)}, got {pooling!r}")
        made = {"dropout": dropout, "rngs": rngs, "dtype": dtype}
        self.pooling = pooling
        self.embedding = None if vocabulary_size is None else Embedding(vocabulary_size, embedding_size, **made)
        input_size = input_size if self.embedding is None else self.embedding.output_size
        cells = layer_cells(cell, hidden_size, layers)
        made |= {"bidirectional": bidirectional, "recurrent_dropout": recurrent_dropout, "engine": engine}
        self.stack = Stack(cells, input_size, **made)
        self.readout = nnx.Linear(self.stack.output_size, output_size, rngs=rngs, param_dtype=dtype)

    def __call__(
        self,
        x: Float[Array, "*B T X"] | Int[Array, "*B T"],
        *,
        mask: Bool[Array, "*B T"] | None = None,
        lengths: Int[Array, "*B"] | None = None,
        return_sequences: bool = False,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "*B Y"]:
        """Predicts from whole sequences.

        Args:
            x: Features, or with `vocabulary_size` tokens ``[*B, T]``.
            mask: False where a step does not count, wherever it stands.
            lengths: In place of `mask`: the steps that count, from the first, 0 to T.
            return_sequences: Whether to predict after every step, as if the sequence ended there: for ``"last"``
                pooling of forward layers.
            key: Draws what is dropped. Without it nothing is dropped (evaluation).

        Returns:
            Predictions ``[*B, Y]``, Y being classes or targets; ``[*B, T, Y]`` with `return_sequences`.

        Raises:
            TypeError: An array or key of the wrong kind or dtype.
            ValueError: A wrong rank, shape or length, both `mask` and `lengths`, or sequences that are not there.
        """
        if check_bool("return_sequences", return_sequences) and (self.pooling != "last" or self.stack.bidirectional):
            raise ValueError(
                f"return_sequences: expected False, since no step before the last one knows the prediction of "
                f"pooling={self.pooling!r}, bidirectional={self.stack.bidirectional}; take 'last' and forward layers"
            )
        x = x if self.embedding is None else self.embedding(x, key=fold_key(key, 0))
        hidden = self.stack(
            x,
            mask=mask,
            lengths=lengths,
            return_sequences=return_sequences or self.pooling != "last",
            key=fold_key(key, 1),
        )
        if self.pooling != "last":
            if lengths is not None:
                mask = length_mask(lengths, hidden.shape[:-1])
            hidden = _pool(self.pooling, hidden, jnp.ones(hidden.shape[:-1], bool) if mask is None else mask)
        return self.readout(drop(fold_key(key, 2), hidden, self.stack.dropout))

    def initial_state(self, batch_shape: tuple[int, ...] = ()) -> PoolState:
        """Returns the state of a stream before its first step."""
        dtype = carried_dtype(self.stack)
        layers, shape = self.stack.initial_state(batch_shape, dtype), (*batch_shape, self.stack.output_size)
        if self.pooling == "last":
            return PoolState(layers, None, None)
        if self.pooling == "max":
            return PoolState(layers, jnp.full(shape, -jnp.inf, dtype), None)
        return PoolState(layers, jnp.zeros(shape, dtype), jnp.zeros((*batch_shape, 1), dtype))

    def step(
        self, state: PoolState, x: Float[Array, "*B X"] | Int[Array, "*B"]
    ) -> tuple[Float[Array, "*B Y"], PoolState]:
        """Reads one step of a stream: ``(prediction, next state)``, as if the sequence ended there.

        Raises:
            ValueError: Bidirectional layers.
        """
        x = x if self.embedding is None else self.embedding(x)
        layers, hidden = self.stack.step(state.layers, x)
        if self.pooling == "last":
            return self.readout(hidden), PoolState(layers, None, None)
        if self.pooling == "max":
            pooled = jnp.maximum(state.pooled, hidden)
            return self.readout(pooled), PoolState(layers, pooled, None)
        pooled, count = state.pooled + hidden, state.count + 1
        return self.readout(pooled / count), PoolState(layers, pooled, count)


def _pool(pooling: str, outputs: Float[Array, "*B T H"], mask: Bool[Array, "*B T"]) -> Float[Array, "*B H"]:
    """Pools the outputs that count; of a sequence without any, zeros."""
    if pooling == "mean":
        return jnp.sum(outputs, axis=-2) / jnp.maximum(jnp.sum(mask, axis=-1, keepdims=True), 1)
    greatest = jnp.max(jnp.where(mask[..., None], outputs, -jnp.inf), axis=-2, initial=-jnp.inf)
    return jnp.where(jnp.any(mask, axis=-1, keepdims=True), greatest, 0)


class SequenceClassifier(_ManyToOne):
    """Tells the class of a sequence.

        h_1..h_T = layers(x),   logits = W pool(h) + b

    Args:
        classes: How many, K.
        cell: A cell for every layer, or a factory such as ``recur.cells.lstm`` beside `hidden_size`.
        input_size: Features X of a step, where these are features.
        vocabulary_size: Tokens V, where a step is a token; one of both is given.
        embedding_size: Features E that a token is embedded in; None for one-hot vectors.
        hidden_size: Units H of a layer; None beside a cell.
        layers: How many, one above the other.
        bidirectional: Whether every layer runs in both directions, outputs concatenated.
        pooling: ``"last"``: the output after the last step that counts (of the backward direction, after the first
            one); ``"mean"`` or ``"max"`` over those that count.
        dropout: Probability that an entry is dropped out of the embedding (not of one-hot vectors), on its way into
            a layer above, or into the readout. It acts in calls with a `key`.
        recurrent_dropout: What is dropped of every recurrence in calls with a `key` (see `RNN`).
        rngs: Draws the parameters; it is not kept.
        engine: How to run the cells over time.
        dtype: Of the parameters. States and logits are float32 or wider.

    Attributes:
        embedding: The `Embedding`, or None.
        stack: The layers.
        readout: `nnx.Linear`.

    Raises:
        TypeError: A cell, `rngs` or dtype of the wrong kind.
        ValueError: Fewer than two classes, a size below 1, missing or given twice, an unknown pooling, dropout outside
            [0, 1) or of what a cell lacks.

    Example:
        Sentences ``[B, T]`` of 20,000 words to logits ``[B, 2]``::

            model = nn.SequenceClassifier(
                2, cells.lstm, hidden_size=64, vocabulary_size=20000, embedding_size=64, bidirectional=True,
                pooling="max", dropout=0.5, rngs=nnx.Rngs(0))
            logits = model(words, lengths=lengths, key=key)
    """

    def __init__(self, classes: int, cell: CellOrFactory, **options: Any) -> None:
        if check_positive("classes", classes) < 2:
            raise ValueError(f"classes: expected at least 2, got {classes}")
        super().__init__(classes, cell, **options)


class SequenceRegressor(_ManyToOne):
    """Predicts numbers from a sequence.

        h_1..h_T = layers(x),   y = W pool(h) + b

    With ``return_sequences=True`` it predicts after every step, such as the next value of a series.

    Args:
        targets: Numbers to predict, Y.
        cell: As in `SequenceClassifier`, and so are all options.
        **options: Those of `SequenceClassifier`.

    Attributes:
        embedding: The `Embedding`, or None.
        stack: The layers.
        readout: `nnx.Linear`.

    Raises:
        TypeError: As `SequenceClassifier`.
        ValueError: No targets, and as `SequenceClassifier`.

    Example:
        Windows ``[B, T, 3]`` to one number ``[B, 1]``::

            model = nn.SequenceRegressor(1, cells.gru, hidden_size=32, input_size=3, rngs=nnx.Rngs(0))
            predictions = model(windows)
    """

    def __init__(self, targets: int, cell: CellOrFactory, **options: Any) -> None:
        super().__init__(check_positive("targets", targets), cell, **options)
