"""Small files of settings: written whole or not at all, read with a message that says what is wrong."""

import json
import os
from typing import Any

from recur._checks import as_path
from recur._files import open_regular, write_text


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes a value as JSON, so that a killed process leaves no half file."""
    write_text(as_path("path", path), json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def read_json(path: str | os.PathLike, kind: str, field: str) -> tuple[str, ...]:
    """Reads the strings in a field of an object that `write_json` wrote, of this `kind`.

    Raises:
        ValueError: A file that is missing, unreadable, no JSON, of another kind, or without these strings.
    """
    try:
        with open_regular(as_path("path", path)) as file:
            value = json.loads(file.read())
    except OSError as error:
        raise ValueError(f"path: expected a saved {kind}, got {path}: {error.strerror}; check the path") from None
    # RecursionError: brackets in brackets, without end.
    except (ValueError, RecursionError) as error:
        raise ValueError(f"path: expected a saved {kind}, got no JSON in {path}: {error}") from None
    if not isinstance(value, dict) or value.get("kind") != kind:
        raise ValueError(f"path: expected a saved {kind}, got something else in {path}; give the file that was saved")
    strings = value.get(field)
    if not isinstance(strings, list) or not all(isinstance(string, str) for string in strings):
        raise ValueError(f"path: expected a saved {kind} with a list of strings {field!r}, got another in {path}")
    return tuple(strings)
