"""Small files of settings: written whole or not at all, read with a message that says what is wrong."""

import json
import os
import pathlib
from typing import Any

from recur._checks import as_path


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes a value as JSON, under another name first, so that a killed process leaves no half file."""
    path = pathlib.Path(path)
    written = path.with_name(f"{path.name}.tmp")
    text = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
    # A lone surrogate, which UTF-8 has not, is escaped as JSON does it.
    written.write_text(text, encoding="utf-8", errors="backslashreplace")
    written.replace(path)


def read_json(path: str | os.PathLike, kind: str, field: str) -> tuple[str, ...]:
    """Reads the strings in a field of an object that `write_json` wrote, of this `kind`.

    Raises:
        ValueError: A file that is missing, unreadable, no JSON, of another kind, or without these strings.
    """
    try:
        value = json.loads(as_path("path", path).read_text(encoding="utf-8"))
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
