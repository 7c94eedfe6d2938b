"""What is kept of the gates: enough for them and for their derivatives, in one array for each kind of gate.

Of gates through sigmoid or tanh that is their activated value, as ``sigmoid' = a (1 - a)`` and ``tanh' = 1 - a^2``; of
linear gates and of those through any other activation the sum ``x W + b + h U``; of split gates their share ``h U``.
All gates of a kind lie side by side, so that each activation is evaluated once for a whole block: compilers make faster
loops of that than of one gate after the other, or of a choice between two activations.
"""

import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur._types import Array, Float
from recur.cells._declaration import Declaration, Shares

SIGMOIDS = (jax.nn.sigmoid, jax.lax.logistic)
TANHS = (jnp.tanh, jax.lax.tanh, jax.nn.tanh)
SIGMOID, TANH, SUM, SPLIT = range(4)
"""Kinds of gates, in the order in which they are laid."""

Kept = tuple[Float[Array, "*A K H"], ...]


class Layout(NamedTuple):
    """Where gates lie, by kind.

    Args:
        order: Declared place of each gate, in the order in which they are laid.
        kinds: The kind of each block.
        sizes: Gates of each block.
        places: By declared place: block and place in it.
    """

    order: tuple[int, ...]
    kinds: tuple[int, ...]
    sizes: tuple[int, ...]
    places: tuple[tuple[int, int], ...]

    @property
    def summed(self) -> int:
        """Gates that are no split ones, which come last."""
        return len(self.order) - sum(size for kind, size in zip(self.kinds, self.sizes, strict=True) if kind == SPLIT)


@functools.cache
def layout(declared: Declaration) -> Layout:
    """Returns where the gates of a declaration lie."""
    kinds = [_kind(declared, place) for place in range(len(declared.gates))]
    order = sorted(range(len(kinds)), key=lambda place: kinds[place])
    blocks = [list(block) for _, block in itertools.groupby(order, key=lambda place: kinds[place])]
    places = {place: (index, within) for index, block in enumerate(blocks) for within, place in enumerate(block)}
    return Layout(
        order=tuple(order),
        kinds=tuple(kinds[block[0]] for block in blocks),
        sizes=tuple(map(len, blocks)),
        places=tuple(places[place] for place in range(len(kinds))),
    )


def _kind(declared: Declaration, place: int) -> int:
    name, activation = declared.gates[place]
    if name in declared.split:
        return SPLIT
    if any(activation is function for function in SIGMOIDS):
        return SIGMOID
    return TANH if any(activation is function for function in TANHS) else SUM


def keep(
    where: Layout, projected: Float[Array, "*A G H"], share: Float[Array, "*A G H"] | None, *, read_once: bool
) -> Kept:
    """Evaluates the gates from their two shares, both laid by kind; `share` is None where no gate sees the state.

    `read_once` says that one expression reads them all, as that of a state of one field does.
    """
    sums = projected if share is None else projected + share
    sources = {kind: share if kind == SPLIT else sums for kind in where.kinds}
    if read_once and where.kinds[0] == SIGMOID and len(where.kinds) > 1:
        # Written into the block in place: XLA would fuse all that is read once into one loop, which LLVM does not turn
        # into vector instructions where it holds several transcendental functions; two to three times as slow.
        last = sources[where.kinds[-1]]
        start = (0,) * last.ndim
        block = jax.lax.dynamic_update_slice(last, jax.nn.sigmoid(sums[..., : where.sizes[0], :]), start)
        sources |= {kind: block for kind, source in sources.items() if source is last or kind == SIGMOID}
        done = SIGMOID
    else:
        done = None
    blocks, start = [], 0
    for kind, size in zip(where.kinds, where.sizes, strict=True):
        part = sources[kind][..., start : start + size, :]
        start += size
        activated = jax.nn.sigmoid if kind == SIGMOID else jnp.tanh if kind == TANH else None
        blocks.append(part if activated is None or kind == done else activated(part))
    return tuple(blocks)


def gates(declared: Declaration, where: Layout, projected: Float[Array, "*A G H"], kept: Kept) -> list[Any]:
    """Returns what the declared function gets, gate by gate: activated values, `Shares` of a split gate."""
    values = []
    for place, (_, activation) in enumerate(declared.gates):
        block, within = where.places[place]
        value, kind = kept[block][..., within, :], where.kinds[block]
        if kind == SPLIT:
            values.append(Shares(projected[..., where.order.index(place), :], value))
        else:
            values.append(value if kind != SUM or activation is None else activation(value))
    return values


def gate_tangents(
    declared: Declaration,
    where: Layout,
    kept: Kept,
    d_sums: Float[Array, "*A G H"],
    d_split: Float[Array, "*A S H"] | None,
) -> list[Any]:
    """Returns the tangents of `gates` from those of their sums, of a split gate of its share ``h U``.

    `d_split` is that of the input's share of split gates, None for zero.
    """
    axis = d_sums.ndim - 2
    blocks = []
    # Slices would have sums of padded arrays as their transpose, a split has a concatenation.
    for kind, a, d in zip(where.kinds, kept, jax.lax.split(d_sums, where.sizes, axis=axis), strict=True):
        slope = {SIGMOID: lambda a: a * (1 - a), TANH: lambda a: 1 - a * a}.get(kind)
        blocks.append(jax.lax.split(d if slope is None else d * slope(a), [1] * a.shape[-2], axis=axis))
    values, splits = [], iter(range(len(where.order)))
    for place, (_, activation) in enumerate(declared.gates):
        block, within = where.places[place]
        value, kind = blocks[block][within][..., 0, :], where.kinds[block]
        if kind == SPLIT:
            x = jnp.zeros_like(value) if d_split is None else d_split[..., next(splits), :]
            values.append(Shares(x, value))
        elif kind == SUM and activation is not None:
            values.append(jax.jvp(activation, (kept[block][..., within, :],), (value,))[1])
        else:
            values.append(value)
    return values
