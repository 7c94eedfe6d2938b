"""What a loss is: how it is called, and what it may return."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from recur._checks import as_array, brief, check_callable, check_tree
from recur._types import Array, Float, PyTree

Loss = Callable[..., Any]
"""``loss(params, batch, key) -> (scalar, {name: scalar})``, means over the batch. In evaluation key is None.

Metrics are numbers or arrays without axes; whole numbers and bools become float32, so that their mean is one.

The metric ``weight`` is special: what the batch counts for where means are taken over several of them, say the number
of its tokens that are not padding (a loss that counts for nothing must be finite). Without it a batch counts for its
samples.

A loss that carries a state from batch to batch is ``loss(params, batch, key, carry) -> (scalar, metrics, carry)``.
"""

Metrics = dict[str, Float[Array, ""]]

RESERVED = ("loss", "grad_norm", "clipped")


def check_loss(loss: Loss, *, carries: bool) -> None:
    """Raises TypeError unless `loss` is a function of what it is called with."""
    if carries:
        check_callable("loss", loss, "(params, batch, key, carry) -> (scalar, metrics, carry)", 4)
    else:
        check_callable("loss", loss, "(params, batch, key) -> (scalar, metrics)", 3)


def call_loss(loss: Loss, params: PyTree, batch: PyTree, key: Any, carry: PyTree) -> tuple[jax.Array, Any]:
    """Calls a loss with or without a carry: ``(scalar, (metrics, carry))``, metrics being a dict of its own.

    Raises:
        TypeError: What it returns is no such pair or triple, or a number of it is none.
        ValueError: The loss or a metric has axes.
    """
    arguments, form = ((params, batch, key), "(scalar, {name: scalar})")
    if carry is not None:
        arguments, form = (*arguments, carry), "(scalar, {name: scalar}, carry)"
    found = loss(*arguments)
    count = len(arguments) - 1
    if not isinstance(found, (tuple, list)) or len(found) != count or not isinstance(found[1], Mapping):
        raise TypeError(f"loss: expected it to return {form}, got {brief(found)}; without metrics return an empty dict")
    value = _scalar("loss", found[0])
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise TypeError(f"loss: expected a floating scalar, got dtype {value.dtype}; return what has a gradient")
    if carry is not None:
        check_tree("loss: carry", found[2], carry, "return it as it came in")
        carry = found[2]
    metrics = {_name(name): _scalar(f"loss: metric {name!r}", metric) for name, metric in found[1].items()}
    wide = {name: metric.astype(jnp.promote_types(metric.dtype, jnp.float32)) for name, metric in metrics.items()}
    return value, (wide, carry)


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"loss: expected metrics named by str, got {brief(name)}")
    return name


def _scalar(name: str, value: Any) -> jax.Array:
    array = as_array(name, value)
    if array.ndim:
        raise ValueError(f"{name}: expected a scalar, got shape {array.shape}; take its mean")
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"{name}: expected a real number, got dtype {array.dtype}; take its absolute value")
    return array
