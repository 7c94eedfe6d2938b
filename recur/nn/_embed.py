"""Tokens to vectors, and vectors to the logits of tokens."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from recur._checks import check_bool, check_dtype, check_number, check_positive
from recur._types import Array, Bool, Float, Int, Key
from recur.nn._dropout import check_rate, drop
from recur.nn._layout import as_ids, check_rngs
from recur.nn._losses import readout_cross_entropy


class Embedding(nnx.Module):
    """Looks up a vector for each token: ``e = scale table[id]``, or the one-hot vector where there is no table.

    Args:
        vocabulary_size: Tokens V.
        size: Features E; None for one-hot vectors, E = V, which need no parameters.
        scale: What a looked up vector is multiplied by. The table's entries are drawn from N(0, 1 / scale^2), so that
            those of a vector begin with variance 1, whatever the scale; torch and Keras know no scale.
        dropout: Probability that an entry of a vector from the table is dropped, in calls with a `key`.
        rngs: Draws the table; it is not kept.
        dtype: Of the table.

    Attributes:
        table: `nnx.Param` ``[V, E]``, or None.

    Reference:
        Vaswani et al. (2017), "Attention is all you need", https://arxiv.org/abs/1706.03762, section 3.4 (the scale
        sqrt(E) of a table that also reads out).
    """

    def __init__(
        self,
        vocabulary_size: int,
        size: int | None = None,
        *,
        scale: float = 1.0,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
        dtype: Any = jnp.float32,
    ) -> None:
        check_rngs(rngs)
        self.vocabulary_size = check_positive("vocabulary_size", vocabulary_size)
        if size is not None:
            check_positive("embedding_size", size)
        if not 0 < check_number("scale", scale) < math.inf:
            raise ValueError(f"scale: expected a positive number, got {scale}")
        self.scale = scale
        self.dropout = check_rate(dropout)
        self.dtype = jnp.dtype(check_dtype("dtype", dtype))
        self.table = None if size is None else _table(vocabulary_size, size, scale, rngs, dtype)

    @property
    def output_size(self) -> int:
        """Features E of a vector."""
        return self.vocabulary_size if self.table is None else self.table.shape[1]

    def __call__(self, ids: Int[Array, "*A"], *, key: Key[Array, ""] | None = None) -> Float[Array, "*A E"]:
        """Returns the vectors; that of an id outside of the vocabulary is NaN, which a mask lets nothing see."""
        ids = as_ids("ids", ids)
        if self.table is None:
            known = (ids >= 0) & (ids < self.vocabulary_size)
            return jnp.where(known[..., None], jax.nn.one_hot(ids, self.vocabulary_size, dtype=self.dtype), jnp.nan)
        vectors = jnp.asarray(self.table[...]).at[ids].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
        return drop(key, vectors if self.scale == 1 else vectors * self.scale, self.dropout)


class Vocabulary(nnx.Module):
    """Embeds a model's tokens, and reads the logits of tokens from its outputs: ``z = W h + b``.

    Args:
        size: Tokens V.
        embedding_size: Features E of the embedding; None for one-hot vectors.
        hidden_size: Features H of the outputs to read from.
        tied: Whether W is the table of the embedding, which is then looked up with scale sqrt(E); this needs E = H.
        dropout: Of the embedding.
        rngs: Draws the parameters; it is not kept.
        dtype: Of the parameters.

    Attributes:
        embedding: The `Embedding`.
        table: W as `nnx.Param` ``[V, H]``, drawn from N(0, 1 / H); None where tied.
        bias: b as `nnx.Param` ``[V]``, zero at first.

    Raises:
        ValueError: Tied to a table that is not there, or of another width.

    Reference:
        Press and Wolf (2017), "Using the output embedding to improve language models",
        https://arxiv.org/abs/1608.05859.
    """

    def __init__(
        self,
        size: int,
        embedding_size: int | None,
        hidden_size: int,
        *,
        tied: bool,
        dropout: float,
        rngs: nnx.Rngs,
        dtype: Any = jnp.float32,
    ) -> None:
        if check_bool("tied", tied) and embedding_size != hidden_size:
            raise ValueError(
                f"tied: expected an embedding as wide as what the logits are read from, {hidden_size}, "
                f"got embedding_size {embedding_size}; make them equal"
            )
        scale = hidden_size**0.5 if tied else 1.0
        self.embedding = Embedding(size, embedding_size, scale=scale, dropout=dropout, rngs=rngs, dtype=dtype)
        self.table = None if tied else _table(size, hidden_size, hidden_size**0.5, rngs, dtype)
        self.bias = nnx.Param(jnp.zeros((size,), dtype))

    def logits(self, hidden: Float[Array, "*A H"]) -> Float[Array, "*A V"]:
        """Returns the logits, in float32 or wider."""
        table, bias = self._weights()
        logits = hidden @ table.T
        return logits + jax.lax.broadcast_in_dim(bias, logits.shape, (logits.ndim - 1,))

    def loss(
        self,
        hidden: Float[Array, "*A H"],
        labels: Int[Array, "*A"],
        *,
        mask: Bool[Array, "*A"] | None = None,
        label_smoothing: float = 0.0,
    ) -> Float[Array, ""]:
        """Returns the mean cross-entropy in nats without ever holding all logits (see `readout_cross_entropy`)."""
        table, bias = self._weights()
        return readout_cross_entropy(hidden, table, bias, labels, mask=mask, label_smoothing=label_smoothing)

    def _weights(self) -> tuple[Float[Array, "V H"], Float[Array, "V"]]:
        table = self.embedding.table if self.table is None else self.table
        dtype = jnp.promote_types(jnp.float32, table.dtype)
        return table[...].astype(dtype), self.bias[...].astype(dtype)


def _table(rows: int, size: int, scale: float, rngs: nnx.Rngs, dtype: Any) -> nnx.Param:
    shape = check_positive("vocabulary_size", rows), check_positive("embedding_size", size)
    return nnx.Param(jax.random.normal(rngs.params(), shape, dtype) / scale)
