"""The clock: calls of all peers in turn, so that whatever else the machine does falls on all of them alike."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Call = Callable[[], Any]
"""Runs once and returns when all is computed."""

# Threads of one library may wait actively for some milliseconds after its call, at the next one's expense.
PAUSE_S = 0.005
# A short call would be timed on caches that hold the data of the peer before; in a training loop they hold its own.
SHORT_S = 0.02


def interleave(
    calls: Mapping[str, Call], repeats: int, stopped: Callable[[], bool] = lambda: False
) -> dict[str, list[float]]:
    """Times one call of each in turn, in another order each time.

    Args:
        calls: By name.
        repeats: Turns.
        stopped: Asked before each turn.

    Returns:
        Seconds by name, one entry a turn taken.
    """
    generator = np.random.default_rng(0)
    typical = {name: timed(call) for name, call in calls.items()}
    walls: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        if stopped():
            break
        for name in generator.permutation(list(calls)):
            time.sleep(PAUSE_S)
            if typical[name] < SHORT_S:
                calls[name]()
            walls[name].append(timed(calls[name]))
    return walls


def timed(call: Call) -> float:
    """Returns the seconds that a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def quartiles(values: Iterable[float]) -> dict[str, float]:
    """Returns the median and the quartiles."""
    low, middle, high = np.quantile(list(values), [0.25, 0.5, 0.75])
    return {"median": float(middle), "p25": float(low), "p75": float(high)}


def ratios(theirs: Sequence[float], ours: Sequence[float]) -> dict[str, float]:
    """Returns median and quartiles of their time over ours, turn by turn, as turns share what the machine did."""
    return quartiles(np.asarray(theirs) / np.asarray(ours))


def resident_growth(call: Call) -> int | None:
    """Returns by how many bytes the process grew at most while a call ran; None where the system does not tell."""
    reset, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    if not reset.exists():
        return None
    before = _kib(status, "VmRSS")
    reset.write_text("5")  # the peak counts from here
    call()
    return 1024 * max(0, _kib(status, "VmHWM") - before)


def _kib(status: Path, field: str) -> int:
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(field))
