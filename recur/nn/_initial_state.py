"""Layers that begin with what a vector tells them."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from recur._types import Array, Float, State
from recur.nn._layout import carried_dtype
from recur.nn._stack import Stack


class InitialState(nnx.Module):
    """Makes the state that layers begin with from a vector: every array of it is ``tanh(W v + b)``.

    Args:
        vector_size: Features Z.
        stack: The layers. A complex array of their state is made of two real ones.
        rngs: Draws the parameters; it is not kept.
        dtype: Of the parameters.

    Reference:
        Bahdanau et al. (2015), https://arxiv.org/abs/1409.0473, appendix A.2.2 (the decoder's first state).
    """

    def __init__(self, vector_size: int, stack: Stack, *, rngs: nnx.Rngs, dtype: Any = jnp.float32) -> None:
        leaves = jax.tree.leaves(jax.eval_shape(stack.initial_state))
        sizes = [(1 + jnp.iscomplexobj(leaf)) * math.prod(leaf.shape) for leaf in leaves]
        self.maps = nnx.List([nnx.Linear(vector_size, size, rngs=rngs, param_dtype=dtype) for size in sizes])

    def __call__(self, vector: Float[Array, "*B Z"], stack: Stack) -> tuple[State, ...]:
        """Returns the state, one entry a layer."""
        like = stack.initial_state(vector.shape[:-1], carried_dtype(stack))
        leaves, structure = jax.tree.flatten(like)
        made = []
        for leaf, linear in zip(leaves, self.maps, strict=True):
            values = jnp.tanh(linear(vector))
            if jnp.iscomplexobj(leaf):
                real, imaginary = jnp.split(values, 2, axis=-1)
                values = jax.lax.complex(real, imaginary)
            made.append(values.reshape(leaf.shape).astype(leaf.dtype))
        return jax.tree.unflatten(structure, made)
