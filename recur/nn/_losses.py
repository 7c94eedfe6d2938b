"""Cross-entropy of sequences: padding does not count, and large vocabularies fit into memory."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from recur._checks import as_array, as_flags, check_number, check_shape
from recur._types import Array, Bool, Float, Int
from recur.nn._layout import as_ids

FEWEST_ROWS, MOST_ROWS = 128, 1024
"""Rows of logits held at once: few, since a cache is small and the last block half empty, in a short batch."""


def cross_entropy(
    logits: Float[Array, "*A V"],
    labels: Int[Array, "*A"],
    *,
    mask: Bool[Array, "*A"] | None = None,
    label_smoothing: float = 0.0,
) -> Float[Array, ""]:
    """Computes the mean cross-entropy of the labels that count.

        nats = ln sum_v exp z_v - (1 - s) z_label - s mean_v z_v,   s = label_smoothing

    Args:
        logits: z, unnormalised log-probabilities.
        labels: Index of the right class, 0 to V - 1. A number outside makes the loss NaN where it counts.
        mask: False where a label does not count: neither it nor its logits are seen, NaN or not. By default all count.
        label_smoothing: Share of the target that is spread over all classes evenly.

    Returns:
        Mean in nats, float32 or wider; 0 where nothing counts.

    Raises:
        TypeError: Labels, mask or number of the wrong kind.
        ValueError: A wrong shape, or a share outside [0, 1).

    Reference:
        Szegedy et al. (2016), "Rethinking the Inception architecture", https://arxiv.org/abs/1512.00567, section 7.
    """
    logits = _read_rows("logits", logits)
    labels, mask = _read_labels(labels, mask, logits.shape[:-1], label_smoothing)
    logits = jnp.where(mask[..., None], logits, 0).astype(jnp.promote_types(jnp.float32, logits.dtype))
    nats, _ = _nats_and_probabilities(logits, jnp.where(mask, labels, 0), label_smoothing)
    return jnp.sum(jnp.where(mask, nats, 0)) / jnp.maximum(jnp.sum(mask), 1)


def accuracy(
    logits: Float[Array, "*A V"], labels: Int[Array, "*A"], *, mask: Bool[Array, "*A"] | None = None
) -> Float[Array, ""]:
    """Computes the share of labels whose logit is the greatest, of those that count.

    Args:
        logits: Of each class.
        labels: Index of the right class.
        mask: False where a label does not count. By default all count.

    Returns:
        Share from 0 to 1; 0 where nothing counts.

    Raises:
        TypeError: Labels or mask of the wrong kind.
        ValueError: A wrong shape.
    """
    logits = _read_rows("logits", logits)
    labels, mask = _read_labels(labels, mask, logits.shape[:-1])
    right = (jnp.argmax(logits, axis=-1) == labels) & mask
    return jnp.sum(right) / jnp.maximum(jnp.sum(mask), 1)


def readout_cross_entropy(
    hidden: Float[Array, "*A H"],
    table: Float[Array, "V H"],
    bias: Float[Array, "V"],
    labels: Int[Array, "*A"],
    *,
    mask: Bool[Array, "*A"] | None = None,
    label_smoothing: float = 0.0,
) -> Float[Array, ""]:
    """Computes ``cross_entropy(hidden @ table.T + bias, labels)`` without ever holding all logits.

    What counts is gathered and read out a few hundred rows at a time, each with its gradient as soon as its logits
    are known: logits are computed once, memory does not grow with the number of labels, padding costs nothing. The
    gradient comes in reverse mode only, and has no gradient of its own.

    Args:
        hidden: What the logits are read from.
        table: Weights, a row for each class.
        bias: Of each class.
        labels: As in `cross_entropy`, and so are the others.
        mask: Where labels count.
        label_smoothing: Share of the target that is spread.

    Returns:
        Mean in nats, float32 or wider; 0 where nothing counts.

    Raises:
        TypeError: Labels, mask or number of the wrong kind.
        ValueError: A wrong shape, or a share outside [0, 1).
    """
    hidden, table, bias = _read_rows("hidden", hidden), _read_rows("table", table), as_array("bias", bias)
    if table.ndim != 2 or table.shape[1] != hidden.shape[-1]:
        raise ValueError(f"table: expected shape ('V', {hidden.shape[-1]}), a row for each class, got {table.shape}")
    check_shape("bias", bias, table.shape[:1], "one number for each class")
    labels, mask = _read_labels(labels, mask, hidden.shape[:-1], label_smoothing)
    dtype = jnp.result_type(jnp.float32, hidden, table)
    hidden, table, bias = (jnp.asarray(leaf, dtype) for leaf in (hidden, table, bias))
    if not labels.size:
        return jnp.zeros((), dtype)
    hidden = hidden.reshape(labels.size, hidden.shape[-1])
    count = jnp.sum(mask)
    # What counts comes first; the rows beyond it are none of `hidden`, gathered as zeros and scattered nowhere.
    rows = jnp.where(jnp.arange(mask.size) < count, jnp.argsort(~mask.ravel(), stable=True), mask.size)
    rows_at_once = min(max(FEWEST_ROWS, mask.size // 8), MOST_ROWS)
    rows = jnp.pad(rows, (0, -mask.size % rows_at_once), constant_values=mask.size)
    total = _total_nats((label_smoothing, rows_at_once), hidden, table, bias, labels.ravel(), rows, count)
    return total / jnp.maximum(count, 1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _total_nats(
    knobs: tuple[float, int],
    hidden: Float[Array, "N H"],
    table: Float[Array, "V H"],
    bias: Float[Array, "V"],
    labels: Int[Array, "N"],
    rows: Int[Array, "M"],
    count: Int[Array, ""],
) -> Float[Array, ""]:
    """Returns the sum over those of the labels that the first `count` of `rows` name."""
    label_smoothing, rows_at_once = knobs

    def add(index: jax.Array, total: jax.Array) -> jax.Array:
        here, vectors, own = _gather(index, rows_at_once, rows, hidden, labels)
        nats, _ = _nats_and_probabilities(vectors @ table.T + bias[None], own, label_smoothing)
        return total + jnp.sum(jnp.where(here < len(hidden), nats, 0))

    return jax.lax.fori_loop(0, -(-count // rows_at_once), add, jnp.zeros((), hidden.dtype))


def _total_nats_with_gradient(knobs, hidden, table, bias, labels, rows, count):
    label_smoothing, rows_at_once = knobs
    classes = jax.lax.broadcasted_iota(labels.dtype, (1, len(table)), 1)

    def add(index: jax.Array, sums: tuple) -> tuple:
        total, d_hidden, d_table, d_bias = sums
        here, vectors, own = _gather(index, rows_at_once, rows, hidden, labels)
        counts = here < len(hidden)
        nats, probabilities = _nats_and_probabilities(vectors @ table.T + bias[None], own, label_smoothing)
        target = jnp.where(classes == own[:, None], 1 - label_smoothing, 0) + label_smoothing / len(table)
        d_logits = jnp.where(counts[:, None], probabilities - target, 0)
        return (
            total + jnp.sum(jnp.where(counts, nats, 0)),
            d_hidden.at[here].set(d_logits @ table, mode="drop"),
            d_table + d_logits.T @ vectors,
            d_bias + jnp.sum(d_logits, axis=0),
        )

    zeros = jax.tree.map(jnp.zeros_like, (hidden, table, bias))
    sums = (jnp.zeros((), hidden.dtype), *zeros)
    total, *gradient = jax.lax.fori_loop(0, -(-count // rows_at_once), add, sums)
    return total, gradient


def _scaled_gradient(knobs: tuple[float, int], gradient: list[jax.Array], d_total: jax.Array) -> tuple:
    del knobs
    return (*(d_total * leaf for leaf in gradient), None, None, None)


_total_nats.defvjp(_total_nats_with_gradient, _scaled_gradient)


def _gather(
    index: Int[Array, ""],
    rows_at_once: int,
    rows: Int[Array, "M"],
    hidden: Float[Array, "N H"],
    labels: Int[Array, "N"],
) -> tuple[Int[Array, "R"], Float[Array, "R H"], Int[Array, "R"]]:
    """Returns a block of rows, with the vectors and labels there; zeros for a row beyond all."""
    here = jax.lax.dynamic_slice(rows, (index * rows_at_once,), (rows_at_once,))
    return here, *(leaf.at[here].get(mode="fill", fill_value=0) for leaf in (hidden, labels))


def _nats_and_probabilities(
    logits: Float[Array, "*A V"], labels: Int[Array, "*A"], label_smoothing: float
) -> tuple[Float[Array, "*A"], Float[Array, "*A V"]]:
    greatest = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    weights = jnp.exp(logits - greatest)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    # A label below zero would count from the end; beyond the end it picks NaN.
    labels = jnp.where(labels < 0, logits.shape[-1], labels)[..., None]
    picked = jnp.take_along_axis(logits, labels, axis=-1, mode="fill")
    nats = jnp.log(total) + greatest - (1 - label_smoothing) * picked
    if label_smoothing > 0:
        nats = nats - label_smoothing * jnp.mean(logits, axis=-1, keepdims=True)
    return nats[..., 0], weights / total


def _read_rows(name: str, rows: Any) -> jax.Array:
    """Returns an array of numbers, or raises where it has no entries along its last axis."""
    rows = as_array(name, rows)
    if rows.ndim < 1 or not rows.shape[-1]:
        raise ValueError(f"{name}: expected at least one entry along the last axis, got shape {rows.shape}")
    return rows


def _read_labels(
    labels: Any, mask: Any, shape: tuple[int, ...], label_smoothing: float = 0.0
) -> tuple[jax.Array, jax.Array]:
    """Checks what comes beside the logits; returns labels and mask."""
    labels = as_ids("labels", labels)
    check_shape("labels", labels, shape, "one label for each row of logits")
    mask = as_flags("mask", mask, shape, "one flag for each label")
    if not 0 <= check_number("label_smoothing", label_smoothing) < 1:
        raise ValueError(f"label_smoothing: expected a share in [0, 1), got {label_smoothing}")
    return labels, jnp.ones(shape, bool) if mask is None else mask
