"""Batches of items whose sequences are of unequal length."""

import bisect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recur._checks import check_key, check_positive
from recur._types import Array, Key
from recur.tasks._batches import Batch, Batches, Remainder, check_remainder, rows_of
from recur.tasks._fields import collate, look
from recur.tasks._random import host_generator

# Lengths that are looked at as places for a bucket to end; of more, so many are taken evenly.
_CANDIDATES = 256


def batches(
    items: Sequence[Mapping[str, Any]],
    batch_size: int,
    *,
    pad: Mapping[str, float],
    key: Key[Array, ""] | None = None,
    buckets: int | Sequence[int] = 1,
    remainder: Remainder = "keep",
    epochs: int | None = 1,
    max_length: int | None = None,
    read_ahead: int = 2,
    part: tuple[int, int] = (0, 1),
) -> Batches:
    """Makes batches of items, sequences of unequal length padded at their ends.

    Every epoch holds every item once: in a new order that `key` draws, or without a key as they stand. With several
    buckets, items of similar length come together, so that little is padded, while the shapes are few and a jitted
    step is compiled few times. The order then is: shortest bucket first, or with a key batches in drawn order.

    Args:
        items: A sequence, of which an item is a dict of arrays and numbers: a list, or a `grain.MapDataset` that
            reads files. Its items are looked at once for lengths, shapes and dtypes, later only when their batch is
            made. The dtype of a field is the one that holds the numbers of all items. Sequences may be empty.
        batch_size: Items B of a batch.
        pad: The fields whose first axis is time, each with the number that fills it up, which their dtype must hold.
            All others must have one shape, and are stacked.
        key: PRNG key of the order; None keeps it.
        buckets: How many lengths to pad to, chosen so that the least is padded; or these lengths themselves.
        remainder: What to do with the items after the last full batch: ``"keep"`` fills it up with copies of its last
            item, marked as not valid; ``"drop"`` leaves them out, others in every epoch if there is a key.
        epochs: Epochs until the end; None for no end.
        max_length: The longest sequence that is accepted, by default any.
        read_ahead: Batches that are made in advance by a thread; 0 for none.
        part: Which rows of every batch to make, part i of n as (i, n): the others belong to other processes, and their
            items are looked at for their lengths only. Shapes are those of the whole batch but for its rows.

    Returns:
        `Batches` of dicts of NumPy arrays: the fields ``NAME [B, ...]``, those in `pad` ``[B, T, ...]`` with one T
        for all of a batch, and beside each of these ``NAME_lengths [B]`` int32; ``index [B]`` int64, the place in
        `items`; ``valid [B]`` bool, False for copies.

    Raises:
        TypeError: `key` is no key, a number is not whole, or the dtypes of a field have none in common.
        ValueError: No items or fewer than a batch to drop from, a sequence that is longer than `max_length` or the
            last bucket, a name that is no field, items of other fields or shapes, a field named ``index``, ``valid``
            or as the lengths of another, a padding that does not fit, a number below 1, or a part that is none.

    Example:
        >>> items = [{"ids": np.arange(1, n + 1), "label": n} for n in (3, 1, 2)]
        >>> for batch in batches(items, 2, pad={"ids": 0}):
        ...     print(batch["ids"].tolist(), batch["ids_lengths"], batch["label"], batch["valid"])
        [[1, 2, 3], [1, 0, 0]] [3 1] [3 1] [ True  True]
        [[1, 2, 0], [1, 2, 0]] [2 2] [2 2] [ True False]
    """
    check_positive("batch_size", batch_size)
    if key is not None:
        check_key("key", key)
    check_remainder(remainder)
    rows = rows_of(part, batch_size)
    lengths, fields = look(items, pad, max_length)
    bounds = _bounds(lengths, buckets)
    bucket = np.array([bisect.bisect_left(bounds, length) for length in lengths.tolist()])
    count = len(lengths)
    steps = -(-count // batch_size) if remainder == "keep" else count // batch_size
    if not steps:
        raise ValueError(
            f"batch_size: expected at most the {count} items that there are, got {batch_size}; keep the remainder, "
            "or give more data"
        )
    plans: dict[int, list[np.ndarray]] = {}

    def plan(epoch: int) -> list[np.ndarray]:
        """Places of the items of every batch. That of the last epoch is kept."""
        found = plans.get(epoch)
        if found is None:
            rng = host_generator(key, epoch) if key is not None else None
            order = np.arange(count) if rng is None else rng.permutation(count)
            order = order[: steps * batch_size]
            # The sort is stable: within a bucket the order stays.
            order = order[np.argsort(bucket[order], kind="stable")]
            found = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
            if rng is not None:
                found = [found[step] for step in rng.permutation(steps)]
            plans.clear()
            plans[epoch] = found
        return found

    def make(epoch: int, step: int) -> Batch:
        places = plan(epoch)[step]
        chosen = np.append(places, np.repeat(places[-1:], batch_size - len(places)))[rows]
        length = bounds[bucket[places].max()]
        batch = collate([items[place] for place in chosen.tolist()], fields, pad, length)
        return batch | {"index": chosen, "valid": np.arange(batch_size)[rows] < len(places)}

    return Batches(make, steps, epochs=epochs, read_ahead=read_ahead)


def _bounds(lengths: np.ndarray, buckets: int | Sequence[int]) -> list[int]:
    """Returns the lengths to pad to, upwards."""
    if isinstance(buckets, Sequence):
        bounds = sorted({check_positive("buckets", bound) for bound in buckets})
        if not bounds or lengths.max() > bounds[-1]:
            raise ValueError(
                f"buckets: expected one of at least {lengths.max()}, the longest sequence (item {lengths.argmax()}), "
                f"got {bounds}; add one, or shorten it"
            )
        return bounds
    return _least_padding(lengths, check_positive("buckets", buckets))


def _least_padding(lengths: np.ndarray, buckets: int) -> list[int]:
    """Returns at most so many lengths to pad to, upwards, for which the padded items together are the shortest."""
    candidates = np.unique(lengths)
    candidates = candidates[np.unique(np.linspace(0, len(candidates) - 1, _CANDIDATES).round().astype(int))]
    upto = np.searchsorted(np.sort(lengths), candidates, side="right")
    # [i, j]: what a bucket costs that ends at candidate i, and begins after candidate j.
    cost = candidates[:, None] * (upto[:, None] - upto).astype(float)
    cost[np.triu_indices_from(cost, 1)] = np.inf
    best, choices = (candidates * upto).astype(float), []
    for _ in range(buckets - 1):
        choices.append((best + cost).argmin(axis=1))
        best = (best + cost).min(axis=1)
    chosen = [len(candidates) - 1]
    for choice in reversed(choices):
        chosen.append(choice[chosen[-1]])
    return sorted(set(candidates[chosen].tolist()))
