"""Plain sentences beside the plots of untrained cells: what their numbers say and what that means."""

import math
from collections.abc import Sequence

import numpy as np

from recur.report._numbers import value_of
from recur.report._plot_data import LN10, Line, PlotData, Record
from recur.report._series import clean
from recur.report._words import brief, factor, horizon, per_step, reach, slope, spread, steps

HALF_LIFE = "half-life with "


def reaches(curves: Sequence[tuple[str, Record]]) -> list[str]:
    """Says how far each lag curve reaches.

    Args:
        curves: names and records of kind "lag_curve".

    Returns:
        A sentence each.
    """
    return [f"{clean(name)}: a thousandth of the gradient at lag 0 reaches {_reach(rec)} back" for name, rec in curves]


def _reach(record: Record) -> str:
    """Quotes the horizon of the whole curve; older records hold the lags alone that are drawn."""
    if "horizon_1e-3_steps" in record:
        return reach((record["horizon_1e-3_steps"], bool(record.get("horizon_1e-3_capped"))))
    return reach(horizon(np.asarray(record["lag_steps"], float), np.asarray(record["ln_median"], float)))


def loss_gradient(data: PlotData) -> list[str]:
    """Says how far from the end the gradient of a loss still counts."""
    sentences = []
    for line in data.lines:
        near = np.flatnonzero(line.y >= math.log(1e-3))
        if near.size:
            last = float(line.x[near[-1]])
            most = "at least " if last == line.x[-1] else ""
            sentences.append(f"{line.label}: a thousandth of the largest gradient is left {most}{steps(last)} back")
        else:
            sentences.append(f"{line.label}: the loss has no gradient here")
    return sentences


def lag_shares(data: PlotData) -> list[str]:
    """Says from which lag on a step adds next to nothing to the parameter gradient."""
    sentences = []
    for line in data.lines:
        finite = np.where(np.isnan(line.y), -math.inf, line.y)
        top = int(np.argmax(finite))
        late = np.flatnonzero((finite < finite[top] - math.log(1000)) & (line.x > line.x[top]))
        if late.size and (rest := finite[late[0] :]).max() < finite[top] - math.log(1000) and rest.size:
            last = factor(finite[-1] - finite[top])
            sentences.append(
                f"{line.label}: from lag {brief(line.x[late[0]])} on, no step adds a thousandth of what the strongest "
                f"one adds (lag {brief(line.x[top])}); lag {brief(line.x[-1])} adds {last} of it"
            )
        else:
            sentences.append(f"{line.label}: steps as far back as lag {brief(line.x[-1])} still count")
    return sentences


def lyapunov_spectrum(data: PlotData) -> list[str]:
    """Says what the largest exponent does, and how wide the spectrum is."""
    sentences = []
    for line in data.lines:
        finite = line.y[np.isfinite(line.y)]
        gone = int(np.isneginf(line.y).sum())
        if not finite.size:
            continue
        text = f"{line.label}: largest exponent {spread(line, int(np.nanargmax(line.y)))} nats a step"
        text += f", so a small change {per_step(float(finite.max()))}; smallest {brief(finite.min())}"
        if finite.max() > 0.01:
            text += f"; {(line.y > 0).sum()} of {line.y.size} directions grow"
        if gone:
            text += f"; {gone} of {line.y.size} directions are forgotten at once (exponent −∞)"
        sentences.append(text)
    return sentences


def gain(data: PlotData) -> list[str]:
    """Compares the exponent with mean-field theory, and says where chaos begins."""
    sentences = []
    for line in data.lines:
        text = []
        for wanted in (2.0, 3.0):
            index = int(np.argmin(abs(line.x - wanted)))
            if abs(line.x[index] - wanted) < 1e-6:
                theory = [f", theory {brief(np.interp(wanted, form.x, form.y))}" for form in data.references[:1]]
                text.append(f"at gain {brief(wanted)} it is {spread(line, index)}{''.join(theory)}")
        above = np.flatnonzero(line.y > 0)
        if above.size and above[0] > 0:
            text.append(f"it turns positive between gain {brief(line.x[above[0] - 1])} and {brief(line.x[above[0]])}")
        elif not above.size:
            text.append(f"it stays negative to gain {brief(line.x[-1])}")
        if text:
            sentences.append(f"{line.label}, largest exponent: {'; '.join(text)}")
    if sentences:
        sentences.append(
            "Below zero a gradient vanishes; above it the network is chaotic and gradients explode over long times"
        )
    return sentences


def condition_number(data: PlotData) -> list[str]:
    """Says how fast the strongest and the weakest direction part, beside what the exponents predict."""
    sentences = []
    for line in data.lines:
        late = line.x >= line.x[-1] / 2
        rate = slope(line.x[late], line.y[late])
        if math.isnan(rate):
            continue
        if rate > 1e-6:
            text = f"{line.label}: the condition number grows tenfold every {steps(LN10 / rate)}"
        else:
            text = f"{line.label}: the condition number does not grow"
        text += f" ({brief(rate)} nats a step"
        theory = [form for form in data.references if _same_cell(form, line)]
        if theory:
            text += f"; the exponents predict {brief(slope(theory[0].x, theory[0].y))}"
        sentences.append(text + ")")
    if sentences:
        sentences.append("Where it is large, the gradient arrives along the same few directions, whatever the loss was")
    return sentences


def singular_values(data: PlotData) -> list[str]:
    """Says where the middle nine tenths of each histogram lie."""
    sentences = []
    for line in data.lines:
        mass = np.cumsum(np.nan_to_num(line.y))
        if mass[-1] > 0:
            low, high = (float(np.interp(share * mass[-1], mass, line.x)) for share in (0.05, 0.95))
            sentences.append(f"{line.label}: nine tenths lie between {brief(low)} and {brief(high)} nats a step")
    return sentences


def forget_bias(data: PlotData) -> list[str]:
    """Says how long the biases make a cell remember, and how well they were predicted to."""
    sentences = []
    for number in data.numbers:
        if (name := str(number["name"])).startswith(HALF_LIFE):
            bias = clean(name.removeprefix(HALF_LIFE).removesuffix(", steps"), most=120)
            owner = ", ".join(clean(number[key]) for key in ("cell", "run") if number.get(key) is not None)
            sentences.append(f"{owner} with {bias}: halves its gradient every {value_of(number)} steps")
    for line in data.lines:
        keep = np.isfinite(line.y) & (line.y > 0) & (line.x > 0)
        if keep.any():
            ratio = line.y[keep] / line.x[keep]
            factors = np.exp(abs(np.log(ratio)))
            worst = int(np.argmax(factors))
            text = (
                f"{line.label}: predicted {_range(line.x[keep])} steps, measured {_range(line.y[keep])}; off by a "
                f"factor of {brief(float(np.median(factors)))} in the median"
            )
            if factors[worst] > 1.1 * np.median(factors):
                text += f", by {brief(factors[worst])} at worst (predicted {brief(line.x[keep][worst])})"
            if gone := int((~np.isfinite(line.y)).sum()):
                text += f"; {gone} more do not halve within the sequence"
            elif line.band is not None and not np.isfinite(line.band).all():
                text += "; some seeds do not halve within the sequence: the band is cut there"
            sentences.append(text)
    if sentences:
        sentences.append("On the dashed line the forget gate alone decides; above it the other paths help to remember")
    return sentences


def gradient_snr(data: PlotData) -> list[str]:
    """Says from which lag on the gradient drowns in noise."""
    sentences = []
    for line in data.lines:
        loud = line.y >= math.log(1e-3)
        quiet = np.flatnonzero(~loud)
        if not loud.any():
            sentences.append(f"{line.label}: below 1/1000 at every lag")
        elif quiet.size and quiet[0] > 0:
            sentences.append(
                f"{line.label}: at lag {brief(line.x[quiet[0]])} the signal first falls below 1/1000 of the noise: "
                f"over a thousand sequences to see that lag at all"
            )
        elif not quiet.size:
            sentences.append(f"{line.label}: above 1/1000 to the last lag measured, {brief(line.x[-1])}")
    return sentences


def samples_needed(data: PlotData) -> list[str]:
    """Says how many sequences the first and the last lag need."""
    sentences = []
    for line in data.lines:
        finite = np.flatnonzero(np.isfinite(line.y))
        if finite.size:
            first, last = finite[0], finite[-1]
            sentences.append(
                f"{line.label}: {factor(line.y[first])} sequences at lag {brief(line.x[first])}, "
                f"{factor(line.y[last])} at lag {brief(line.x[last])}"
            )
    return sentences


def memory_curse(data: PlotData) -> list[str]:
    """Says how sensitivity grows with memory."""
    sentences = []
    for line in data.lines:
        memory = 1 / (1 - line.x)
        power = slope(np.log(memory), line.y)
        if math.isnan(power):
            continue
        sentences.append(
            f"{line.label}: {factor(line.y[-1])} at a memory of {steps(memory[-1])}; ten times the memory, "
            f"{brief(10**power)} times the sensitivity (power {brief(power)})"
        )
    if sentences:
        sentences.append(
            "No gradient explodes here, since every factor is below 1: long memory alone makes a parameter touchy"
        )
    return sentences


def precision(data: PlotData) -> list[str]:
    """Says where each number format breaks off."""
    sentences = []
    for line in data.lines:
        broken = np.flatnonzero(~np.isfinite(line.y))
        if not broken.size:
            sentences.append(f"{line.label}: finite to lag {brief(line.x[-1])}, {factor(line.y[-1])} there")
            continue
        first = broken[0]
        what = "underflows to zero" if np.isneginf(line.y[first]) else "is no number"
        what = "overflows" if np.isposinf(line.y[first]) else what
        before = f", where the norm was {factor(line.y[first - 1])} the lag before" if first else ""
        sentences.append(f"{line.label}: {what} at lag {brief(line.x[first])}{before}")
    return sentences


def _range(values: np.ndarray) -> str:
    low, high = brief(values.min()), brief(values.max())
    return low if low == high else f"{low} to {high}"


def _same_cell(form: Line, line: Line) -> bool:
    keys = [key for key in ("cell", "run", "state", "initializer") if key in form.record]
    return "cell" in keys and all(form.record[key] == line.record.get(key) for key in keys)
