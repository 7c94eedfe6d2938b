"""What a checkpoint says besides its arrays: number of the layout, progress, configuration, score."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from recur._version import __version__
from recur.train import _manifest
from recur.train._json import as_json, from_json
from recur.train._records import Progress

LAYOUT = 4
"""Number of the layout that is written; all from 1 to this are read. `Checkpoints` tells what each is."""

PROGRESS, STATE, HISTORY = "progress", "state", "history"


class DamagedError(ValueError):
    """A file of a checkpoint is not what was written; the message is its path, and why."""


class Stored(NamedTuple):
    """What `to_json` was given; read back, the progress lacks the history, where that is stored beside it.

    Attributes:
        progress: How far the run was.
        config: What it says about itself.
        score: How good the checkpoint is, the lower the better.
        fingerprint: What the run is known by where it has no configuration.
        empty: Arrays without entries, by name, which have no file.
        layout: In which layout it is stored.
    """

    progress: Progress
    config: Mapping[str, Any] | None
    score: float | None
    fingerprint: Mapping[str, str] | None = None
    empty: Mapping[str, jax.ShapeDtypeStruct] = {}
    layout: int = LAYOUT


def to_json(stored: Stored) -> dict[str, Any]:
    """Returns all but the history as plain numbers, lists and dicts, with the numbers of layout and recur."""
    progress = stored.progress._replace(history=[], position=None).to_json()
    return {
        "layout": LAYOUT,
        "recur": __version__,
        "config": stored.config,
        "score": stored.score,
        "fingerprint": stored.fingerprint,
        "empty": {name: [str(leaf.dtype), list(leaf.shape)] for name, leaf in stored.empty.items()},
        **{name: value for name, value in progress.items() if name != "history"},
        "position": as_json("position", stored.progress.position),
    }


def read_about(folder: Path) -> Stored:
    """Returns what `to_json` made, of a checkpoint in any layout.

    Raises:
        DamagedError: It is not what was written.
        ValueError: The layout is of a later recur.
        OSError: It cannot be read.
    """
    path = about_path(folder)
    try:
        fields = _manifest.read_json(path)
        # Layout 1 did not say its number, and held progress alone.
        layout = fields.get("layout", 1)
        if type(layout) is not int or layout < 1:
            raise ValueError(f"layout {layout!r}")
        if layout <= LAYOUT:
            return _from_json(fields, layout)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise DamagedError(f"{path}: not what was written ({type(error).__name__}: {error})") from None
    raise ValueError(
        f"{folder}: checkpoint of layout {layout}, written by recur {fields.get('recur')}; this one, {__version__}, "
        f"reads layouts 1 to {LAYOUT}; install that one, or train in another folder"
    )


def _from_json(fields: Mapping[str, Any], layout: int) -> Stored:
    # From layout 3 on the history stands beside, as arrays.
    fields = {"history": [], **fields} if layout >= 3 else fields
    progress = Progress.from_json({name: fields[name] for name in Progress._fields})
    if layout >= 4:
        progress = progress._replace(position=from_json(progress.position))
    config, score, fingerprint = fields.get("config"), fields.get("score"), fields.get("fingerprint")
    if not isinstance(progress.wall_s, int | float) or not isinstance(score, int | float | None):
        raise TypeError("a number that is none")
    if not isinstance(config, dict | None) or not isinstance(fingerprint, dict | None):
        raise TypeError("an object that is none")
    empty = {
        name: jax.ShapeDtypeStruct(tuple(shape), np.dtype(dtype))
        for name, (dtype, shape) in fields.get("empty", {}).items()
    }
    if any(0 not in leaf.shape for leaf in empty.values()):
        raise ValueError("an array without entries that has some")
    return Stored(progress, config, score, fingerprint, empty, layout)


def find_damage(folder: Path) -> str | None:
    """Returns a file of a checkpoint that is damaged, and how; None if all are as they were written.

    Of layout 1, which has no manifest, it is only known whether the JSON can be read.
    """
    if (folder / _manifest.NAME).exists():
        return _manifest.find_difference(folder)
    about = about_path(folder)
    try:
        fields = _manifest.read_json(about)
    except OSError as error:
        return f"{about}: {error.strerror}"
    except (ValueError, RecursionError) as error:
        return f"{about}: no JSON ({error})"
    return f"{folder / _manifest.NAME}: missing" if not isinstance(fields, dict) or "layout" in fields else None


def about_path(folder: Path) -> Path:
    """Returns the file with the JSON."""
    return folder / PROGRESS / "metadata"
