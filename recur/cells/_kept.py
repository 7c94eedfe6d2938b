"""What is kept of the gates: enough for them and for their derivatives, in one array for each gate.

Of gates through sigmoid or tanh that is their activated value, as ``sigmoid' = a (1 - a)`` and ``tanh' = 1 - a^2``; of
linear gates and of those through any other activation the sum ``x W + b + h U``; of split gates their share ``h U``.
The sums of all gates of a kind lie side by side, so that each activation is evaluated once for a whole block: compilers
make faster loops of that than of one gate after the other, or of a choice between two activations. What is kept lies
gate by gate, as loops over columns of a wider array are several times slower than over an array of its own.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur._types import Array, Float
from recur.cells._declaration import Declaration, Shares

SIGMOIDS = (jax.nn.sigmoid, jax.lax.logistic)
TANHS = (jnp.tanh, jax.lax.tanh, jax.nn.tanh)
SIGMOID, TANH, SUM, SPLIT = range(4)
"""Kinds of gates, in the order in which they are laid."""

Kept = tuple[Float[Array, "*A H"], ...]
"""One entry for each gate, in the order in which they are declared."""


class Layout(NamedTuple):
    """Where gates lie, by kind.

    Args:
        order: Declared place of each gate, in the order in which they are laid.
        kinds: The kind of each block.
        sizes: Gates of each block.
        kind_of: The kind of each gate, by declared place.
    """

    order: tuple[int, ...]
    kinds: tuple[int, ...]
    sizes: tuple[int, ...]
    kind_of: tuple[int, ...]

    @property
    def summed(self) -> int:
        """Gates that are no split ones, which come last."""
        return len(self.order) - self.kind_of.count(SPLIT)


@functools.lru_cache(maxsize=256)
def layout(declared: Declaration) -> Layout:
    """Returns where the gates of a declaration lie."""
    kinds = tuple(_kind(declared, place) for place in range(len(declared.gates)))
    order = tuple(sorted(range(len(kinds)), key=lambda place: kinds[place]))
    present = tuple(sorted(set(kinds)))
    return Layout(order, present, tuple(map(kinds.count, present)), kinds)


def _kind(declared: Declaration, place: int) -> int:
    name, activation = declared.gates[place]
    if name in declared.split:
        return SPLIT
    if any(activation is function for function in SIGMOIDS):
        return SIGMOID
    return TANH if any(activation is function for function in TANHS) else SUM


def keep(
    where: Layout, projected: Float[Array, "*A N"], share: Float[Array, "*A N"] | None, *, read_once: bool
) -> Kept:
    """Evaluates the gates from their two shares, both laid by kind; `share` is None where no gate sees the state.

    `read_once` says that one expression reads them all, as that of a state of one field does.
    """
    sums = projected if share is None else projected + share
    units = sums.shape[-1] // len(where.order)
    sources = {kind: share if kind == SPLIT else sums for kind in where.kinds}
    written = read_once and where.kinds[0] == SIGMOID and len(where.kinds) > 1
    if written:
        # Written into the block in place: XLA would fuse all that is read once into one loop, which LLVM does not turn
        # into vector instructions where it holds several transcendental functions; two to three times as slow.
        last = sources[where.kinds[-1]]
        sigmoids = jax.nn.sigmoid(sums[..., : where.sizes[0] * units])
        block = jax.lax.dynamic_update_slice(last, sigmoids, (0,) * last.ndim)
        sources = {kind: block if source is last or kind == SIGMOID else source for kind, source in sources.items()}
    blocks, start = [], 0
    for kind, size in zip(where.kinds, where.sizes, strict=True):
        part = sources[kind][..., start : start + size * units]
        start += size * units
        if kind == SIGMOID and not written:
            part = jax.nn.sigmoid(part)
        part = jnp.tanh(part) if kind == TANH else part
        blocks += [_gate(part, within, units) for within in range(size)]
    return tuple(blocks[where.order.index(place)] for place in range(len(where.order)))


def gates(declared: Declaration, where: Layout, projected: Float[Array, "*A N"], kept: Kept) -> list[Any]:
    """Returns what the declared function gets, gate by gate: activated values, `Shares` of a split gate."""
    units = projected.shape[-1] // len(where.order)
    values = []
    for place, ((_, activation), value, kind) in enumerate(zip(declared.gates, kept, where.kind_of, strict=True)):
        if kind == SPLIT:
            values.append(Shares(_gate(projected, where.order.index(place), units), value))
        else:
            values.append(value if kind != SUM or activation is None else activation(value))
    return values


def gate_tangents(
    declared: Declaration,
    where: Layout,
    kept: Kept,
    d_sums: Float[Array, "*A N"],
    d_split: Float[Array, "*A M"] | None,
) -> list[Any]:
    """Returns the tangents of `gates` from those of their sums, of a split gate of its share ``h U``.

    `d_split` is that of the input's share of split gates, None for zero.
    """
    count = len(where.order)
    units = d_sums.shape[-1] // count
    # Slices would have sums of padded arrays as their transpose, a split has a concatenation.
    parts = jax.lax.split(d_sums, [units] * count, axis=d_sums.ndim - 1)
    values, splits = [], iter(range(count))
    for place, ((_, activation), a, kind) in enumerate(zip(declared.gates, kept, where.kind_of, strict=True)):
        d = parts[where.order.index(place)]
        if kind == SPLIT:
            x = jnp.zeros_like(d) if d_split is None else _gate(d_split, next(splits), units)
            values.append(Shares(x, d))
        elif kind == SUM:
            values.append(d if activation is None else jax.jvp(activation, (a,), (d,))[1])
        else:
            values.append(d * (a * (1 - a) if kind == SIGMOID else 1 - a * a))
    return values


def _gate(block: Float[Array, "*A N"], place: int, units: int) -> Float[Array, "*A H"]:
    return block[..., place * units : (place + 1) * units]
