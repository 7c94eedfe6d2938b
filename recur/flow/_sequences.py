"""Sequences as users have them: padded, masked, begun anew in the middle, read backwards; and cells that run them.

A masked step is the identity, a reset cuts the chain. Both become part of the step of a wrapped cell, whose input is
``(x, counts, resets)``; measurements then need not know of them. Steps that do not count are moved out of the way, so
that lag 0 is each sequence's own last step.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from recur._checks import as_array, as_flags, as_whole_numbers, check_bool, check_shape
from recur._types import Array, Float, Params, PyTree, State
from recur.cells import Cell
from recur.flow._faithful import faithful

Align = Literal["end", "start", "none"]


@dataclasses.dataclass(frozen=True, repr=False)
class MeasuredCell(Cell):
    """A cell as it is measured: its derivatives keep saturated units, its inputs may say which steps count.

    Args:
        cell: The cell.
        flagged: Whether inputs are ``(x, counts, resets)``.
        through: Whether differences of the state pass a reset, as if each sequence went on from the last one's.
        faithful: Whether derivatives come from what stands before an activation (`recur.flow._faithful`).
    """

    cell: Cell
    flagged: bool = False
    through: bool = False
    faithful: bool = True

    def init(self, key: Any, input_size: int, dtype: Any = jnp.float32) -> Params:
        """Draws the parameters of the cell."""
        return self.cell.init(key, input_size, dtype)

    def initial_state(self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> State:
        """Returns that of the cell."""
        return self.cell.initial_state(batch_shape, dtype)

    def prepare(self, params: Params) -> Any:
        """Returns what the cell prepares."""
        return self.cell.prepare(params)

    def project(self, params: Any, xs: PyTree) -> Any:
        """Returns the cell's share without the state, and the flags."""
        if not self.flagged:
            return self.cell.project(params, xs)
        x, counts, resets = xs
        return self.cell.project(params, x), counts, resets

    def advance(self, params: Any, state: State, projected: Any) -> State:
        """Returns the next state."""
        advance = faithful(self.cell.advance) if self.faithful else self.cell.advance
        if not self.flagged:
            return advance(params, state, projected)
        own, counts, resets = projected
        fresh = self.cell.initial_state(counts.shape, jax.tree.leaves(state)[0].dtype)
        if self.through:
            fresh = jax.tree.map(lambda new, old: old + jax.lax.stop_gradient(new - old), fresh, state)
        after = advance(params, _pick(resets, fresh, state), own)
        return _pick(counts, after, state)

    def output(self, state: State) -> Float[Array, "*B H"]:
        """Reads what the cell reads."""
        return self.cell.output(state)

    def __repr__(self) -> str:
        """Shows the cell."""
        return repr(self.cell)


class Sequences(NamedTuple):
    """Inputs in the order in which a run takes them.

    Args:
        xs: Inputs ``[T, *B, X]``, zero at steps that do not count.
        counts: Which steps count, ``[T, *B]``; None for all.
        resets: Where a new sequence begins; None for nowhere.
    """

    xs: PyTree
    counts: jax.Array | None
    resets: jax.Array | None

    @property
    def flagged(self) -> bool:
        """Whether there is anything to say beside the inputs."""
        return self.counts is not None or self.resets is not None

    @property
    def lengths(self) -> jax.Array | None:
        """Steps that count, ``[*B]``."""
        return None if self.counts is None else self.counts.sum(0)

    def inputs(self) -> PyTree:
        """Returns what a flagged `MeasuredCell` reads, flags as numbers so that all of it has derivatives."""
        shape = jax.tree.leaves(self.xs)[0].shape[:-1]
        counts = jnp.ones(shape) if self.counts is None else self.counts.astype(jnp.float32)
        resets = jnp.zeros(shape) if self.resets is None else self.resets.astype(jnp.float32)
        return self.xs, counts, resets


def read_sequences(
    xs: Float[Array, "T *B X"], lengths: Any, mask: Any, reset: Any, reverse: bool, align: Align
) -> Sequences:
    """Checks what says which steps count, and puts the steps in order.

    Raises:
        TypeError: Flags that are no booleans, lengths that are no whole numbers.
        ValueError: Other shapes, lengths outside 0..T, lengths beside a mask; axes that look swapped are named.
    """
    xs = as_array("xs", xs)
    shape, remedy = xs.shape[:-1], "one flag for each step of each sequence, xs.shape[:-1]"
    if lengths is not None and mask is not None:
        raise ValueError("lengths: expected None beside mask, got both; a mask says all that lengths say")
    for name, flags in (("mask", mask), ("reset", reset)):
        got = getattr(flags, "shape", None)
        if got is not None and len(shape) == 2 and got == shape[::-1] and got != shape:
            raise ValueError(
                f"{name}: expected shape [T, B] = {shape}, got {got}; xs looks batch-major: functional code is "
                f"time-major, jnp.moveaxis(xs, 1, 0) turns it"
            )
    mask, reset = as_flags("mask", mask, shape, remedy), as_flags("reset", reset, shape, remedy)
    if lengths is not None:
        mask = _mask_of(lengths, shape)
    if check_bool("reverse", reverse):
        xs, mask, reset = (None if leaf is None else jnp.flip(leaf, 0) for leaf in (xs, mask, reset))
    if mask is None:
        return Sequences(xs, None, reset)
    reset = None if reset is None else reset & mask
    xs = jnp.where(mask[..., None], xs, 0)
    if align != "none":
        # Stable: steps that count stay in their order.
        order = jnp.argsort(mask if align == "end" else ~mask, axis=0, stable=True)
        mask = jnp.take_along_axis(mask, order, axis=0)
        reset = None if reset is None else jnp.take_along_axis(reset, order, axis=0)
        xs = jnp.take_along_axis(xs, order[..., None], axis=0)
    return Sequences(xs, mask, reset)


def _mask_of(lengths: Any, shape: tuple[int, ...]) -> jax.Array:
    if not isinstance(lengths, jax.core.Tracer):
        numbers = as_whole_numbers("lengths", lengths)
        if len(shape) == 2 and numbers.shape == shape[:1] != shape[1:]:
            raise ValueError(
                f"lengths: expected one for each of the {shape[1]} sequences of xs [T, B, X], got {numbers.shape}; xs "
                f"looks batch-major: functional code is time-major, jnp.moveaxis(xs, 1, 0) turns it"
            )
        check_shape("lengths", numbers, shape[1:], "one number for each sequence, xs.shape[1:-1]")
        if numbers.size and not 0 <= numbers.min() <= numbers.max() <= shape[0]:
            raise ValueError(
                f"lengths: expected 0 to T = {shape[0]}, got {numbers.min()} to {numbers.max()}; xs is [T, *B, X], "
                f"time first"
            )
    steps = jnp.arange(shape[0]).reshape(-1, *(1,) * (len(shape) - 1))
    return steps < jnp.asarray(lengths)[None]


def _pick(flags: jax.Array, yes: State, no: State) -> State:
    def leaf(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(flags.reshape(flags.shape + (1,) * (b.ndim - flags.ndim)) > 0, a, b)

    return jax.tree.map(leaf, yes, no)
