"""One optimiser step as a pure function."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from recur._types import Array, Float, PyTree
from recur.train._state import TrainState, loss_key

Loss = Callable[[PyTree, PyTree, Any], tuple[jax.Array, dict[str, jax.Array]]]
"""``loss(params, batch, key) -> (scalar, {name: scalar})``, means over the batch. In evaluation key is None."""

Metrics = dict[str, Float[Array, ""]]

RESERVED = ("loss", "grad_norm", "clipped")


def make_step(
    loss: Loss, optimizer: optax.GradientTransformation, *, clip_norm: float | None = 1.0
) -> Callable[[TrainState, PyTree], tuple[TrainState, Metrics]]:
    """Returns the pure function ``step(state, batch) -> (state, metrics)``.

        g = d loss / d params,   g <- g min(1, clip_norm / ||g||),   params <- params + optimizer(g)

    with ||g|| the Euclidean norm over all parameters together. jit, vmap and scan are the caller's.

    Args:
        loss: ``loss(params, batch, key) -> (scalar, {name: scalar})``; `key` is another one at every step.
        optimizer: Any optax transformation.
        clip_norm: Greatest norm of the gradient; None leaves it as it is.

    Returns:
        The step. Its metrics are those of `loss`, with ``loss``, ``grad_norm`` (before clipping) and ``clipped``
        (1 where the gradient was scaled down, else 0).

    Raises:
        ValueError: `clip_norm` is not positive; when traced: `loss` returns a metric with one of these names.
    """
    if clip_norm is not None and not clip_norm > 0:
        raise ValueError(f"clip_norm: expected a positive number, or None for no clipping, got {clip_norm}")

    def step(state: TrainState, batch: PyTree) -> tuple[TrainState, Metrics]:
        key = loss_key(state.key, state.step)
        (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(state.params, batch, key)
        taken = sorted(set(metrics) & set(RESERVED))
        if taken:
            raise ValueError(f"loss: expected metrics with names other than {list(RESERVED)}, got {taken}; rename them")
        norm = global_norm(grads)
        clipped = jnp.zeros((), bool) if clip_norm is None else norm > clip_norm
        if clip_norm is not None:
            scale = jnp.where(clipped, clip_norm / norm, 1)
            grads = jax.tree.map(lambda g: g * scale.astype(g.dtype), grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {**metrics, "loss": value, "grad_norm": norm, "clipped": clipped.astype(value.dtype)}
        return state._replace(params=params, opt_state=opt_state, step=state.step + 1), metrics

    return step


def global_norm(tree: PyTree) -> Float[Array, ""]:
    """Returns the Euclidean norm over all entries of all leaves, in float32 or better."""

    def square(leaf: jax.Array) -> jax.Array:
        magnitude = jnp.abs(leaf)
        return jnp.sum(magnitude.astype(jnp.promote_types(magnitude.dtype, jnp.float32)) ** 2)

    return jnp.sqrt(sum(square(leaf) for leaf in jax.tree.leaves(tree)))
