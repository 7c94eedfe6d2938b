"""Means of loss and metrics over data."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np

from recur._checks import check_positive
from recur._types import Array, Float, PyTree
from recur.train._data import as_data
from recur.train._epoch import sample_count
from recur.train._loss import Loss, Metrics, call_loss, check_loss
from recur.train._programs import Held, program

Sums = tuple[Metrics, Float[Array, ""]]
"""Metrics times what their batches count for, added up; and the sum of the latter."""


def evaluate(
    loss: Loss,
    params: PyTree,
    data: PyTree,
    *,
    batch_size: int = 512,
    carry: PyTree = None,
    axis_name: str | None = None,
) -> Metrics:
    """Returns loss and metrics over all data: the mean over samples, whatever the size of the last batch.

    Where the loss returns the metric ``weight``, means are over what it counts, tokens say, and not over samples.

    Args:
        loss: As in `make_step`; it gets None as key, so that dropout is off.
        params: Parameters.
        data: Pytree of arrays ``[N, ...]``.
        batch_size: Samples at a time, which bounds the memory; the result depends on it by rounding only.
        carry: What the loss is handed with the first batch, where it carries a state from batch to batch; of the data,
            a multiple of `batch_size`, each batch then goes on where the one before it ended.
        axis_name: Axis of a `jax.shard_map` whose devices each take a part of the samples.

    Returns:
        ``{"loss": scalar, name: scalar, ...}``.

    Raises:
        TypeError: `loss` is no function of its arguments, or `batch_size` no whole number.
        ValueError: `batch_size` is not positive, or there are no data, or not whole batches of them with a carry.
    """
    check_loss(loss, carries=carry is not None)
    data = as_data("data", data)
    return means(evaluated_sums(loss, params, data, batch_size=batch_size, carry=carry, axis_name=axis_name))


def evaluated_sums(
    loss: Loss, params: PyTree, data: PyTree, *, batch_size: int = 512, carry: PyTree = None, axis_name: str | None
) -> Sums:
    """Returns the sums over all data, whose means `evaluate` returns."""
    batch_size, count = check_positive("batch_size", batch_size), sample_count(data)
    if carry is not None:
        return _sums_in_order(loss, params, data, batch_size, carry, axis_name)
    if axis_name is None:
        return _sums(loss, params, data, batch_size)
    share = count // jax.lax.axis_size(axis_name)
    shared = share * jax.lax.axis_size(axis_name)
    total = None
    if share:
        begin = jax.lax.axis_index(axis_name) * share
        part = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, begin, share), data)
        total = jax.lax.psum(_sums(loss, params, part, batch_size), axis_name)
    if shared < count:
        rest = _sums(loss, params, jax.tree.map(lambda leaf: leaf[shared:], data), batch_size)
        total = add(total, rest)
    return total


def evaluate_batches(loss: Loss, params: PyTree, batches: Iterable[PyTree], *, carry: PyTree = None) -> Metrics:
    """Returns loss and metrics over batches that come from the host, each of its own shape; as `evaluate` otherwise.

    Args:
        loss: As in `evaluate`; each shape of batch is compiled once for the same object.
        params: Parameters.
        batches: Pytrees of arrays ``[B, ...]``.
        carry: What the loss is handed with the first batch, where it carries a state from batch to batch.

    Raises:
        ValueError: There are no batches.
    """
    total, sums_of = None, program(_weighed, loss=Held(loss))
    for batch in batches:
        batch = as_data("batches", batch, copy=True, take_numbers=True)
        more, carry = sums_of(params, batch, carry)
        total = add(total, more)
    if total is None:
        raise ValueError("batches: expected at least one, got none")
    return means(total)


def weighed(loss: Loss, params: PyTree, batch: PyTree, count: int, carry: PyTree = None) -> tuple[Sums, PyTree]:
    """Returns the sums of one batch of so many samples, and the carry after it."""
    value, (metrics, carry) = call_loss(loss, params, batch, None, carry)
    weight = jnp.asarray(metrics.pop("weight", count), jnp.promote_types(value.dtype, jnp.float32))
    return (jax.tree.map(lambda mean: mean * weight, {**metrics, "loss": value}), weight), carry


def add(total: Sums | None, more: Sums) -> Sums:
    """Adds sums up; None is nothing so far."""
    return more if total is None else jax.tree.map(jnp.add, total, more)


def means(sums: Sums) -> Metrics:
    """Returns the means that sums make."""
    return jax.tree.map(lambda total: total / sums[1], sums[0])


def batch_size(batch: PyTree, data_axis: int | None = None, name: str = "batches") -> int:
    """Returns B of arrays ``[B, ...]``, after the axis of seeds if there is one; raises where they disagree."""
    axis = 0 if data_axis is None else 1
    sizes = {np.shape(leaf)[axis] for leaf in jax.tree.leaves(batch) if np.ndim(leaf) > axis}
    if len(sizes) != 1:
        shapes = [np.shape(leaf) for leaf in jax.tree.leaves(batch)]
        raise ValueError(f"{name}: expected arrays [B, ...] with one B, got shapes {shapes}")
    return sizes.pop()


def _weighed(params: PyTree, batch: PyTree, carry: PyTree, *, loss: Held) -> tuple[Sums, PyTree]:
    return weighed(loss.function, params, batch, batch_size(batch), carry)


def _sums(loss: Loss, params: PyTree, data: PyTree, batch_size: int) -> Sums:
    count, total = sample_count(data), None
    whole = count // batch_size * batch_size
    if whole:
        batches = jax.tree.map(lambda leaf: leaf[:whole].reshape(-1, batch_size, *leaf.shape[1:]), data)
        each = jax.lax.map(lambda batch: weighed(loss, params, batch, batch_size)[0], batches)
        total = jax.tree.map(lambda values: values.sum(0), each)
    if whole < count:
        rest = jax.tree.map(lambda leaf: leaf[whole:], data)
        total = add(total, weighed(loss, params, rest, count - whole)[0])
    return total


def _sums_in_order(
    loss: Loss, params: PyTree, data: PyTree, batch_size: int, carry: PyTree, axis_name: str | None
) -> Sums:
    count = sample_count(data)
    if count % batch_size:
        raise ValueError(f"data: expected a multiple of batch_size, {batch_size}, for a loss with a carry, got {count}")
    parts = 1 if axis_name is None else jax.lax.axis_size(axis_name)
    part = 0 if axis_name is None else jax.lax.axis_index(axis_name)
    share = batch_size // parts
    batches = jax.tree.map(lambda leaf: leaf.reshape(-1, parts, share, *leaf.shape[1:])[:, part], data)

    def body(carry: PyTree, batch: PyTree) -> tuple[PyTree, Sums]:
        sums, carry = weighed(loss, params, batch, share, carry)
        return carry, sums

    total = jax.tree.map(lambda values: values.sum(0), jax.lax.scan(body, carry, batches)[1])
    return total if axis_name is None else jax.lax.psum(total, axis_name)
