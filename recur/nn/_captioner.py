"""One vector to a sequence, such as an image to its description."""

from typing import Any

import jax.numpy as jnp
from flax import nnx

from recur._checks import as_array, check_floating, check_positive, is_one_of
from recur._types import Array, Float, Int, Key, State
from recur.cells import output_size
from recur.engines import Auto, Engine
from recur.nn._cells import CellOrFactory, layer_cells
from recur.nn._dropout import drop, fold_key
from recur.nn._embed import Vocabulary
from recur.nn._initial_state import InitialState
from recur.nn._layout import carried_dtype, length_mask
from recur.nn._recurrent_dropout import RecurrentDropout
from recur.nn._stack import Stack

CONDITIONINGS = ("state", "input", "both")


class Captioner(nnx.Module):
    """Predicts a sequence of tokens from one vector.

        h_1..h_T = layers(x),   logits_t = W h_t + b
        "state"  x_t = embed(y_{t-1}),          begins with states tanh(W' v + b') made from the vector v
        "input"  x_t = [embed(y_{t-1}), v],     begins with zeros
        "both"   x_t = [embed(y_{t-1}), v],     begins with states made from v

    Args:
        vector_size: Features Z of the vector: those of an encoder, or an image's pixels.
        vocabulary_size: Tokens V.
        cell: A cell for every layer, or a factory such as ``recur.cells.lstm`` beside `hidden_size`.
        hidden_size: Units H of a layer; None beside a cell.
        layers: How many, one above the other.
        embedding_size: Features E that a token is embedded in; None for one-hot vectors.
        conditioning: ``"state"``, ``"input"`` or ``"both"``.
        tied: Whether W is the table of the embedding (E = H then), looked up with scale sqrt(E).
        dropout: Probability that an entry is dropped out of the embedding (not of one-hot vectors), on its way into a
            layer above, or into the readout. It acts in calls with a `key`.
        recurrent_dropout: What is dropped of every recurrence in calls with a `key` (see `RNN`).
        rngs: Draws the parameters; it is not kept.
        engine: How to run the cells over time.
        dtype: Of the parameters. States and logits are float32 or wider.

    Attributes:
        vocabulary: Embedding and readout.
        stack: The layers.
        begin: The `InitialState`, or None for ``"input"``.

    Raises:
        TypeError: A cell, `rngs` or dtype of the wrong kind.
        ValueError: A size below 1, missing or given twice, dropout outside [0, 1) or of what a cell lacks, an unknown
            conditioning, or a table that cannot be tied.

    Reference:
        Karpathy and Fei-Fei (2015), "Deep visual-semantic alignments for generating image descriptions",
        https://arxiv.org/abs/1412.2306. Tanti et al. (2018), "Where to put the image in an image caption generator",
        https://arxiv.org/abs/1703.09137 (the ways compared).

    Example:
        Images of 64 pixels, described in 30 characters, of which 1 begins a caption and 2 ends it::

            model = nn.Captioner(64, 30, cells.gru, hidden_size=128, rngs=nnx.Rngs(0))
            loss = model.loss(images, captions[:, :-1], captions[:, 1:], lengths=lengths)
            step, start = functools.partial(model.step, images), jnp.ones(len(images), int)
            found = nn.greedy(step, model.initial_state(images), start, max_length=20, end=2)
    """

    def __init__(
        self,
        vector_size: int,
        vocabulary_size: int,
        cell: CellOrFactory,
        *,
        hidden_size: int | None = None,
        layers: int = 1,
        embedding_size: int | None = None,
        conditioning: str = "state",
        tied: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float | RecurrentDropout = 0.0,
        rngs: nnx.Rngs,
        engine: Engine = Auto(),
        dtype: Any = jnp.float32,
    ) -> None:
        if not is_one_of(conditioning, CONDITIONINGS):
            raise ValueError(f"conditioning: expected one of {list(CONDITIONINGS)}, got {conditioning!r}")
        self.vector_size = check_positive("vector_size", vector_size)
        self.conditioning = conditioning
        cells = layer_cells(cell, hidden_size, layers)
        made = {"rngs": rngs, "dtype": dtype}
        self.vocabulary = Vocabulary(
            vocabulary_size, embedding_size, output_size(cells[-1]), tied=tied, dropout=dropout, **made
        )
        input_size = self.vocabulary.embedding.output_size + (0 if conditioning == "state" else vector_size)
        run = {"dropout": dropout, "recurrent_dropout": recurrent_dropout, "engine": engine}
        self.stack = Stack(cells, input_size, **run, **made)
        self.begin = None if conditioning == "input" else InitialState(vector_size, self.stack, **made)

    def __call__(
        self,
        vector: Float[Array, "*B Z"],
        ids: Int[Array, "*B T"],
        *,
        lengths: Int[Array, "*B"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "*B T V"]:
        """Runs the model over tokens that are known.

        Args:
            vector: What to describe.
            ids: A start mark, and the tokens without the last one.
            lengths: Tokens that count, from the first, 0 to T. What comes of the others means nothing.
            key: Draws what is dropped. Without it nothing is dropped (evaluation).

        Returns:
            Logits of each token's successor.

        Raises:
            TypeError: An array or key of the wrong kind or dtype.
            ValueError: A wrong rank, shape or length.
        """
        return self.vocabulary.logits(self._run(vector, ids, lengths, key))

    def loss(
        self,
        vector: Float[Array, "*B Z"],
        ids: Int[Array, "*B T"],
        labels: Int[Array, "*B T"],
        *,
        lengths: Int[Array, "*B"] | None = None,
        label_smoothing: float = 0.0,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, ""]:
        """Returns the mean cross-entropy of `labels`, each token's successor, in nats a token that counts.

        What `nn.cross_entropy` makes of the logits, without holding them all (see `nn.readout_cross_entropy`). The
        other arguments are those of a call.
        """
        hidden = self._run(vector, ids, lengths, key)
        mask = None if lengths is None else length_mask(lengths, hidden.shape[:-1])
        return self.vocabulary.loss(hidden, labels, mask=mask, label_smoothing=label_smoothing)

    def initial_state(self, vector: Float[Array, "*B Z"]) -> tuple[State, ...]:
        """Returns the state before the start mark."""
        vector = self._check(vector)
        if self.begin is None:
            return self.stack.initial_state(vector.shape[:-1], carried_dtype(self.stack))
        return self.begin(vector, self.stack)

    def step(
        self, vector: Float[Array, "*B Z"], state: tuple[State, ...], token: Int[Array, "*B"]
    ) -> tuple[Float[Array, "*B V"], tuple[State, ...]]:
        """Reads one token: ``(logits of the next one, next state)``.

        ``functools.partial(model.step, vector)`` is what `nn.greedy` and its like want.
        """
        x = self.vocabulary.embedding(token)
        if self.conditioning != "state":
            x = jnp.concatenate([x, self._check(vector)], axis=-1)
        state, hidden = self.stack.step(state, x)
        return self.vocabulary.logits(hidden), state

    def _run(self, vector, ids, lengths, key):
        vector = self._check(vector)
        x = self.vocabulary.embedding(ids, key=fold_key(key, 0))
        if self.conditioning != "state":
            every = jnp.broadcast_to(vector[..., None, :], (*x.shape[:-1], self.vector_size))
            x = jnp.concatenate([x, every], axis=-1)
        start = self.initial_state(vector)
        hidden = self.stack(x, initial_state=start, lengths=lengths, key=fold_key(key, 1))
        return drop(fold_key(key, 2), hidden, self.stack.dropout)

    def _check(self, vector: Any) -> Float[Array, "*B Z"]:
        vector = as_array("vector", vector)
        check_floating("vector", vector, "give features, such as vector / 255")
        if vector.ndim < 1 or vector.shape[-1] != self.vector_size:
            raise ValueError(f"vector: expected {self.vector_size} features (last axis), got shape {vector.shape}")
        return vector
