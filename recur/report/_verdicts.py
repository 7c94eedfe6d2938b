"""What the numbers of a gradient-norm run say, in words and rows."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from recur.report._decades import power_of_ten
from recur.report._series import clean, name_of
from recur.report._tables import show
from recur.report._words import brief

Record = Mapping[str, Any]

_ALWAYS = ("half-life (steps)", "steps until 1/1000", "steps until 1/1,000,000", "rate (nats a step)")


def sentence(name: str, summary: Record) -> str:
    """Says in one sentence what a summary found.

    Args:
        name: what was measured, as "lstm".
        summary: a record of kind "summary".

    Returns:
        Name, verdict, and what that means over the length measured, as "lstm: vanishes, half-life 2.2 steps: after
        44 steps less than a millionth is left". What the record does not hold is not spoken of.
    """
    consequence = _consequence(summary)
    return f"{clean(name)}: {clean(summary['verdict'], 200)}" + (f": {consequence}" if consequence else "")


def verdict_rows(summaries: Sequence[Record], fields: Sequence[str]) -> list[dict[str, Any]]:
    """Makes the rows of the verdict table.

    Args:
        summaries: records of kind "summary".
        fields: the fields that make up the name in the first column.

    Returns:
        One row a record, for `html_table` and `markdown_table`: medians with 10th and 90th percentile. A half-life
        stands only where something halves; a horizon that the sequence does not end is shown as at least its length.
        The largest Lyapunov exponent and the growth of the condition number stand where they were measured.
    """
    rows = [
        {
            "cell": name_of(summary, fields),
            "length": summary["length"],
            "rate (nats a step)": summary.get("rate_nats_per_step"),
            "half-life (steps)": _half_life(summary),
            "steps until 1/1000": _horizon(summary, "horizon_1e-3_steps"),
            "steps until 1/1,000,000": _horizon(summary, "horizon_1e-6_steps"),
            "λ₁ (nats a step)": summary.get("lyapunov_nats_per_step"),
            "ln κ (nats a step)": summary.get("condition_slope_nats_per_step"),
            "gates that saturate": summary.get("gates_that_saturate"),
            "verdict": clean(summary["verdict"], 200),
        }
        for summary in summaries
    ]
    measured = {name for row in rows for name, value in row.items() if value is not None}
    return [{name: value for name, value in row.items() if name in measured or name in _ALWAYS} for row in rows]


def masking_sentence(name: str, norms: Sequence[Record], curve: Record) -> str | None:
    """Says where the norm of the parameter gradient hides a vanishing one.

    Args:
        name: what was measured.
        norms: records of kind "parameter_norm" and tensor "all" at several lengths.
        curve: its adjoint "lag_curve" at the longest length.

    Returns:
        The sentence; None where the numbers do not show it: the norm changes more than tenfold, or more than a
        thousandth of the gradient is left at the longest lag.
    """
    norms = sorted(norms, key=lambda record: record["length"])
    change = (norms[-1]["ln_median"] - norms[0]["ln_median"]) / math.log(10)
    left = (curve["ln_median"][-1] - curve["ln_median"][0]) / math.log(10)
    if len(norms) < 2 or not (abs(change) <= 1 and left < -3):
        return None
    share = "nothing" if math.isinf(left) else f"about {power_of_ten(round(left))}"
    return (
        f"{clean(name)}: from length {norms[0]['length']} to {norms[-1]['length']} this norm changes only by a "
        f"factor of {show(10**change)}, yet {share} of the gradient reaches {curve['lag_steps'][-1]} steps back."
    )


def _consequence(summary: Record) -> str:
    length = summary["length"]
    rate = _median(summary, "rate_nats_per_step")
    if clean(summary["verdict"]).startswith("explodes"):
        if rate is None or not 0 < rate < math.inf:
            return ""
        exponent = rate * length / math.log(10)
        factor = show(10**exponent) if exponent < 3 else f"about {power_of_ten(round(exponent))}"
        return f"over {length} steps that is a factor of {factor}"
    thousandth, millionth = (_median(summary, f"horizon_1e-{digit}_steps") for digit in (3, 6))
    if _inside(millionth, length):
        return f"after {_steps(millionth)} less than a millionth is left"
    if _inside(thousandth, length):
        return f"after {_steps(thousandth)} less than a thousandth is left, but more than a millionth to the end"
    if thousandth is not None and thousandth > 0:
        return f"after all {length} steps more than a thousandth is left"
    return ""


def _steps(horizon: float) -> str:
    """The first whole lag past a horizon, which is the last lag with more left."""
    first = math.floor(horizon) + 1
    return f"{first} step{'s' if first > 1 else ''}"


def _median(summary: Record, key: str) -> float | None:
    value = (summary.get(key) or {}).get("median")
    return None if value is None or math.isnan(value) else value


def _inside(horizon: float | None, length: int) -> bool:
    return horizon is not None and 0 <= horizon < length


def _half_life(summary: Record) -> Record | None:
    median = _median(summary, "half_life_steps")
    return summary["half_life_steps"] if median is not None and 0 < median < math.inf else None


def _horizon(summary: Record, key: str) -> Record | None:
    median = _median(summary, key)
    if median is None or median < 0:
        return None
    if not _inside(median, summary["length"]):
        return {"median": math.inf, "text": f"≥ {summary['length']}"}
    spread = summary[key]
    high = spread.get("p90")
    if high is not None and high >= summary["length"]:
        low, middle = (brief(spread.get(part, median)) for part in ("p10", "median"))
        return {**spread, "text": f"{middle} ({low} to ≥ {summary['length']})"}
    return spread
