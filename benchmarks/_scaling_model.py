"""Formulas for memory and time, their constants by least squares, and how far they are from what was measured."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from benchmarks._scaling_programs import FEATURES, Case

MEMORY_TERMS = ("s P", "T b X", "s T b H", "s b H", "1")
TIME_TERMS = ("T", "s T b 4H (X + H)", "s T b H", "s P", "s P log2 D")


def shares(case: Case) -> tuple[int, int]:
    """Returns the seeds and the rows of a batch that each device takes, as `recur.train.make_mesh` splits them."""
    on_seed = math.gcd(case.S, case.D)
    return case.S // on_seed, case.B * on_seed // case.D


def parameters(case: Case) -> int:
    """Returns P, the parameters of the LSTM."""
    return 4 * case.H * (FEATURES + case.H + 1)


def memory_terms(case: Case) -> list[float]:
    """Returns what bytes on each device are a sum of, in the order of `MEMORY_TERMS`."""
    s, b = shares(case)
    return [s * parameters(case), case.T * b * FEATURES, s * case.T * b * case.H, s * b * case.H, 1]


def time_terms(case: Case) -> list[float]:
    """Returns what seconds of a step are a sum of, in the order of `TIME_TERMS`."""
    s, b = shares(case)
    size = s * parameters(case)
    products = s * case.T * b * 4 * case.H * (FEATURES + case.H)
    return [case.T, products, s * case.T * b * case.H, size, size * math.log2(case.D)]


WHOLE, CHUNKS, TIME = "memory", "memory in chunks", "time"
TERMS = {WHOLE: (MEMORY_TERMS, memory_terms), CHUNKS: (MEMORY_TERMS, memory_terms), TIME: (TIME_TERMS, time_terms)}


def memory_kind(case: Case) -> str:
    """Returns which model of memory holds: `Scan` takes the steps in chunks where their gates need more than 16 MB."""
    return CHUNKS if 4 * case.T * shares(case)[1] * 4 * case.H > 2**24 else WHOLE


@dataclasses.dataclass(frozen=True)
class Model:
    """A sum of terms with constants.

    Args:
        kind: `WHOLE` or `CHUNKS` (bytes on each device), or `TIME` (seconds of a step).
        constants: One for each term, none of them negative.
    """

    kind: str
    constants: tuple[float, ...]

    def __call__(self, case: Case) -> float:
        """Returns what a case needs."""
        return float(np.dot(self.constants, TERMS[self.kind][1](case)))

    def formula(self) -> str:
        """Returns the model in a line."""
        names = TERMS[self.kind][0]
        parts = [f"{c:.3g}" + ("" if n == "1" else f" {n}") for c, n in zip(self.constants, names, strict=True) if c]
        return " + ".join(parts)


def fit(kind: str, cases: Sequence[Case], values: Sequence[float]) -> Model:
    """Returns the model whose relative errors squared are least.

    Constants below zero mean that a term is not to be seen in these cases: they are left out, the most negative first.

    Raises:
        ValueError: Fewer cases than constants.
    """
    rows = np.array([TERMS[kind][1](case) for case in cases]) / np.asarray(values)[:, None]
    if len(rows) < rows.shape[1]:
        raise ValueError(f"cases: expected at least {rows.shape[1]} to fit {kind}, got {len(rows)}")
    kept = list(range(rows.shape[1]))
    while True:
        # Columns of one size, as their terms are many powers of ten apart.
        scale = np.abs(rows[:, kept]).max(axis=0)
        scale[scale == 0] = 1
        found = np.linalg.lstsq(rows[:, kept] / scale, np.ones(len(rows)), rcond=None)[0] / scale
        if (found >= 0).all():
            break
        kept.pop(int((found * scale).argmin()))
    constants = np.zeros(rows.shape[1])
    constants[kept] = found
    return Model(kind, tuple(constants.tolist()))
