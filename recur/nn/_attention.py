"""Attention: a mean over a memory, weighted by how well each entry answers a query."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from recur._checks import check_dtype, check_positive, is_one_of
from recur._types import Array, Bool, Float
from recur.nn._layout import check_rngs

SCORES = ("dot", "general", "additive")


class Attention(nnx.Module):
    """Attends to a memory, with padding masked out exactly.

        weights_s = softmax_s score(q, m_s) over the s that count, 0 elsewhere,   context = sum_s weights_s m_s

        score(q, m) = q . m                        "dot", which has no parameters
                    = q . (W m)                    "general"
                    = v . tanh(W m + U q + b)      "additive"

    Args:
        query_size: Features Q of a query.
        memory_size: Features M of the memory; for ``"dot"`` equal to Q.
        score: Which.
        rngs: Draws the parameters; it is not kept.
        dtype: Of the parameters.

    Raises:
        ValueError: An unknown score, or sizes that have no dot product.

    Reference:
        Bahdanau et al. (2015), "Neural machine translation by jointly learning to align and translate",
        https://arxiv.org/abs/1409.0473, appendix A.1.2. Luong et al. (2015), "Effective approaches to
        attention-based neural machine translation", https://arxiv.org/abs/1508.04025, equations 7 and 8.
    """

    def __init__(
        self, query_size: int, memory_size: int, *, score: str = "dot", rngs: nnx.Rngs, dtype: Any = jnp.float32
    ) -> None:
        query_size, memory_size = check_positive("query_size", query_size), check_positive("memory_size", memory_size)
        if not is_one_of(score, SCORES):
            raise ValueError(f"attention: expected one of {list(SCORES)}, got {score!r}")
        if score == "dot" and query_size != memory_size:
            raise ValueError(
                f"attention: expected a memory as wide as its queries for 'dot', got {memory_size} and {query_size}; "
                f"take 'general', or cells whose sizes agree (both directions of a memory count)"
            )
        check_rngs(rngs)
        check_dtype("dtype", dtype)
        self.score = score
        made = {"rngs": rngs, "param_dtype": dtype}
        if score == "dot":
            self.memory_map = self.query_map = self.direction = None
        elif score == "general":
            self.memory_map = nnx.Linear(memory_size, query_size, use_bias=False, **made)
            self.query_map = self.direction = None
        else:
            self.memory_map = nnx.Linear(memory_size, query_size, **made)
            self.query_map = nnx.Linear(query_size, query_size, use_bias=False, **made)
            self.direction = nnx.Linear(query_size, 1, use_bias=False, **made)

    def keys(self, memory: Float[Array, "*B S M"]) -> Float[Array, "*B S Q"]:
        """Returns what of the scores does not depend on the queries: computed once a memory."""
        return memory if self.memory_map is None else self.memory_map(memory)

    def __call__(
        self,
        queries: Float[Array, "*B T Q"],
        memory: Float[Array, "*B S M"],
        keys: Float[Array, "*B S Q"],
        mask: Bool[Array, "*B S"],
    ) -> tuple[Float[Array, "*B T M"], Float[Array, "*B T S"]]:
        """Attends with all queries at once.

        Args:
            queries: One for each output.
            memory: What to attend to. What does not count must be finite.
            keys: ``self.keys(memory)``.
            mask: False where the memory does not count. Where none of it does, weights and context are zero.

        Returns:
            Contexts, and their weights, which are 0 where the mask is False and sum to 1.
        """
        if self.score == "additive":
            sums = keys[..., None, :, :] + self.query_map(queries)[..., None, :]
            scores = self.direction(jnp.tanh(sums))[..., 0]
        else:
            scores = jnp.einsum("...tq,...sq->...ts", queries, keys)
        weights = jax.nn.softmax(scores, axis=-1, where=mask[..., None, :])
        return jnp.einsum("...ts,...sm->...tm", weights, memory), weights
