"""Batches by their number, and iterators over them, through grain, that can be saved."""

import operator
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from recur._checks import check_positive, is_one_of
from recur.tasks._extras import extra

Remainder = Literal["keep", "drop"]
Batch = dict[str, np.ndarray]


class Batches(Sequence[Batch]):
    """Batches by their number, the same ones whenever they are asked for; iterating goes through grain.

    ``iter(batches)`` is a `grain.DatasetIterator`, which reads ahead in a thread of its own. Its ``get_state()`` is a
    small dict that goes into a checkpoint as JSON, and after ``set_state`` it goes on with the very next batch;
    `grain.checkpoint` makes an Orbax item of it. Or count steps: ``batches[step]`` is the batch of a step.

    Args:
        make: Gives the batch of an epoch and a step in it, both counted from 0.
        steps_per_epoch: Batches in an epoch.
        epochs: Epochs until the end; None for no end.
        read_ahead: Batches that are made in advance; 0 for none.
    """

    def __init__(
        self, make: Callable[[int, int], Batch], steps_per_epoch: int, *, epochs: int | None = 1, read_ahead: int = 2
    ):
        self.steps_per_epoch = check_positive("steps_per_epoch", steps_per_epoch)
        self.epochs = None if epochs is None else check_positive("epochs", epochs)
        self._make, self._read_ahead = make, read_ahead

    def __len__(self) -> int:
        """Returns the number of batches in all epochs; `sys.maxsize` if there is no end."""
        return sys.maxsize if self.epochs is None else self.steps_per_epoch * self.epochs

    def __getitem__(self, step: int) -> Batch:
        """Returns the batch of a step, counted through all epochs."""
        return self._make(*divmod(range(len(self))[operator.index(step)], self.steps_per_epoch))

    def __iter__(self) -> Any:
        """Returns a `grain.DatasetIterator` that stands before the first batch."""
        grain = extra("grain", "batches")
        options = grain.ReadOptions(num_threads=min(self._read_ahead, 1), prefetch_buffer_size=self._read_ahead)
        return iter(grain.MapDataset.source(self).to_iter_dataset(options))


def check_remainder(remainder: str) -> None:
    """Raises ValueError unless `remainder` is known."""
    if not is_one_of(remainder, ("keep", "drop")):
        raise ValueError(f"remainder: expected 'keep' or 'drop', got {remainder!r}")


def rows_of(part: tuple[int, int], batch_size: int) -> slice:
    """Returns the rows of a batch that are part ``part[0]``, from 0, of ``part[1]`` of one size.

    Raises:
        ValueError: There is no such part, or the parts do not divide the batch.
        TypeError: A number is not whole.
    """
    index, count = (operator.index(number) for number in part)
    if not 0 <= index < count or batch_size % count:
        raise ValueError(
            f"part: expected (index, count) with 0 <= index < count and a count that divides the batch of "
            f"{batch_size}, got {(index, count)}; recur.train.batch_part(mesh) names one"
        )
    size = batch_size // count
    return slice(index * size, (index + 1) * size)
