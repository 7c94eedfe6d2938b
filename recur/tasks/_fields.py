"""Fields of items: looked at once for lengths, shapes and dtypes, then stacked or padded to batches."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from recur._checks import as_numpy, brief, check_number, check_positive, check_sized
from recur.tasks._batches import Batch

Items = Sequence[Mapping[str, Any]]


class Field(NamedTuple):
    """What all items agree on in a field.

    Args:
        dtype: To which the dtypes of all items are promoted; None as long as only empty lists came.
        shape: Of every item; without the first axis, time, in a padded field.
    """

    dtype: np.dtype | None
    shape: tuple[int, ...]


def look(items: Items, pad: Mapping[str, float], max_length: int | None) -> tuple[np.ndarray, dict[str, Field]]:
    """Goes through all items once, and returns the length of each and the fields of all.

    The length of an item is that of the longest of its padded fields; 0 where nothing is padded.

    Raises:
        TypeError: Items that are no dicts of numbers.
        ValueError: No items, one that is too long, fields or shapes that differ, a padding that does not fit, a field
            with a name that a batch itself needs.
    """
    # A `grain.MapDataset` is one too, though it does not say so.
    is_one = all(hasattr(type(items), name) for name in ("__getitem__", "__len__")) and getattr(items, "ndim", 1)
    if not is_one or isinstance(items, Mapping):
        raise TypeError(f"items: expected a sequence of dicts, got {brief(items)}")
    if not isinstance(pad, Mapping):
        raise TypeError(f"pad: expected a number by the name of each field, got {brief(pad)}")
    if max_length is not None:
        check_positive("max_length", max_length)
    if not len(items):
        raise ValueError("items: expected at least one, got none; give data with content")
    lengths, fields = np.zeros(len(items), np.int64), {}
    for place in range(len(items)):
        item = items[place]
        if not isinstance(item, Mapping):
            raise TypeError(f"items: expected dicts of arrays and numbers, got {brief(item)} at item {place}")
        if not place:
            _check_names(item, pad)
        elif item.keys() != fields.keys():
            raise ValueError(
                f"items: expected the same fields in all, got {list(item)} at item {place} and {list(fields)} before"
            )
        for name, value in item.items():
            where = f"items[{place}][{name!r}]"
            array = as_field(where, value, name in pad)
            fields[name] = _joined(where, fields.get(name), array, value, name in pad)
            if name in pad:
                lengths[place] = max(lengths[place], len(array))
        if max_length is not None and lengths[place] > max_length:
            raise ValueError(
                f"items: expected sequences of at most {max_length}, got length {lengths[place]} at item {place}; "
                "shorten or remove it, or raise max_length"
            )
    fields = {name: field._replace(dtype=field.dtype or np.dtype(float)) for name, field in fields.items()}
    for name, filler in pad.items():
        _check_filler(name, filler, fields[name].dtype)
    return lengths, fields


def collate(items: Items, fields: Mapping[str, Field], pad: Mapping[str, float], length: int) -> Batch:
    """Stacks items to a batch; the fields in `pad` are filled up to `length`, and have their lengths beside them."""
    batch: Batch = {}
    for name, field in fields.items():
        shape = (len(items), length, *field.shape) if name in pad else (len(items), *field.shape)
        batch[name] = np.full(shape, pad.get(name, 0), field.dtype)
        lengths = np.zeros(len(items), np.int32)
        for row, item in enumerate(items):
            value = item[name]
            array = as_field(f"items: field {name!r}", value, name in pad)
            # Other than when it was looked at: drawn anew, perhaps.
            if _joined(f"items: field {name!r}", field, array, value, name in pad) != field:
                raise TypeError(f"items: expected dtype {field.dtype} in {name!r} as at first, got {array.dtype}")
            if name in pad:
                batch[name][row, : len(array)] = array.reshape(len(array), *field.shape)
                lengths[row] = len(array)
            else:
                batch[name][row] = array
        if name in pad:
            batch[f"{name}_lengths"] = lengths
    return batch


def as_field(where: str, value: Any, is_padded: bool) -> np.ndarray:
    """Returns a field of an item as an array of numbers, with at least one axis if it is padded."""
    if is_padded:
        check_sized(where, value)
    array = as_numpy(where, value)
    # The narrow floats and integers of JAX are of kind "V", as are records of several fields.
    if not (array.dtype.kind in "biufc" or jnp.issubdtype(array.dtype, jnp.number)):
        raise TypeError(f"{where}: expected numbers, got {brief(value)}")
    return array


def _joined(where: str, field: Field | None, array: np.ndarray, value: Any, is_padded: bool) -> Field:
    """Returns a field that this array belongs to as well as those before."""
    shape = array.shape[is_padded:]
    if not array.size and is_padded and not hasattr(value, "dtype"):
        # An empty list tells neither.
        return field or Field(None, shape)
    dtype = array.dtype.newbyteorder("=") if array.dtype.kind != "V" else array.dtype
    if field is None or field.dtype is None:
        return Field(dtype, shape)
    if shape != field.shape:
        but = " but for their first axis" if is_padded else ""
        raise ValueError(f"{where}: expected shape {field.shape} as in the items before{but}, got {shape}")
    if dtype == field.dtype:
        return field
    try:
        promoted = np.promote_types(dtype, field.dtype)
    except TypeError:
        promoted = None
    if promoted is None or (promoted.kind == "f" and {dtype.kind, field.dtype.kind} == {"i", "u"}):
        raise TypeError(f"{where}: expected a dtype beside {field.dtype} of other items, got {dtype}; convert them")
    return Field(promoted, shape)


def _check_names(item: Mapping[str, Any], pad: Mapping[str, float]) -> None:
    for name in pad:
        if name not in item:
            raise ValueError(f"pad: expected names among the fields {list(item)}, got {name!r} at item 0")
    for name in ("index", "valid", *(f"{name}_lengths" for name in pad)):
        if name in item:
            raise ValueError(f"items: expected no field {name!r}, which a batch has of its own; rename it")


def _check_filler(name: str, filler: Any, dtype: np.dtype) -> None:
    """Raises unless a padding is a number that the field's dtype can hold."""
    number = check_number(f"pad[{name!r}]", int(filler) if isinstance(filler, bool | np.bool_) else filler)
    if dtype.kind == "b":
        fits = number in (0, 1)
    elif jnp.issubdtype(dtype, jnp.integer):
        bounds = jnp.iinfo(dtype)
        fits = number.is_integer() and bounds.min <= int(filler) <= bounds.max
    else:
        fits = not np.isfinite(number) or abs(number) <= float(jnp.finfo(dtype).max)
    if not fits:
        raise ValueError(f"pad[{name!r}]: expected a number that the field's dtype {dtype} holds, got {brief(filler)}")
