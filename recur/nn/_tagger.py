"""One class for every word of a sentence."""

from typing import Any

import jax.numpy as jnp
from flax import nnx

from recur._checks import check_positive
from recur._types import Array, Float, Int, Key, State
from recur.engines import Auto, Engine
from recur.nn._bidirectional import Bidirectional
from recur.nn._cells import CellOrFactory, layer_cells
from recur.nn._dropout import drop, fold_key
from recur.nn._embed import Embedding
from recur.nn._layout import as_ids, carried_dtype, length_mask
from recur.nn._recurrent_dropout import RecurrentDropout
from recur.nn._stack import Stack


class SequenceTagger(nnx.Module):
    """Tells the class of every word, from the words around it and from the characters that it is spelled with.

        x_t = [embed(word_t), spell(characters_t)],   h_1..h_T = layers(x),   logits_t = W h_t + b

    where spell runs a cell over the characters of the word in both directions and concatenates the last outputs.

    Args:
        vocabulary_size: Words V.
        classes: How many, K.
        cell: A cell for every layer, or a factory such as ``recur.cells.lstm`` beside `hidden_size`.
        hidden_size: Units H of a layer; None beside a cell.
        layers: How many, one above the other.
        embedding_size: Features that a word is embedded in; None for one-hot vectors.
        alphabet_size: Characters; None for a tagger that reads whole words only.
        character_cell: Reads the characters, a cell or a factory; by default `cell`.
        character_hidden_size: Its units; None beside a cell.
        character_embedding_size: Features that a character is embedded in; None for one-hot vectors.
        bidirectional: Whether every layer runs over the words in both directions, outputs concatenated.
        dropout: Probability that an entry is dropped out of an embedding (not of one-hot vectors), of what is spelled,
            on its way into a layer above, or into the readout. It acts in calls with a `key`.
        recurrent_dropout: What is dropped of every recurrence in calls with a `key` (see `RNN`).
        rngs: Draws the parameters; it is not kept.
        engine: How to run the cells over time.
        dtype: Of the parameters. States and logits are float32 or wider.

    Attributes:
        embedding: `Embedding` of words.
        character_embedding: `Embedding` of characters, or None.
        spelling: `Bidirectional` over the characters of a word, or None.
        stack: The layers.
        readout: `nnx.Linear`.

    Raises:
        TypeError: A cell, `rngs` or dtype of the wrong kind.
        ValueError: A size below 1, missing or given twice, or dropout outside [0, 1) or of what a cell lacks.

    Reference:
        Ling et al. (2015), "Finding function in form: compositional character models for open vocabulary word
        representation", https://arxiv.org/abs/1508.02096. Plank et al. (2016), "Multilingual part-of-speech tagging
        with bidirectional LSTMs", https://arxiv.org/abs/1604.05529 (both inputs side by side).

    Example:
        Words ``[B, T]`` and their characters ``[B, T, C]`` to logits ``[B, T, 17]``::

            model = nn.SequenceTagger(
                4000, 17, cells.lstm, hidden_size=128, embedding_size=100, dropout=0.5, alphabet_size=90,
                character_hidden_size=50, character_embedding_size=30, rngs=nnx.Rngs(0))
            logits = model(words, characters, lengths=lengths, character_lengths=spelled, key=key)
    """

    def __init__(
        self,
        vocabulary_size: int,
        classes: int,
        cell: CellOrFactory,
        *,
        hidden_size: int | None = None,
        layers: int = 1,
        embedding_size: int | None = None,
        alphabet_size: int | None = None,
        character_cell: CellOrFactory | None = None,
        character_hidden_size: int | None = None,
        character_embedding_size: int | None = None,
        bidirectional: bool = True,
        dropout: float = 0.0,
        recurrent_dropout: float | RecurrentDropout = 0.0,
        rngs: nnx.Rngs,
        engine: Engine = Auto(),
        dtype: Any = jnp.float32,
    ) -> None:
        made = {"rngs": rngs, "dtype": dtype}
        run = {"recurrent_dropout": recurrent_dropout, "engine": engine}
        self.embedding = Embedding(vocabulary_size, embedding_size, dropout=dropout, **made)
        input_size = self.embedding.output_size
        if alphabet_size is None:
            self.character_embedding = self.spelling = None
        else:
            [reader] = layer_cells(cell if character_cell is None else character_cell, character_hidden_size, 1)
            embedding = Embedding(alphabet_size, character_embedding_size, dropout=dropout, **made)
            self.character_embedding = embedding
            self.spelling = Bidirectional(reader, embedding.output_size, **run, **made)
            input_size += self.spelling.output_size
        cells = layer_cells(cell, hidden_size, layers)
        self.stack = Stack(cells, input_size, bidirectional=bidirectional, dropout=dropout, **run, **made)
        self.readout = nnx.Linear(
            self.stack.output_size, check_positive("classes", classes), rngs=rngs, param_dtype=dtype
        )

    def __call__(
        self,
        words: Int[Array, "*B T"],
        characters: Int[Array, "*B T C"] | None = None,
        *,
        lengths: Int[Array, "*B"] | None = None,
        character_lengths: Int[Array, "*B T"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "*B T K"]:
        """Scores the classes of every word.

        Args:
            words: 0 to V - 1 where they count.
            characters: Of each word, C being the longest word's; expected with `alphabet_size`, and not without.
            lengths: Words that count, from the first, 0 to T. What comes of the others means nothing.
            character_lengths: Characters that count of each word, 0 to C; not seen where the word does not count.
            key: Draws what is dropped. Without it nothing is dropped (evaluation).

        Returns:
            Logits ``[*B, T, K]``.

        Raises:
            TypeError: An array or key of the wrong kind or dtype.
            ValueError: A wrong rank, shape or length, or characters that are missing or not wanted.
        """
        words = as_ids("words", words)
        if lengths is not None and character_lengths is not None:
            character_lengths = jnp.where(length_mask(lengths, words.shape), jnp.asarray(character_lengths), 0)
        x = self._read(words, characters, character_lengths, key)
        hidden = self.stack(x, lengths=lengths, key=fold_key(key, 3))
        return self.readout(drop(fold_key(key, 4), hidden, self.stack.dropout))

    def initial_state(self, batch_shape: tuple[int, ...] = ()) -> tuple[State, ...]:
        """Returns the state of a stream of words before the first."""
        return self.stack.initial_state(batch_shape, carried_dtype(self.stack))

    def step(
        self,
        state: tuple[State, ...],
        word: Int[Array, "*B"],
        characters: Int[Array, "*B C"] | None = None,
        *,
        character_lengths: Int[Array, "*B"] | None = None,
    ) -> tuple[Float[Array, "*B K"], tuple[State, ...]]:
        """Reads one word of a stream, with all of its characters: ``(logits, next state)``.

        Raises:
            ValueError: Bidirectional layers, whose outputs need the whole sentence.
        """
        x = self._read(as_ids("word", word), characters, character_lengths, None)
        state, hidden = self.stack.step(state, x)
        return self.readout(hidden), state

    def _read(
        self,
        words: Int[Array, "*A"],
        characters: Int[Array, "*A C"] | None,
        character_lengths: Int[Array, "*A"] | None,
        key: Key[Array, ""] | None,
    ) -> Float[Array, "*A X"]:
        x = self.embedding(words, key=fold_key(key, 0))
        if (characters is None) != (self.spelling is None):
            wanted = "None, since alphabet_size was not given" if self.spelling is None else "those of each word"
            raise ValueError(f"characters: expected {wanted}, got {'none' if characters is None else 'some'}")
        if self.spelling is None:
            return x
        characters = as_ids("characters", characters)
        if characters.shape[:-1] != words.shape:
            raise ValueError(f"characters: expected shape {(*words.shape, 'C')}, got {characters.shape}")
        spelled = self.spelling(
            self.character_embedding(characters, key=fold_key(key, 1)),
            lengths=character_lengths,
            return_sequences=False,
        )
        return jnp.concatenate([x, drop(fold_key(key, 2), spelled, self.stack.dropout)], axis=-1)
