"""What is kept of a block of gates: enough for the gates and for their derivatives, in one array.

Of a gate through sigmoid or tanh that is its activated value, as ``sigmoid' = a (1 - a)`` and ``tanh' = 1 - a^2``; of
a linear gate and of one through any other activation the sum ``x W + b + h U``; of a split gate its share ``h U``.
Sigmoids and tanhs are evaluated for the whole block at once, which compilers turn into faster loops than gate by gate.
"""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recur._types import Array, Float
from recur.cells._declaration import Activation, Declaration, Shares
from recur.cells._gates import expand_to

Activations = tuple[Activation | None, ...]

SIGMOIDS = (jax.nn.sigmoid, jax.lax.logistic)
TANHS = (jnp.tanh, jax.lax.tanh, jax.nn.tanh)


def keep(
    declared: Declaration, projected: Float[Array, "*A G H"], share: Float[Array, "*A G H"] | None
) -> Float[Array, "*A G H"]:
    """Evaluates the block from its two shares; `share` is None where the gates do not see the state."""
    sums = projected if share is None else projected + share
    activations = tuple(activation for _, activation in declared.gates)
    if not declared.split:
        return _activate(activations, sums)
    # Laid side by side rather than chosen by a mask: XLA would fuse the choice, and all before it, into slow loops.
    is_split = [name in declared.split for name in declared.gate_names]
    runs, start = [], 0
    for split, run in itertools.groupby(is_split):
        part = slice(start, start + len(list(run)))
        start = part.stop
        runs.append(share[..., part, :] if split else _activate(activations[part], sums[..., part, :]))
    return jnp.concatenate(runs, axis=-2)


def slopes(declared: Declaration, kept: Float[Array, "*A G H"]) -> Float[Array, "*A G H"]:
    """Returns the derivative of what was activated by its sum, 1 where nothing was."""
    activations = tuple(activation for _, activation in declared.gates)
    return _by_gate(activations, kept, lambda a: a * (1 - a), lambda a: 1 - a * a, jnp.ones_like)


def gates(declared: Declaration, projected: Float[Array, "*A G H"], kept: Float[Array, "*A G H"]) -> list[Any]:
    """Returns what the declared function gets, gate by gate: activated values, `Shares` of a split gate."""
    known = [_is(SIGMOIDS, activation) or _is(TANHS, activation) for _, activation in declared.gates]
    values = []
    for index, (name, activation) in enumerate(declared.gates):
        value = kept[..., index, :]
        if name in declared.split:
            values.append(Shares(projected[..., index, :], value))
        else:
            values.append(value if activation is None or known[index] else activation(value))
    return values


def gate_tangents(
    declared: Declaration,
    kept: Float[Array, "*A G H"],
    d_kept: Float[Array, "*A G H"],
    d_split: Float[Array, "*A S H"] | None,
) -> list[Any]:
    """Returns the tangents of `gates`; `d_split` is that of the input's share of split gates, None for zero."""
    known = [_is(SIGMOIDS, activation) or _is(TANHS, activation) for _, activation in declared.gates]
    # Slices would have sums of padded arrays as their transpose, a split has a concatenation.
    parts = jax.lax.split(d_kept, [1] * len(known), axis=d_kept.ndim - 2)
    values, splits = [], 0
    for index, (name, activation) in enumerate(declared.gates):
        value = parts[index][..., 0, :]
        if name in declared.split:
            x = jnp.zeros_like(value) if d_split is None else d_split[..., splits, :]
            splits += 1
            values.append(Shares(x, value))
        elif activation is None or known[index]:
            values.append(value)
        else:
            values.append(jax.jvp(activation, (kept[..., index, :],), (value,))[1])
    return values


def _activate(activations: Activations, sums: jax.Array) -> jax.Array:
    return _by_gate(activations, sums, jax.nn.sigmoid, jnp.tanh, lambda sums: sums)


def _by_gate(activations: Activations, block: jax.Array, sigmoid: Any, tanh: Any, other: Any) -> jax.Array:
    """Applies to each gate of the block the function for its activation, evaluated for the whole block."""
    is_sigmoid, is_tanh = (np.array([_is(names, f) for f in activations]) for names in (SIGMOIDS, TANHS))
    chosen = {sigmoid: is_sigmoid, tanh: is_tanh, other: ~(is_sigmoid | is_tanh)}
    first, *more = [(function, where) for function, where in chosen.items() if where.any()]
    result = first[0](block)
    for function, where in more:
        result = jnp.where(over_gates(where, block), function(block), result)
    return result


def _is(functions: tuple, activation: Any) -> bool:
    return any(activation is function for function in functions)


def over_gates(flags: np.ndarray, block: jax.Array) -> jax.Array:
    """Returns flags ``[G]`` of the gates in the shape of their block."""
    return expand_to(flags[:, None], block.ndim)
