"""What a checkpoint says besides its arrays: number of the layout, progress, configuration, score."""

import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from recur.train import _manifest
from recur.train._records import Progress

LAYOUT = 3
"""Number of the layout that is written; all from 1 to this are read. `Checkpoints` tells what each is."""


class Stored(NamedTuple):
    """What `to_json` was given; read back, the progress lacks the history, where that is stored beside it."""

    progress: Progress
    config: Mapping[str, Any] | None
    score: float | None


def to_json(stored: Stored) -> dict[str, Any]:
    """Returns all but the history as plain numbers, lists and dicts, with the numbers of layout and recur."""
    progress, config, score = stored
    about = {"layout": LAYOUT, "recur": importlib.metadata.version("recur"), "config": config, "score": score}
    fields = progress._replace(history=[]).to_json()
    return about | {name: value for name, value in fields.items() if name != "history"}


def from_json(where: str, fields: Mapping[str, Any]) -> Stored:
    """Returns what `to_json` wrote, here or in an earlier layout.

    Raises:
        ValueError: The layout is of a later recur.
    """
    # Layout 1 did not say its number, and held progress alone.
    layout = fields.get("layout", 1)
    if layout not in range(1, LAYOUT + 1):
        raise ValueError(
            f"{where}: checkpoint of layout {layout}, written by recur {fields.get('recur')}; this one, "
            f"{importlib.metadata.version('recur')}, reads layouts 1 to {LAYOUT}; install that one, or train in "
            "another folder"
        )
    # From layout 3 on the history stands beside, as arrays.
    fields = {"history": [], **fields} if layout >= 3 else fields
    progress = Progress.from_json({name: fields[name] for name in Progress._fields})
    return Stored(progress, fields.get("config"), fields.get("score"))


def find_damage(folder: Path) -> str | None:
    """Returns a file of a checkpoint that is damaged, and how; None if all are as they were written.

    Of layout 1, which has no manifest, it is only known whether the JSON can be read.
    """
    if (folder / _manifest.NAME).exists():
        return _manifest.find_difference(folder)
    about = folder / "progress" / "metadata"
    try:
        fields = json.loads(about.read_text(encoding="utf-8"))
    except OSError as error:
        return f"{about}: {error.strerror}"
    except ValueError as error:
        return f"{about}: no JSON ({error})"
    return f"{folder / _manifest.NAME}: missing" if "layout" in fields else None
