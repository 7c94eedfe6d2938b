"""An epoch over data on the device: its order, its batches, and all of them as one scan."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from recur._checks import check_arrays, check_positive
from recur._types import Array, Int, Key, PyTree
from recur.train._loss import Loss, Metrics
from recur.train._state import TrainState, shuffle_key
from recur.train._step import make_step


def make_epoch(
    loss: Loss, optimizer: optax.GradientTransformation, *, batch_size: int, clip_norm: float | None = 1.0
) -> Callable[[TrainState, PyTree], tuple[TrainState, Metrics]]:
    """Returns the pure function ``epoch(state, data) -> (state, metrics)``: all batches in one `jax.lax.scan`.

    The data are put in an order drawn from the state's key and the epoch's number (``state.step`` over the steps
    of an epoch) and cut in batches. Where `batch_size` does not divide N, the last N mod batch_size of that order
    are left out of this epoch; the next order leaves out others. Keras makes a smaller batch of them.

    Args:
        loss: As in `make_step`.
        optimizer: As in `make_step`.
        batch_size: Samples of a batch.
        clip_norm: As in `make_step`.

    Returns:
        The epoch; `data` is a pytree of arrays ``[N, ...]``, the metrics are those of `make_step`, ``[steps]``.

    Raises:
        ValueError: `batch_size` or `clip_norm` is not positive; when traced: N is below `batch_size`.
    """
    batch_size = check_positive("batch_size", batch_size)
    step = make_step(loss, optimizer, clip_norm=clip_norm)

    def epoch(state: TrainState, data: PyTree) -> tuple[TrainState, Metrics]:
        count = sample_count(data)
        number = state.step // steps_per_epoch(count, batch_size)

        def body(state: TrainState, rows: jax.Array) -> tuple[TrainState, Metrics]:
            return step(state, take_rows(data, rows))

        return jax.lax.scan(body, state, epoch_rows(state.key, number, count, batch_size))

    return epoch


def epoch_rows(
    key: Key[Array, ""], epoch: Int[Array, ""], count: int, batch_size: int, *, shuffle: bool = True
) -> Int[Array, "steps batch"]:
    """Returns the samples of every batch of an epoch, which is counted from 0; as many as make whole batches."""
    steps = steps_per_epoch(count, batch_size)
    order = jax.random.permutation(shuffle_key(key, epoch), count) if shuffle else jnp.arange(count)
    return order[: steps * batch_size].reshape(steps, batch_size)


def take_rows(data: PyTree, rows: Int[Array, "batch"]) -> PyTree:
    """Returns these samples of the data."""
    return jax.tree.map(lambda leaf: leaf.at[rows].get(mode="promise_in_bounds"), data)


def sample_count(data: PyTree) -> int:
    """Returns N of arrays ``[N, ...]``, or raises where they disagree or are empty."""
    check_arrays("data", data)
    counts = {leaf.shape[0] if leaf.ndim else None for leaf in jax.tree.leaves(data)}
    if len(counts) != 1 or not all(counts):
        shapes = [tuple(leaf.shape) for leaf in jax.tree.leaves(data)]
        raise ValueError(f"data: expected arrays [N, ...] with one N >= 1, got shapes {shapes}")
    return counts.pop()


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Returns the number of whole batches, or raises where there is none."""
    if count < batch_size:
        raise ValueError(f"batch_size: expected at most the {count} samples of the data, got {batch_size}")
    return count // batch_size
