"""What the records say: ratios to recur, geometric means, and which goals are met."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks._speed_clock import ratios
from benchmarks._speed_programs import MEASURES
from benchmarks._speed_recur import MESH, ONE

JUDGED = ("gradients", "step")
LEAST, BEST_JAX, TORCH = 1.0, 1.8, 1.5
"""Goals: against each peer in each row; geometric means against the best JAX peer and torch with two threads."""

WORDS = {"forward": "forward", "gradients": "forward + backward", "step": "training step"}

Records = Sequence[dict[str, Any]]


def compare(timings: Records) -> list[dict[str, Any]]:
    """Returns their time over ours for each timing of a peer.

    Ours is recur on its mesh, on one device where a row has no mesh; the ratio to one device stands beside it.
    """
    found = []
    for row, cell, measure in dict.fromkeys((t["row"], t["cell"], t["measure"]) for t in timings):
        here = {t["peer"]: t for t in timings if (t["row"], t["cell"], t["measure"]) == (row, cell, measure)}
        if ONE not in here:
            continue
        ours = here.get(MESH, here[ONE])
        found += [
            {
                "kind": "ratio",
                "row": row,
                "cell": cell,
                "measure": measure,
                "peer": name,
                "on_jax": theirs["on_jax"],
                "ours": ours["peer"],
                "ratio": _spread(theirs, ours),
                "ratio_one_device": _spread(theirs, here[ONE]),
            }
            for name, theirs in here.items()
            if not is_recur(name)
        ]
    return found


def is_recur(peer: str) -> bool:
    """Whether a name is one of recur's own ways to run."""
    return peer.startswith(ONE)


def best_jax(compared: Records, measure: str) -> list[dict[str, Any]]:
    """Returns the fastest JAX peer of each row and cell."""
    return _smallest([c for c in compared if c["measure"] == measure and c["on_jax"]])


def two_threads(compared: Records, measure: str) -> list[dict[str, Any]]:
    """Returns torch with two threads in each row and cell."""
    return [c for c in compared if c["measure"] == measure and c["peer"].startswith("torch") and "2 th" in c["peer"]]


def goals(compared: Records) -> list[dict[str, Any]]:
    """Returns each goal with what was reached; `met` is None where nothing was measured for it."""
    found = []
    for measure in JUDGED:
        judged = [c for c in compared if c["measure"] == measure]
        lowest = min(judged, key=lambda c: c["ratio"]["median"], default=None)
        below = [_place(c) for c in judged if c["ratio"]["median"] < LEAST]
        found.append(_goal(measure, "every peer, every row", LEAST, lowest and lowest["ratio"]["median"], below))
        for name, chosen, goal in (
            ("geometric mean, best JAX peer of each row", best_jax(compared, measure), BEST_JAX),
            ("geometric mean, torch with 2 threads", two_threads(compared, measure), TORCH),
        ):
            values = [c["ratio"]["median"] for c in chosen]
            reached = float(np.exp(np.mean(np.log(values)))) if values else None
            found.append(
                _goal(measure, name, goal, reached, [_place(c) for c in chosen if c["ratio"]["median"] < goal])
            )
    return found


def by_peer(compared: Records) -> list[dict[str, Any]]:
    """Returns the geometric mean of each peer over the rows that it ran, its fastest cell where it has several."""
    found = []
    for library in dict.fromkeys(library_of(c["peer"]) for c in compared):
        line: dict[str, Any] = {"peer": library, "cases": 0}
        for measure in MEASURES:
            fastest = _smallest([c for c in compared if c["measure"] == measure and library_of(c["peer"]) == library])
            values = [c["ratio"]["median"] for c in fastest]
            line["cases"] = max(line["cases"], len(values))
            line[WORDS[measure]] = float(np.exp(np.mean(np.log(values)))) if values else None
        found.append(line)
    return found


def library_of(peer: str) -> str:
    """Returns a peer's name without its cell, as in ``flax_nnx`` or ``torch, 2 threads``."""
    name, _, rest = peer.partition(".")
    return f"{name},{rest.partition(',')[2]}" if "," in rest else name


def _goal(measure: str, name: str, goal: float, reached: float | None, below: list[str]) -> dict[str, Any]:
    return {
        "measure": WORDS[measure],
        "goal": name,
        "at least": goal,
        "reached": reached,
        "met": None if reached is None else bool(reached >= goal),
        "below": below,
    }


def _smallest(compared: Records) -> list[dict[str, Any]]:
    best: dict[tuple, dict[str, Any]] = {}
    for c in compared:
        place = c["row"], c["cell"]
        if place not in best or c["ratio"]["median"] < best[place]["ratio"]["median"]:
            best[place] = c
    return list(best.values())


def _place(c: dict[str, Any]) -> str:
    return f"{c['row']} {c['cell']} {c['peer']} {c['ratio']['median']:.2f}"


def _spread(theirs: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    spread = ratios(theirs["walls_s"], ours["walls_s"])
    return {**spread, "text": f"{spread['median']:.2f} ({spread['p25']:.2f} to {spread['p75']:.2f})"}
