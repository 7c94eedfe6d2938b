"""Rows of the oracle scorecard: what was expected, what came out, and whether rounding explains the difference."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Row = dict[str, Any]


class Check(NamedTuple):
    """One entry of the scorecard, still to be measured.

    Args:
        name: What is checked.
        cell: Name of the cell.
        engine: Name of the engine, None where none is chosen.
        measure: Makes the rows, by `Score`s.
    """

    name: str
    cell: str
    engine: str | None
    measure: Callable[[], Sequence["Score"]]

    def rows(self) -> list[Row]:
        """Measures. Whatever is raised on the way is a failed row with the error as note: the others still count."""
        place = {"check": self.name, "cell": self.cell, "engine": self.engine}
        try:
            return [{**place, **score.row()} for score in self.measure()]
        except Exception as error:
            failed = Score("an error was raised", np.zeros(1), np.full(1, np.nan), np.zeros(1)).row()
            return [{**place, **failed, "note": f"{type(error).__name__}: {error}"}]


class Score(NamedTuple):
    """Numbers to compare entry by entry.

    Args:
        quantity: What the numbers are.
        expected: From the oracle, or the upper bound of each number.
        measured: Numbers of the same shape.
        tolerance: Largest difference that rounding explains, one for all or each.
        at_most: Whether `expected` is a bound, which anything below meets.
    """

    quantity: str
    expected: Any
    measured: Any
    tolerance: Any
    at_most: bool = False

    def row(self) -> Row:
        """Returns the entry that comes closest to its tolerance, or exceeds it most, as a row.

        NaN passes nothing, an infinity only its equal.

        Raises:
            ValueError: Shapes that differ, or nothing to compare.
        """
        expected, measured = np.asarray(self.expected, np.float64), np.asarray(self.measured, np.float64)
        if expected.shape != measured.shape or not expected.size:
            raise ValueError(
                f"{self.quantity}: expected numbers of one shape, got {expected.shape} and {measured.shape}"
            )
        with np.errstate(invalid="ignore", divide="ignore"):
            excess = measured - expected
            error = np.where(expected == measured, 0.0, np.maximum(excess, 0.0) if self.at_most else np.abs(excess))
            tolerance = np.where(np.isfinite(expected), self.tolerance, 0.0)
            passes = error <= tolerance
            share = excess if self.at_most else np.where(error == 0, 0.0, error / tolerance)
        passes &= np.isfinite(tolerance)
        worst = np.unravel_index(np.argmax(np.where(passes, np.nan_to_num(share), np.inf)), expected.shape)
        return {
            "quantity": self.quantity,
            "expected": float(expected[worst]),
            "measured": float(measured[worst]),
            "error": float(error[worst]),
            "tolerance": float(tolerance[worst]),
            "pass": bool(passes.all()),
        }


@dataclasses.dataclass(frozen=True, repr=False)
class Scorecard:
    """What was checked, row by row: print it.

    Args:
        rows: One mapping a quantity, with ``check, cell, engine, quantity, expected, measured, error, tolerance, pass``
            and, where an error was raised, ``note``.
        refused: What was not run, by name: why.
    """

    rows: tuple[Row, ...]
    refused: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every row passes, and there is one."""
        return bool(self.rows) and all(row["pass"] for row in self.rows)

    @property
    def failed(self) -> tuple[Row, ...]:
        """The rows that do not pass."""
        return tuple(row for row in self.rows if not row["pass"])

    def raise_failures(self) -> None:
        """Raises AssertionError with the failed rows, if there are any."""
        if not self.passed:
            raise AssertionError(f"{self._count()}\n" + "\n".join(_line(row) for row in self.failed))

    def __str__(self) -> str:
        """One line a check: how many quantities pass, the worst of them, and what went wrong."""
        groups: dict[tuple[str, str], list[Row]] = {}
        for row in self.rows:
            groups.setdefault((row["check"], row["engine"] or ""), []).append(row)
        table = [("check", "engine", "passes", "closest to its tolerance")]
        for (check, engine), rows in groups.items():
            passes = sum(row["pass"] for row in rows)
            worst = max(rows, key=lambda row: (not row["pass"], _share(row)))
            shown = f"{passes} of {len(rows)}" + ("" if passes == len(rows) else "  FAILS")
            table.append((check, engine, shown, _line(worst) if passes < len(rows) else worst["quantity"]))
        widths = [max(len(line[column]) for line in table) for column in range(3)]
        lines = ["  ".join([*map(str.ljust, line[:3], widths), line[3]]).rstrip() for line in table]
        lines += [f"not run: {name} ({why})" for name, why in self.refused.items()]
        return "\n".join([*lines, self._count()])

    __repr__ = __str__

    def _count(self) -> str:
        return f"{sum(row['pass'] for row in self.rows)} of {len(self.rows)} quantities pass"


def _share(row: Row) -> float:
    return row["error"] / row["tolerance"] if row["tolerance"] else float(row["error"] > 0)


def _line(row: Row) -> str:
    if "note" in row:
        return row["note"]
    return (
        f"{row['quantity']}: expected {row['expected']:.6g}, measured {row['measured']:.6g}, "
        f"off by {row['error']:.2g} where {row['tolerance']:.2g} is allowed"
    )
