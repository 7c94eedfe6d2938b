"""Where the batches of compiled steps come from: rows of data on the device, or draws from a key."""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from recur._checks import check_arrays, check_callable, check_positive
from recur._types import Array, Int, Key, PyTree
from recur.train._epoch import epoch_rows, sample_count, steps_per_epoch, take_rows
from recur.train._evaluate import batch_size as rows_of
from recur.train._method import NO_EPOCH
from recur.train._programs import Held
from recur.train._state import draw_key

Draw = Callable[[Key[Array, ""]], PyTree]
"""``draw(key) -> batch``, arrays ``[B, ...]`` in a pytree; another key at every step."""


class Feed(Protocol):
    """What gives the batch of a step; hashable, as it is compiled in.

    Attributes:
        batch_size: B, samples of a batch.
    """

    batch_size: int

    def per_epoch(self, data: PyTree) -> int:
        """Returns the steps of an epoch, or how many stand for one."""

    def last(self, data: PyTree, begin: Int[Array, ""]) -> Int[Array, ""] | None:
        """Returns the step up to which `shared` holds that is drawn at the step `begin`, None for all."""

    def shared(self, key: Key[Array, ""], data: PyTree, begin: Int[Array, ""]) -> Any:
        """Returns what several steps from `begin` on have in common."""

    def batch(
        self, key: Key[Array, ""], data: PyTree, shared: Any, index: Int[Array, ""], axis_name: str | None
    ) -> PyTree:
        """Returns the batch of the step `index`, counted from 0, or the part of it that this device takes."""


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of the data, epoch after epoch, each in an order of its own."""

    batch_size: int
    shuffle: bool

    def per_epoch(self, data: PyTree) -> int:
        """Returns the steps of an epoch."""
        return steps_per_epoch(sample_count(data), self.batch_size)

    def last(self, data: PyTree, begin: Int[Array, ""]) -> Int[Array, ""]:
        """Returns the end of the epoch."""
        per_epoch = self.per_epoch(data)
        return (begin // per_epoch + 1) * per_epoch

    def shared(self, key: Key[Array, ""], data: PyTree, begin: Int[Array, ""]) -> Int[Array, "steps batch"]:
        """Returns the rows of every batch of the epoch."""
        epoch = begin // self.per_epoch(data)
        return epoch_rows(key, epoch, sample_count(data), self.batch_size, shuffle=self.shuffle)

    def batch(
        self,
        key: Key[Array, ""],
        data: PyTree,
        shared: Int[Array, "steps batch"],
        index: Int[Array, ""],
        axis_name: str | None,
    ) -> PyTree:
        """Returns the samples of a step."""
        del key
        return take_rows(data, _part(shared[index % self.per_epoch(data)], axis_name))


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Batches that are drawn from the key of a step; `data` are None."""

    draw: Held
    batch_size: int

    @property
    def held(self) -> tuple[Held, ...]:
        """The functions that programs die with."""
        return (self.draw,)

    def per_epoch(self, data: PyTree) -> int:
        """Returns how many steps stand for an epoch."""
        del data
        return NO_EPOCH

    def last(self, data: PyTree, begin: Int[Array, ""]) -> None:
        """Returns None: steps have nothing in common."""

    def shared(self, key: Key[Array, ""], data: PyTree, begin: Int[Array, ""]) -> None:
        """Returns None."""

    def batch(
        self, key: Key[Array, ""], data: PyTree, shared: None, index: Int[Array, ""], axis_name: str | None
    ) -> PyTree:
        """Returns what is drawn for a step: on several devices each draws the same whole, and takes its part."""
        del data, shared
        drawn = self.draw.function(draw_key(key, index))
        return jax.tree.map(lambda leaf: _part(leaf, axis_name) if leaf.ndim else leaf, drawn)


def drawn(draw: Any, key: Key[Array, ""]) -> Drawn:
    """Returns the feed of a function, or raises where it is none of a key, or returns no batch."""
    check_callable("draw", draw, "(key) -> batch", 1)
    batch = jax.eval_shape(draw, key)
    check_arrays("draw", batch)
    return Drawn(Held(draw), check_positive("draw: samples of a batch", rows_of(batch, name="draw")))


def _part(rows: Array, axis_name: str | None) -> Array:
    """Returns the rows that this device takes."""
    if axis_name is None:
        return rows
    return rows.reshape(jax.lax.axis_size(axis_name), -1, *rows.shape[1:])[jax.lax.axis_index(axis_name)]


def next_multiple(step: Int[Array, ""], every: int) -> Int[Array, ""]:
    """Returns the first multiple of `every` after a step."""
    return (step // every + 1) * every


def next_boundary(feed: Feed, data: PyTree, begin: Int[Array, ""], every: int) -> Int[Array, ""]:
    """Returns the step after `begin` at which a record is due, or what steps have in common ends."""
    due, last = next_multiple(begin, every), feed.last(data, begin)
    return due if last is None else jnp.minimum(due, last)
