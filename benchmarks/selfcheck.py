"""Checks recur on this device against oracles, and leaves a scorecard.

    python -m benchmarks.selfcheck --cells=gru,lstm --out=runs/selfcheck

For every cell and engine: outputs and final state against a plain loop over the cell's step in float64, gradients
against central finite differences, float32 gradients against float64 ones; and what `recur.flow` measures against
closed forms. Tolerances follow from rounding. Exit code 1 if any check fails.
"""

import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax
import tqdm
from absl import flags

from recur import cells, check, report
from recur.runs import _machine, _main

Row = dict[str, Any]

LEAD = (
    "Each row shows the entry that comes closest to its tolerance. Tolerances are counted roundings; a matrix product "
    "runs in the highest precision of the device."
)


@dataclasses.dataclass(frozen=True)
class Config:
    """What to check.

    Args:
        cells: Names of `recur.cells.CELLS`, or a user's own as module:factory. Closed forms are of named cells.
        seed: Seed of all random draws.
    """

    cells: tuple[str, ...] = tuple(cells.CELLS)
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the values."""
        if not self.cells or len(set(self.cells)) != len(self.cells):
            raise ValueError(f"cells: expected distinct names, at least one, got {list(self.cells)}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed: expected 0 <= seed < 2**32, got {self.seed}")


def selfcheck(config: Config, out: str | os.PathLike) -> list[Row]:
    """Runs all checks and writes records.jsonl, summary.json and index.html.

    Returns:
        Rows of the scorecard, failed ones first.

    Raises:
        ValueError: An unknown cell, or a folder that cannot be written.
    """
    started = time.perf_counter()
    chosen = {name: _cell(name) for name in config.cells}
    out = _machine.writable_folder("out", out)
    run = _run_record(config)
    report.write_jsonl(out / "records.jsonl", [run])
    todo = [*check.engine_checks(chosen, config.seed), *check.closed_form_checks(config.cells, config.seed)]
    rows = []
    # Some devices round the factors of a float32 product to fewer bits unless told not to.
    with jax.default_matmul_precision("highest"), tqdm.tqdm(todo, "selfcheck", unit="check", disable=None) as progress:
        for one in progress:
            progress.set_postfix_str(f"{one.name}: {one.cell}")
            rows += one.rows()
    rows.sort(key=lambda row: row["pass"])
    passed = sum(row["pass"] for row in rows)
    run |= {"checks": len(rows), "passed": passed, "wall_s": round(time.perf_counter() - started, 2)}
    report.write_jsonl(out / "records.jsonl", [run, *({"kind": "check", **row} for row in rows)])
    report.write_json(out / "summary.json", {**run, "failed": [row for row in rows if not row["pass"]]})
    page = report.Page("Oracle scorecard", f"{_verdict(rows)} on {run['device']}, {run['dtype']}. {LEAD}")
    for name in dict.fromkeys(row["check"] for row in rows):
        page.heading(name)
        page.table(_shown([row for row in rows if row["check"] == name]))
    page.write(out / "index.html")
    return rows


def conclude(rows: Sequence[Row]) -> None:
    """Prints the scorecard and the count.

    Raises:
        SystemExit: With code 1 and one line on standard error that names the failed checks, if there are any.
    """
    print(f"{report.markdown_table(_shown(rows))}\n{_verdict(rows)}")
    names = (" ".join(filter(None, (row["check"], row["cell"], row["engine"]))) for row in rows if not row["pass"])
    failed = list(dict.fromkeys(names))
    if failed:
        print(f"failed: {'; '.join(failed)}", file=sys.stderr, flush=True)
        sys.exit(_main.WENT_WRONG)


def _cell(name: str) -> cells.Cell:
    try:
        cell = cells.find_factory(name)(check.HIDDEN)
    except TypeError as error:
        raise ValueError(f"cells: expected {name} to take a hidden size alone, got: {error}") from None
    if not isinstance(cell, cells.Cell):
        raise ValueError(f"cells: expected {name} to return a recur.cells.Cell, got {cell!r}")
    return cell


def _verdict(rows: Sequence[Row]) -> str:
    return f"{sum(row['pass'] for row in rows)} of {len(rows)} checks pass"


def _shown(rows: Sequence[Row]) -> list[Row]:
    return [{**row, "pass": "yes" if row["pass"] else "NO"} for row in rows]


def _run_record(config: Config) -> dict[str, Any]:
    return {
        "kind": "run",
        "benchmark": "selfcheck",
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "config": {"cells": list(config.cells), "seed": config.seed},
        **_machine.facts(),
        "dtype": str(jax.numpy.result_type(float)),
        "matmul_precision": "highest",
    }


def main(argv: Sequence[str]) -> None:
    del argv
    values = flags.FLAGS
    print(f"gradients and all else are checked on {_machine.facts()['device']}", flush=True)
    conclude(selfcheck(Config(tuple(values.cells), values.seed), values.out))


if __name__ == "__main__":
    # Under the guard, for other scripts have flags of the same names.
    flags.DEFINE_list("cells", list(Config.cells), "Names of recur.cells.CELLS, or your own as module:factory.")
    flags.DEFINE_integer("seed", Config.seed, "Seed of all random draws.")
    flags.DEFINE_string("out", "runs/selfcheck", "Folder for the page and the records.")
    _main.run(main)
