"""Rows of the oracle scorecard: what was expected, what came out, and whether rounding explains the difference."""

from collections.abc import Callable, Sequence
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
