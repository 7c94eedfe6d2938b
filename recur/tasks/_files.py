"""Small files of settings: written whole or not at all, read with a message that says what is wrong."""

import json
import os
import pathlib
from typing import Any


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes a value as JSON, under another name first, so that a killed process leaves no half file."""
    path = pathlib.Path(path)
    written = path.with_name(f"{path.name}.tmp")
    written.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    written.replace(path)


def read_json(path: str | os.PathLike, kind: str) -> dict:
    """Reads an object that `write_json` wrote, of this `kind`.

    Raises:
        ValueError: A file that is missing, unreadable, no JSON, or of another kind.
    """
    try:
        value = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"path: expected a saved {kind}, got {path}: {error.strerror}; check the path") from None
    except ValueError as error:
        raise ValueError(f"path: expected a saved {kind}, got no JSON in {path}: {error}") from None
    if not isinstance(value, dict) or value.get("kind") != kind:
        raise ValueError(f"path: expected a saved {kind}, got something else in {path}; give the file that was saved")
    return value
