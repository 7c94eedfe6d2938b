"""Configurations and places in data as JSON, with what people put into them: numbers of NumPy, bytes, paths."""

import base64
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from recur._checks import brief

BYTES = "__bytes__"


def as_json(name: str, value: Any) -> Any:
    """Returns a copy of a value in plain numbers, texts, lists and dicts; `name` is told where that cannot be done.

    Numbers and arrays of NumPy become those of Python, tuples lists, paths texts, and bytes what `from_json` reads.

    Raises:
        TypeError: A value that is none of these, or a key that is no text; its place is named.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bytes):
        return {BYTES: base64.b64encode(value).decode("ascii")}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
        return value.tolist()
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{name}: expected keys that are texts, got {brief(key)}; name it by str")
        return {str(key): as_json(f"{name}[{key!r}]", entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(f"{name}[{index}]", entry) for index, entry in enumerate(value)]
    raise TypeError(
        f"{name}: expected numbers, texts, lists and dicts, which can be saved, got {brief(value)}; leave it out, or "
        "make it a text"
    )


def is_json(value: Any) -> bool:
    """Returns whether `as_json` takes a value."""
    try:
        as_json("", value)
    except TypeError:
        return False
    return True


def from_json(value: Any) -> Any:
    """Returns what `as_json` was given, bytes among them; what it made of tuples stays a list."""
    if isinstance(value, list):
        return [from_json(entry) for entry in value]
    if isinstance(value, dict):
        if set(value) == {BYTES}:
            return base64.b64decode(value[BYTES])
        return {key: from_json(entry) for key, entry in value.items()}
    return value


def differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Returns where two JSON objects differ, option by option, as ``name: 64 there, 32 here``.

    Example:
        >>> differences({"cell": "gru", "model": {"units": 64}}, {"cell": "gru", "model": {"units": 32}})
        ['model.units: 64 there, 32 here']
    """
    found = []
    for key in [*stored, *(key for key in asked if key not in stored)]:
        one, other = stored.get(key), asked.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            found += [f"{key}.{difference}" for difference in differences(one, other)]
        # As text, so that nan is what it was.
        elif key not in stored or key not in asked or json.dumps(one) != json.dumps(other):
            there = brief(one) if key in stored else "nothing"
            found.append(f"{key}: {there} there, {brief(other) if key in asked else 'nothing'} here")
    return found
