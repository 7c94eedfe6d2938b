"""Predicts the next token from those before."""

from typing import Any

import jax.numpy as jnp
from flax import nnx

from recur._types import Array, Bool, Float, Int, Key, State
from recur.cells import output_size
from recur.engines import Auto, Engine
from recur.nn._cells import CellOrFactory, layer_cells
from recur.nn._dropout import check_rate, drop, fold_key
from recur.nn._embed import Vocabulary
from recur.nn._layout import carried_dtype, length_mask
from recur.nn._recurrent_dropout import RecurrentDropout
from recur.nn._stack import Stack


class LanguageModel(nnx.Module):
    """Predicts, at every step, the next token of a sequence from those up to that step.

        h_1..h_T = layers(embed(ids)),   logits_t = W h_t + b

    Args:
        vocabulary_size: Tokens V.
        cell: A cell for every layer, or a factory such as ``recur.cells.lstm`` beside `hidden_size`.
        hidden_size: Units H of a layer; None beside a cell.
        layers: How many, one above the other.
        embedding_size: Features E that a token is embedded in; None for one-hot vectors.
        tied: Whether W is the table of the embedding (E = H then), looked up with scale sqrt(E).
        dropout: Probability that an entry is dropped on its way into a layer above, out of the embedding (not of
            one-hot vectors) or out of the last layer. It acts in calls with a `key`.
        embedding_dropout: That of the embedding's vectors alone; None for `dropout`.
        recurrent_dropout: What is dropped of every recurrence in calls with a `key` (see `RNN`).
        rngs: Draws the parameters; it is not kept.
        engine: How to run the cells over time.
        dtype: Of the parameters. States and logits are float32 or wider.

    Attributes:
        vocabulary: Embedding and readout: ``vocabulary.embedding.table`` ``[V, E]``, ``vocabulary.bias`` ``[V]`` and,
            unless tied, ``vocabulary.table`` ``[V, H]``.
        stack: The layers.

    Raises:
        TypeError: A cell, `rngs` or dtype of the wrong kind.
        ValueError: A size below 1, missing or given twice, dropout outside [0, 1), or of something that the cell
            has not, or a table that cannot be tied.

    Reference:
        Mikolov et al. (2010), "Recurrent neural network based language model",
        https://doi.org/10.21437/Interspeech.2010-343. Zaremba et al. (2014), "Recurrent neural network
        regularization", https://arxiv.org/abs/1409.2329 (where dropout acts).

    Example:
        >>> import jax, jax.numpy as jnp, recur
        >>> from flax import nnx
        >>> model = recur.nn.LanguageModel(5, recur.cells.gru, hidden_size=4, rngs=nnx.Rngs(0))
        >>> logits, state = jax.eval_shape(lambda: model(jnp.zeros((2, 3), int), return_state=True))
        >>> logits.shape, jax.eval_shape(model.step, state, jnp.zeros(2, int))[0].shape
        ((2, 3, 5), (2, 5))
    """

    def __init__(
        self,
        vocabulary_size: int,
        cell: CellOrFactory,
        *,
        hidden_size: int | None = None,
        layers: int = 1,
        embedding_size: int | None = None,
        tied: bool = False,
        dropout: float = 0.0,
        embedding_dropout: float | None = None,
        recurrent_dropout: float | RecurrentDropout = 0.0,
        rngs: nnx.Rngs,
        engine: Engine = Auto(),
        dtype: Any = jnp.float32,
    ) -> None:
        cells = layer_cells(cell, hidden_size, layers)
        made = {"rngs": rngs, "dtype": dtype}
        of_vectors = dropout if embedding_dropout is None else check_rate(embedding_dropout, "embedding_dropout")
        sizes = (vocabulary_size, embedding_size, output_size(cells[-1]))
        self.vocabulary = Vocabulary(*sizes, tied=tied, dropout=of_vectors, **made)
        made |= {"engine": engine, "dropout": dropout, "recurrent_dropout": recurrent_dropout}
        self.stack = Stack(cells, self.vocabulary.embedding.output_size, **made)

    def __call__(
        self,
        ids: Int[Array, "*B T"],
        *,
        initial_state: tuple[State, ...] | None = None,
        lengths: Int[Array, "*B"] | None = None,
        reset: Bool[Array, "*B T"] | None = None,
        return_state: bool = False,
        key: Key[Array, ""] | None = None,
    ) -> Any:
        """Runs the model over tokens that are known.

        Args:
            ids: Tokens, 0 to V - 1 where they count.
            initial_state: State before the first step, one entry a layer: that which the window of text before
                returned, or `initial_state`. Gradients flow into it; `jax.lax.stop_gradient` stops them at windows.
            lengths: Tokens that count, from the first, 0 to T. What comes of the others means nothing.
            reset: True where another text begins, before whose first step the state is set to zero again.
            return_state: Whether to return ``(logits, state)``.
            key: Draws what is dropped. Without it nothing is dropped (evaluation).

        Returns:
            Logits of each token's successor, ``[*B, T, V]``.

        Raises:
            TypeError: An array, state or key of the wrong kind or dtype.
            ValueError: A wrong rank, shape or length.
        """
        hidden, state = self._run(ids, initial_state, lengths, reset, key)
        logits = self.vocabulary.logits(hidden)
        return (logits, state) if return_state else logits

    def loss(
        self,
        ids: Int[Array, "*B T"],
        labels: Int[Array, "*B T"],
        *,
        initial_state: tuple[State, ...] | None = None,
        lengths: Int[Array, "*B"] | None = None,
        reset: Bool[Array, "*B T"] | None = None,
        label_smoothing: float = 0.0,
        return_state: bool = False,
        key: Key[Array, ""] | None = None,
    ) -> Any:
        """Returns the mean cross-entropy of `labels`, each token's successor, in nats a token that counts.

        What `nn.cross_entropy` makes of the logits, without holding them all (see `nn.readout_cross_entropy`). The
        other arguments are those of a call; with `return_state` the result is ``(loss, state)``.
        """
        hidden, state = self._run(ids, initial_state, lengths, reset, key)
        mask = None if lengths is None else length_mask(lengths, hidden.shape[:-1])
        loss = self.vocabulary.loss(hidden, labels, mask=mask, label_smoothing=label_smoothing)
        return (loss, state) if return_state else loss

    def initial_state(self, batch_shape: tuple[int, ...] = ()) -> tuple[State, ...]:
        """Returns the state before the first token."""
        return self.stack.initial_state(batch_shape, carried_dtype(self.stack))

    def step(self, state: tuple[State, ...], token: Int[Array, "*B"]) -> tuple[Float[Array, "*B V"], tuple[State, ...]]:
        """Reads one token: ``(logits of the next one, next state)``, as `nn.sample` and its like want it."""
        state, hidden = self.stack.step(state, self.vocabulary.embedding(token))
        return self.vocabulary.logits(hidden), state

    def _run(self, ids, initial_state, lengths, reset, key):
        x = self.vocabulary.embedding(ids, key=fold_key(key, 0))
        hidden, state = self.stack(
            x,
            initial_state=initial_state,
            lengths=lengths,
            reset=reset,
            reset_state=None if reset is None else self.initial_state(x.shape[:-2]),
            return_state=True,
            key=fold_key(key, 1),
        )
        return drop(fold_key(key, 2), hidden, self.stack.dropout), state
