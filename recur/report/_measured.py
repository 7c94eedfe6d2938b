"""The first line of a page: what was measured, on what, when."""

from collections.abc import Mapping
from typing import Any

from recur.report._series import clean

_WORDS = {
    "hidden_size": "{} units",
    "input": "{} input",
    "seeds": "{} seeds",
    "preset": "{} preset",
    "dtype": "{}",
}


def measured_line(run: Mapping[str, Any]) -> str:
    """Says in one line what a run measured.

    Args:
        run: its record of kind "run"; its field ``measured`` says it where there is one, otherwise its configuration.

    Returns:
        As "lstm, gru; 64 units; text input; 10 seeds; quick preset; float32; 2026-12-01".
    """
    named = [clean(run["run"])] if "run" in run else []
    if "measured" in run:
        return ": ".join([*named, clean(run["measured"], 400)])
    config = run.get("config")
    config = config if isinstance(config, Mapping) else {}
    cells = config.get("cells")
    told = [", ".join(clean(cell) for cell in cells)] if isinstance(cells, list) and cells else []
    told += [words.format(clean(config[key])) for key, words in _WORDS.items() if config.get(key) is not None]
    told += [clean(str(run["created"])[:10])] if run.get("created") else []
    return ": ".join([*named, "; ".join(told)]) if told else ", ".join(named)
