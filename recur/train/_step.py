"""One optimiser step as a pure function."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from recur._checks import check_number
from recur._types import Array, Float, PyTree
from recur.train._loss import RESERVED, Loss, Metrics, call_loss, check_loss
from recur.train._nonfinite import rate_factor
from recur.train._state import TrainState, check_optimizer, loss_key

SMALL = 2**16
"""Entries up to which an array is summed over devices together with others."""


def check_clipping(clip_norm: Any, ema_decay: Any) -> float | None:
    """Returns `clip_norm` as a float, or raises where one of the two is no number or out of its range."""
    if ema_decay is not None and not 0 < check_number("ema_decay", ema_decay) < 1:
        raise ValueError(f"ema_decay: expected a number between 0 and 1, or None for no average, got {ema_decay}")
    if clip_norm is None:
        return None
    # A whole number may be one that no array of 32 bits holds.
    clip_norm = check_number("clip_norm", clip_norm)
    if not clip_norm > 0:
        raise ValueError(f"clip_norm: expected a positive number, or None for no clipping, got {clip_norm}")
    return clip_norm


def make_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    clip_norm: float | None = 1.0,
    ema_decay: float | None = None,
    axis_name: str | None = None,
) -> Callable[[TrainState, PyTree], tuple[TrainState, Metrics]]:
    """Returns the pure function ``step(state, batch) -> (state, metrics)``.

        g = d loss / d params,   g <- g min(1, clip_norm / ||g||),   params <- params + optimizer(g)
        ema <- d ema + (1 - d) params,   d = min(ema_decay, (1 + n) / (10 + n)) in step n, counted from 1

    with ||g|| the Euclidean norm over all parameters together. jit, vmap and scan are the caller's.

    A state with a `carry` hands it to the loss, ``loss(params, batch, key, carry) -> (scalar, metrics, carry)``, and
    takes what comes back for the next step: a network reads one long stream window by window, and gradients end
    where a window begins (truncated backpropagation through time).

    Args:
        loss: ``loss(params, batch, key) -> (scalar, {name: scalar})``; `key` is another one at every step.
        optimizer: Any optax transformation. One that looks at the loss is handed ``value=``, the loss, ``grad=``, its
            gradient before clipping, and ``value_fn=``, the loss of this batch as a function of the parameters.
        clip_norm: Greatest norm of the gradient that the optimiser gets; None leaves it as it is, as line searches and
            Polyak's step size expect.
        ema_decay: Of the moving average of a state made with ``ema=True``, below 1.
        axis_name: Axis of a `jax.shard_map` that batches are split on: loss, metrics and gradient then are those of
            the whole batch, and each part gets a key of its own.

    Returns:
        The step. Its metrics are those of `loss` (without ``weight``), with ``loss``, ``grad_norm`` (before clipping)
        and ``clipped`` (1 where the gradient was scaled down, else 0).

    Raises:
        TypeError: A number that is none; when traced: `loss` is no function of these arguments.
        ValueError: `clip_norm` or `ema_decay` is out of its range; when traced: `loss` returns a metric with one of
            these names, or the state has no moving average for `ema_decay`, or has one without it.

    Reference:
        The decay of early steps: `tf.train.ExponentialMovingAverage`, TensorFlow 1.
    """
    clip_norm = check_clipping(clip_norm, ema_decay)
    update = check_optimizer(optimizer)
    return step_of(loss, seeing(update, sees_loss(optimizer)), clip_norm, ema_decay, axis_name)


def sees_loss(optimizer: Any) -> bool:
    """Returns whether an optimiser takes more than gradients, state and parameters."""
    # MultiSteps does, and is no transformation by its type.
    return isinstance(optimizer, optax.GradientTransformationExtraArgs | optax.MultiSteps)


def seeing(update: Callable, sees: bool) -> Callable:
    """Returns an update that may be handed more, whether it looks at it or not."""
    return update if sees else lambda grads, state, params, **_: update(grads, state, params)


def step_of(
    loss: Loss, update: Callable, clip_norm: float | None, ema_decay: float | None, axis_name: str | None
) -> Callable[[TrainState, PyTree], tuple[TrainState, Metrics]]:
    """Returns the step of `make_step`, whose arguments are known to be right."""

    def step(state: TrainState, batch: PyTree) -> tuple[TrainState, Metrics]:
        if (state.ema is None) != (ema_decay is None):
            raise ValueError(
                f"ema_decay: expected a number with init_state(..., ema=True) and None without, got {ema_decay}"
            )
        check_loss(loss, carries=state.carry is not None)
        key = loss_key(state.key, state.step)
        if axis_name is not None:
            key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
        objective = functools.partial(call_loss, loss, batch=batch, key=key, carry=state.carry)

        def value_and_grad(params: PyTree) -> Any:
            (value, (metrics, carry)), grads = jax.value_and_grad(objective, has_aux=True)(params)
            weight = metrics.pop("weight", None)
            if axis_name is not None:
                value, metrics, grads = _mean_over_parts((value, metrics, grads), weight, axis_name)
            return (value, (metrics, carry)), grads

        (value, (metrics, carry)), grads = value_and_grad(state.params)
        taken = sorted(set(metrics) & set(RESERVED))
        if taken:
            raise ValueError(f"loss: expected metrics with names other than {list(RESERVED)}, got {taken}; rename them")
        seen = {"value": value, "grad": grads, "value_fn": _value_function(objective, value_and_grad, axis_name)}
        norm = global_norm(grads)
        clipped = jnp.zeros((), bool) if clip_norm is None else norm > clip_norm
        if clip_norm is not None:
            scale = jnp.where(clipped, clip_norm / norm, 1)
            grads = jax.tree.map(lambda g: g * scale.astype(g.dtype), grads)
        updates, opt_state = update(grads, state.opt_state, state.params, **seen)
        if state.good is not None:
            factor = rate_factor(state.health)
            updates = jax.tree.map(lambda update: update * factor.astype(update.dtype), updates)
        params = optax.apply_updates(state.params, updates)
        metrics = {**metrics, "loss": value, "grad_norm": norm, "clipped": clipped.astype(value.dtype)}
        ema = None if ema_decay is None else _average(state, params, ema_decay)
        state = state._replace(params=params, opt_state=opt_state, step=state.step + 1, ema=ema, carry=carry)
        return state, metrics

    return step


def global_norm(tree: PyTree) -> Float[Array, ""]:
    """Returns the Euclidean norm over all entries of all leaves, in float32 or better."""
    return optax.tree.norm(jax.tree.map(lambda leaf: leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)), tree))


def _value_function(objective: Callable, value_and_grad: Callable, axis_name: str | None) -> Callable:
    """Returns the loss of the whole batch as a function of the parameters, to be differentiated or not."""
    if axis_name is None:
        return lambda params: objective(params)[0]

    # The derivative of a mean over devices is the mean of theirs, and not what JAX makes of a sum over devices.
    @jax.custom_vjp
    def of_all(params: PyTree) -> jax.Array:
        return value_and_grad(params)[0][0]

    def forward(params: PyTree) -> tuple[jax.Array, PyTree]:
        (value, _), grads = value_and_grad(params)
        return value, grads

    def backward(grads: PyTree, cotangent: jax.Array) -> tuple[PyTree]:
        return (jax.tree.map(lambda leaf: (cotangent * leaf).astype(leaf.dtype), grads),)

    of_all.defvjp(forward, backward)
    return lambda params: of_all(params)


def _mean_over_parts(tree: PyTree, weight: jax.Array | None, axis_name: str) -> PyTree:
    """Returns the mean over the parts of a batch, which are of one size, or weigh what they say."""
    if weight is None:
        count = jax.lax.axis_size(axis_name)
        return jax.tree.map(lambda total: total / count, _sum_over_parts(tree, axis_name))
    share = weight / jnp.maximum(jax.lax.psum(weight, axis_name), jnp.finfo(jnp.float32).tiny)
    return _sum_over_parts(jax.tree.map(lambda leaf: leaf * share.astype(leaf.dtype), tree), axis_name)


def _sum_over_parts(tree: PyTree, axis_name: str) -> PyTree:
    """Returns the sum over devices: small arrays as one, because on a CPU each is a meeting of all devices."""
    leaves, structure = jax.tree.flatten(jax.tree.map(jnp.asarray, tree))
    groups: dict[Any, list[int]] = {}
    for place, leaf in enumerate(leaves):
        groups.setdefault(leaf.dtype if leaf.size <= SMALL else place, []).append(place)
    joined = [jnp.concatenate([leaves[place].ravel() for place in places]) for places in groups.values()]
    for places, total in zip(groups.values(), jax.lax.psum(joined, axis_name), strict=True):
        ends = np.cumsum([leaves[place].size for place in places])[:-1]
        for place, part in zip(places, jnp.split(total, ends), strict=True):
            leaves[place] = part.reshape(leaves[place].shape)
    return jax.tree.unflatten(structure, leaves)


def _average(state: TrainState, params: PyTree, decay: float) -> PyTree:
    step = state.step.astype(jnp.float32)
    # n = step + 1: (1 + n) / (10 + n).
    decay = jnp.minimum(decay, (step + 2) / (step + 11))
    return jax.tree.map(lambda old, new: old + (1 - decay).astype(new.dtype) * (new - old), state.ema, params)
