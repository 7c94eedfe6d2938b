"""The oracle scorecard of this device (T2): closed forms and engines, as `python -m benchmarks.selfcheck` has them."""

import functools
from collections.abc import Sequence

import jax

from benchmarks import _cells, _closed_forms, _engine_checks
from benchmarks._scorecard import Check
from benchmarks.parts._setup import Job, Record, Setup
from recur import cells

CLOSED_FORMS = {
    "tiny": ("elman_relu",),
    "quick": tuple(cells.CELLS),
    "standard": tuple(cells.CELLS),
    "full": tuple(cells.CELLS),
}
"""Cells whose closed forms are checked."""
ENGINES = {"tiny": 0, "quick": 1, "standard": None, "full": None}
"""How many of the run's cells, from the last on, meet every engine; None for all."""


def jobs(setup: Setup) -> list[Job]:
    seed = setup.config.seed
    names = list(setup.config.cells)
    chosen = names[len(names) - ENGINES[setup.preset] :] if ENGINES[setup.preset] is not None else names
    closed = list(_closed_forms.checks(CLOSED_FORMS[setup.preset], seed))
    engines = {name: _cells.cell_factory(name)(_engine_checks.HIDDEN) for name in chosen}
    return [
        *(Job(check.name, functools.partial(_measure, [check])) for check in closed),
        *(Job(f"engines {name}", functools.partial(_engines, {name: cell}, seed)) for name, cell in engines.items()),
    ]


def _engines(named: dict[str, cells.Cell], seed: int) -> list[Record]:
    return _measure(list(_engine_checks.checks(named, seed)))


def _measure(checks: Sequence[Check]) -> list[Record]:
    with jax.default_matmul_precision("highest"):
        rows = [row for check in checks for row in check.rows()]
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
