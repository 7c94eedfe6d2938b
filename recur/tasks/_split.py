"""What to train on, and what to hold out."""

from typing import TypeVar

import numpy as np

from recur._checks import check_positive, check_sized

Items = TypeVar("Items")


def hold_out(items: Items, *, every: int = 10) -> tuple[Items, Items]:
    """Parts items in those to train on and those held out: every tenth, the items 9, 19, 29, ...

    Args:
        items: A list or tuple, an array, or a NamedTuple of these, such as `Pairs`, each of which is parted.
        every: One of how many is held out.

    Returns:
        Both parts, of the type that came.

    Raises:
        TypeError: `every` is not whole.
        ValueError: `every` below 2, or fewer items than `every`.

    Example:
        >>> hold_out(list("abcdefg"), every=3)
        (['a', 'b', 'd', 'e', 'g'], ['c', 'f'])
    """
    if hasattr(items, "_fields"):
        parts = [hold_out(field, every=every) for field in items]
        return type(items)(*(kept for kept, _ in parts)), type(items)(*(held for _, held in parts))
    check_sized("items", items, (tuple, list))
    if check_positive("every", every) < 2:
        raise ValueError(f"every: expected at least 2, got {every}; otherwise nothing is left to train on")
    if len(items) < every:
        raise ValueError(f"items: expected at least {every} to hold one out, got {len(items)}; give more data")
    held = items[every - 1 :: every]
    if hasattr(items, "ndim"):
        return items[np.flatnonzero(np.arange(len(items)) % every != every - 1)], held
    return type(items)(item for place, item in enumerate(items) if place % every != every - 1), held
