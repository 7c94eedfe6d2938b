"""What an experiment hands over to be trained, measured and shown."""

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from recur import cells, train

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN_EPOCH = 100
"""Steps of an epoch where batches are drawn without an end."""

Recurrence = Callable[[PyTree], tuple[cells.Cell, PyTree, Float[Array, "T *B X"]]]
Shown = Mapping[str, "Figure | Sequence[str]"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """Model, loss and data of an experiment, and what to measure and to show, for S seeds that train together.

    Data are either arrays on the device (`data`, `validation`) or batches from the host (`batches`, `validation`);
    see `recur.train.fit` and `recur.train.fit_batches`, which say what shapes they have.

    Args:
        init: Draws the parameters of one seed, ``init(key) -> params``.
        loss: What training lowers, ``loss(params, batch, key) -> (scalar, metrics)``; see `recur.train.Loss`. Every
            metric makes a curve and a number of the summary, ``train_NAME`` and ``val_NAME``.
        data: Arrays ``[N, ...]`` to train on, or ``[S, N, ...]`` with `data_axis` 0.
        batches: Batches to train on, without an end, such as `recur.tasks.batches` makes with ``epochs=None``. Seeds
            share their order, which is drawn from something else than the seed, so that a seed alone equals itself
            among others.
        draw: Draws a batch on the device, ``draw(key) -> batch``, in the place of both: a function that JAX can trace.
        validation: Such arrays, or batches with an end, to evaluate on; None for none.
        data_axis: 0 if every seed has data of its own, None if they share them.
        steps_per_epoch: Steps of an epoch; by default as many batches as `data` hold, or ``batches.steps_per_epoch``.
        shuffle: False for `data` that are in order, as a `carry` needs.
        carry: What the loss of one seed is handed at the first step, if it carries a state from batch to batch.
        loss_name: What the loss is, with its unit, for pictures.
        loss_scale: Scale of its axis.
        floors: Dashed lines of that picture, by label.
        monitor: Metric that says which parameters are the best and when patience ends, such as ``val_accuracy``; by
            default ``val_loss``, or ``train_loss`` without validation.
        maximize: Whether more of it is better.
        measured: Which parameters `measure`, `show` and ``--flow`` get: the last or the best ones.
        measure: More numbers for the summary, ``measure(params) -> {NAME: [S]}``, of parameters ``[S, ...]``;
            `each_seed` makes it of a function of one seed. What ``--eval_data`` gives is named ``eval_NAME``.
        show: What else is to be seen, ``show(params) -> {NAME: figure or lines of text}``, of parameters ``[S, ...]``:
            each is put on the page of the run and in a file NAME.png or NAME.txt, and lines are printed.
        recurrence: The recurrent part of one seed, ``recurrence(params) -> (cell, its params, xs [T, *B, X])``, with
            inputs to look at it; for ``--flow`` and ``--probe_every``. One that takes a second argument is handed a
            batch, the same each time, as `pure` wants it.
        reads: The recurrent part with what it reads of a batch, ``reads(params, batch) -> (cell, its params, xs)``, to
            name the state that went wrong first; without it the inputs of `recurrence` are read for that.
    """

    init: Callable[[Key[Array, ""]], PyTree]
    loss: train.Loss
    data: PyTree = None
    batches: Iterable[PyTree] | None = None
    draw: Callable[[Key[Array, ""]], PyTree] | None = None
    validation: Any = None
    data_axis: int | None = None
    steps_per_epoch: int | None = None
    shuffle: bool = True
    carry: PyTree = None
    loss_name: str = "mean squared error"
    loss_scale: Literal["log", "linear"] = "log"
    floors: Mapping[str, float] = dataclasses.field(default_factory=dict)
    monitor: str | None = None
    maximize: bool = False
    measured: Literal["last", "best"] = "last"
    measure: Callable[[PyTree], Mapping[str, Any]] | None = None
    show: Callable[[PyTree], Shown] | None = None
    recurrence: Recurrence | None = None
    reads: Callable[[PyTree, PyTree], tuple[cells.Cell, PyTree, Float[Array, "T *B X"]]] | None = None

    def __post_init__(self) -> None:
        """Checks that there are data of one kind."""
        if sum(source is not None for source in (self.data, self.batches, self.draw)) != 1:
            raise ValueError("data: expected one of data=arrays, batches=iterator and draw=function")

    @property
    def best_of(self) -> str:
        """The metric that says which parameters are the best."""
        return self.monitor or ("train_loss" if self.validation is None else "val_loss")

    def with_batch(self, key: Key[Array, ""], batch_size: int) -> "Problem":
        """Returns the problem whose recurrence knows the batch that it is looked at with."""
        if self.recurrence is None or self.batches is not None or _takes_one(self.recurrence):
            return self
        if self.draw is not None:
            batch = self.draw(key)
        else:
            rows = (0,) if self.data_axis == 0 else ()
            batch = jax.tree.map(lambda leaf: leaf[rows][:batch_size], self.data)
        own = self.recurrence
        return dataclasses.replace(self, recurrence=lambda params: own(params, batch))

    def epoch_steps(self, batch_size: int) -> int:
        """Returns the steps of an epoch."""
        if self.steps_per_epoch is not None:
            return self.steps_per_epoch
        if self.draw is not None:
            return DRAWN_EPOCH
        if self.batches is not None:
            return self.batches.steps_per_epoch
        count = jax.tree.leaves(self.data)[0].shape[0 if self.data_axis is None else 1]
        if count < batch_size:
            raise ValueError(f"batch_size: expected at most the {count} samples to train on, got {batch_size}")
        return count // batch_size


def _takes_one(function: Callable) -> bool:
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    return True


def each_seed(function: Callable[[PyTree], Mapping[str, float]]) -> Callable[[PyTree], dict[str, np.ndarray]]:
    """Returns a `measure` of all seeds, one after the other, from a function of the parameters of one."""

    def measure(params: PyTree) -> dict[str, np.ndarray]:
        seeds = len(jax.tree.leaves(params)[0])
        found = [function(jax.tree.map(lambda leaf, n=n: leaf[n], params)) for n in range(seeds)]
        return {name: np.asarray([numbers[name] for numbers in found], np.float64) for name in found[0]}

    return measure
