"""Plain sentences beside the plots of training and tasks: what their numbers say and what that means."""

import math
import re

import numpy as np

from recur.report._numbers import highest, lowest, middle, spearman, told, value_of
from recur.report._plot_data import PlotData, Record
from recur.report._series import clean
from recur.report._words import brief, horizon, pairs, reach

CORRELATION = "spearman"
TOLD = ("horizon", "gradient at lag ")
_AT_LAG = re.compile(r"gradient at lag (\d+) over that at lag 0, (at initialisation|after training), ln")
_MEASURED_TO = "horizon_measured_to_steps"
_FEWEST_POINTS = 8
_TOO_FEW = "too few points for a finding"
_UNDEFINED = "undefined, for one of the two does not vary"
_HORIZONS = ("horizon at initialisation, steps", "horizon after training, steps", "horizon_lengthened, steps")


def trained_lag(data: PlotData) -> list[str]:
    """Says whose horizon grew in training: in nine of ten runs where each run's is known, else by the medians."""
    sentences, grew, known = [], {True: [], False: [], None: []}, None
    for name, before, after in pairs(data.lines):
        horizons = [horizon(line.x, line.y) for line in (before, after)]
        texts = [reach(found) for found in horizons]
        own = {n["name"]: n for n in data.numbers if all(n.get(k) == before.record.get(k) for k in ("cell", "run"))}
        if set(_HORIZONS) <= set(own):
            known = own[_HORIZONS[2]].get("seeds", "the")
            texts = [f"{value_of(own[key])} steps" for key in _HORIZONS[:2]]
            low, high = lowest(own[_HORIZONS[2]]), highest(own[_HORIZONS[2]])
            longer = True if low > 0 else False if high <= 0 else None
        else:
            longer = horizons[1][0] > horizons[0][0] or (horizons[1][1] and not horizons[0][1])
        grew[longer if longer is None else bool(longer)].append(name)
        text = f"a thousandth of the gradient reached {texts[0]} back at initialisation, {texts[1]} after training"
        at_lag = {found[2]: (found[1], number) for key, number in own.items() if (found := _AT_LAG.fullmatch(key))}
        if len(at_lag) == 2:
            (lag, first), (_, last) = (at_lag[state] for state in ("at initialisation", "after training"))
            text += f"; of that at lag 0, {value_of(first)} reached the lag of the task, {lag}, then {value_of(last)}"
        sentences.append(f"{name}: {text}")
    if sentences:
        told = {which: ", ".join(dict.fromkeys(names)) for which, names in grew.items()}
        often = f", in at least nine tenths of {known} runs" if known else ""
        text = f"Longer horizon after training{often}: {told[True] or 'none'}"
        text += f". Longer in some runs and not in others: {told[None]}" if told[None] else ""
        return [*sentences, text + (f". Not longer{often}: {told[False]}" if told[False] else "")]
    return [f"{line.label}: a thousandth reaches {reach(horizon(line.x, line.y))} back" for line in data.lines]


def task_lag(data: PlotData) -> tuple[float, str] | None:
    """Finds the lag that the task asks for.

    Args:
        data: records of the plot of trained lag curves.

    Returns:
        The lag and what to call it; None where the records do not tell one lag.
    """
    lags = {int(found[1]) for number in data.numbers if (found := _AT_LAG.fullmatch(str(number["name"])))}
    return (lags.pop(), "lag of the task") if len(lags) == 1 else None


def training_heatmap(data: PlotData) -> list[str]:
    """Says how the horizon moved from the first to the last recorded step."""
    sentences = []
    for record in data.matrices:
        lags, values = np.asarray(record["y"], np.float64), np.asarray(record["values"], np.float64)
        if "horizon_first_steps" in record:
            cap = record.get("horizon_capped_at", math.inf)
            ends = ((record[f"horizon_{end}_steps"], end) for end in ("first", "last"))
            first, last = (reach((min(found, cap), found >= cap)) for found, _ in ends)
        else:
            first, last = (reach(horizon(lags, values[:, column])) for column in (0, -1))
        sentences.append(
            f"{record['label']}: a thousandth reaches {first} back at training step {brief(record['x'][0])}, "
            f"{last} at step {brief(record['x'][-1])}"
        )
    return sentences


def gate_statistics(data: PlotData) -> list[str]:
    """Says where each line began and ended."""
    return [
        f"{line.label}: {brief(line.y[0])} at step {brief(line.x[0])}, {brief(line.y[-1])} at step {brief(line.x[-1])}"
        for line in data.lines
    ]


def task_success(data: PlotData) -> list[str]:
    """Says the longest length that at least half of the seeds solved."""
    sentences = []
    for line in data.lines:
        solved = np.flatnonzero(line.y >= 0.5)
        if not solved.size:
            sentences.append(
                f"{line.label}: no length solved by half of the seeds (best share {brief(np.nanmax(line.y))})"
                if np.isfinite(line.y).any()
                else f"{line.label}: nothing measured"
            )
            continue
        longest = int(solved[-1])
        seeds = line.record.get("seeds")
        text = f"{line.label}: half of the seeds or more solve T = {brief(line.x[longest])}"
        if isinstance(seeds, int):
            text += f" ({round(float(line.y[longest]) * seeds)} of {seeds})"
        if longest + 1 < line.x.size:
            text += f", {100 * line.y[longest + 1]:.0f} % of them T = {brief(line.x[longest + 1])}"
        sentences.append(text)
    return sentences


def horizon_solved(data: PlotData) -> list[str]:
    """Says how far the horizon at initialisation foretells what is solved."""
    sentences = []
    recorded = [number for number in data.numbers if str(number["name"]).startswith(CORRELATION)]
    if recorded:
        for number in recorded:
            name = str(number["name"]).removeprefix(CORRELATION).strip() or "rank correlation"
            named = told([{**number, "name": name}])[0]
            if math.isnan(middle(number)):
                sentences.append(f"{named.rpartition(': ')[0]}: {_UNDEFINED}")
            else:
                sentences.append(f"{named} ({_finding(number)})")
    else:
        for record in data.points:
            value = spearman(record["x"], record["y"])
            few = len(record["x"]) < _FEWEST_POINTS
            text = _UNDEFINED if math.isnan(value) else f"{brief(value)} ({_TOO_FEW if few else meaning(value)})"
            sentences.append(f"{record['label']}, rank correlation over {len(record['x'])} points: {text}")
    for record in data.points:
        best = int(np.argmax(record["y"]))
        if record["y"][best] <= 0:
            sentences.append(f"{record['label']}: solved at no length")
            continue
        sentences.append(
            f"{record['label']}: longest T solved is {brief(record['y'][best])}, by {clean(record['names'][best])} "
            f"with a horizon of {reach((record['x'][best], record['x'][best] >= record.get(_MEASURED_TO, math.inf)))} "
            "at initialisation"
        )
    return sentences


def _finding(number: Record) -> str:
    """Says what a correlation means, unless its band spans more than one meaning or it stands on few points."""
    points = re.search(r"over (\d+) points", str(number["name"]))
    if points and int(points[1]) < _FEWEST_POINTS:
        return _TOO_FEW
    meanings = {meaning(end(number)) for end in (lowest, middle, highest)}
    return meanings.pop() if len(meanings) == 1 else "no finding: the band allows more than one answer"


def meaning(correlation: float) -> str:
    """Puts a rank correlation in words.

    Args:
        correlation: from -1 to 1.

    Returns:
        What it says of the horizon.
    """
    if correlation >= 0.7:
        return "the longer the horizon, the longer the problems solved"
    if correlation >= 0.3:
        return "the horizon foretells part of it"
    return "the horizon does not foretell it" if correlation > -0.3 else "the opposite of what the horizon foretells"
