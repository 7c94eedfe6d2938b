"""The oracle scorecard of this device (T2): closed forms and engines, as `python -m benchmarks.selfcheck` has them."""

import functools
from collections.abc import Sequence

import jax

from recur import cells, check
from recur.study._config import label
from recur.study.parts._setup import Job, Record, Setup

FORMS = {"tiny": ("O15",), "quick": ("O4", "O5", "O13", "O15"), "standard": None, "full": None}
"""Numbers of the closed forms to check; None for all."""
ENGINES = {"tiny": 0, "quick": 1, "standard": None, "full": None}
"""How many of the run's cells, from the last on, meet every engine; None for all."""


def jobs(setup: Setup) -> list[Job]:
    seed, names = setup.config.seed, [name for name in setup.config.cells if label(name) not in setup.given.cells]
    forms, count = FORMS[setup.preset], ENGINES[setup.preset]
    chosen = names if count is None else names[len(names) - count :]
    closed = [c for c in check.closed_form_checks(cells.CELLS, seed) if forms is None or c.name.split()[0] in forms]
    engines = {name: cells.find_factory(name)(check.HIDDEN) for name in chosen}
    return [
        *(Job(one.name, functools.partial(_measure, [one])) for one in closed),
        *(Job(f"engines {name}", functools.partial(_engines, {name: cell}, seed)) for name, cell in engines.items()),
    ]


def _engines(named: dict[str, cells.Cell], seed: int) -> list[Record]:
    return _measure(list(check.engine_checks(named, seed)))


def _measure(checks: Sequence[check.Check]) -> list[Record]:
    with jax.default_matmul_precision("highest"):
        rows = [row for one in checks for row in one.rows()]
    return [
        {
            "kind": "check",
            "group": row["check"],
            "name": f"{' '.join(filter(None, (row['cell'], row['engine'])))}: {row['quantity']}",
            "expected": row["expected"],
            "measured": row["measured"],
            "tolerance": row["tolerance"],
            "passed": row["pass"],
            **({"note": row["note"]} if "note" in row else {}),
        }
        for row in rows
    ]
