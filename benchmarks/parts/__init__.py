"""The parts of the benchmark: each turns a setup into jobs, and its jobs into records."""

from collections.abc import Callable

from benchmarks.parts import _lag_curves
from benchmarks.parts._setup import Job as Job
from benchmarks.parts._setup import Setup as Setup

PARTS: dict[str, Callable[[Setup], list[Job]]] = {
    "lag_curves": _lag_curves.jobs,
}
"""Parts by name, in the order of the page."""
