"""Where one engine overtakes another as sequences grow, as numbers and in words."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks._speed_clock import ratios

Records = Sequence[Mapping[str, Any]]
BASE = "Scan"
WORDS = {"forward": "forward", "gradients": "forward + backward"}


def compare(timings: Records) -> list[dict[str, Any]]:
    """Holds every engine against `BASE`.

    Returns:
        One entry for a cell, measure and other engine: ``ratios`` by length, the base's time over the other's turn by
        turn (above 1 where the other is faster), ``crossovers`` in steps, and ``words``.
    """
    found = []
    for cell, measure in dict.fromkeys((t["cell"], t["measure"]) for t in timings):
        here: dict[str, dict[int, Mapping[str, Any]]] = {}
        for t in timings:
            if (t["cell"], t["measure"]) == (cell, measure):
                here.setdefault(t["engine"], {})[t["steps"]] = t
        first = here.pop(BASE, {})
        for engine, timed in here.items():
            shared = {n: ratios(first[n]["walls_s"], timed[n]["walls_s"]) for n in sorted(first.keys() & timed.keys())}
            if not shared:
                continue
            points = crossovers(shared)
            words = f"{cell}, {WORDS[measure]}: {engine} {describe(shared, points)}"
            words += _memory(max(shared), first, timed) + _unsolved(timed)
            place = {"cell": cell, "measure": measure, "engine": engine}
            found.append({"kind": "crossover", **place, "ratios": shared, "crossovers": points, "words": words})
    return found


def crossovers(by_length: Mapping[int, Mapping[str, float]]) -> list[float]:
    """Returns the lengths where the ratio passes 1, on a straight line between logarithms.

    Args:
        by_length: Median and quartiles of a ratio. A length whose quartiles lie on both sides of 1 tells nothing.
    """
    found = []
    for (n, ratio), (next_n, next_ratio) in itertools.pairwise(_decided(by_length).items()):
        here, there = math.log(ratio), math.log(next_ratio)
        if here * there < 0:
            found.append(n * (next_n / n) ** (here / (here - there)))
    return found


def describe(by_length: Mapping[int, Mapping[str, float]], points: Sequence[float]) -> str:
    """Returns in words, to follow an engine's name, where it is faster and slower than `BASE`."""
    decided = _decided(by_length)
    if not decided:
        return f"is as fast as {BASE}: no length tells them apart."
    faster = next(iter(decided.values())) > 1
    parts = [f"is {_word(faster)} than {BASE}"]
    for index, point in enumerate(points):
        parts.append(f"{_word(faster == bool(index % 2))} from about T = {float(f'{point:.2g}'):,.0f}")
    if not points:
        parts[0] += " at every length" if len(decided) == len(by_length) else " where they can be told apart"
    ends = sorted({min(by_length), max(by_length)})
    told = [f"{by_length[n]['median']:.2g} times as fast at T = {n:,}" for n in ends]
    return f"{', '.join(parts)} ({', '.join(told)})."


def _decided(by_length: Mapping[int, Mapping[str, float]]) -> dict[int, float]:
    return {n: ratio["median"] for n, ratio in sorted(by_length.items()) if ratio["p25"] > 1 or ratio["p75"] < 1}


def _word(faster: bool) -> str:
    return "faster" if faster else "slower"


def _memory(steps: int, first: Mapping[int, Mapping[str, Any]], timed: Mapping[int, Mapping[str, Any]]) -> str:
    ours, theirs = first[steps]["memory_bytes"], timed[steps]["memory_bytes"]
    return f" At T = {steps:,} it plans {theirs / ours:.2g} times the memory." if ours and theirs else ""


def _unsolved(timed: Mapping[int, Mapping[str, Any]]) -> str:
    lengths = [f"{n:,}" for n, t in sorted(timed.items()) if t["converged"] is False]
    return f" It did not converge at T = {', '.join(lengths)} and ran step by step." if lengths else ""
