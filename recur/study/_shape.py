"""A curve of log norms over lag in a few words: a cliff and the plain behind it, not one slope for both."""

import math

import numpy as np

from recur import flow

LN_2 = math.log(2.0)


def shape_in_words(curve: np.ndarray) -> str:
    """Says how a gradient goes back in time, as "loses 4 nats in the first 5 steps, then half-life 21 steps".

    Two straight lines that meet are laid through the curve from lag 0 on. They are told where they fit ten times
    better than one line does, and the first one is at least three times as steep and loses or gains a factor of 2;
    otherwise the verdict is that of `flow.summarize`.

    Args:
        curve: ln norms by lag ``[L]``, L at least 3; -inf where the gradient is exactly zero.
    """
    whole = flow.summarize(curve)
    finite = np.isfinite(curve)
    last = len(curve) if finite.all() else int(np.argmin(finite))
    if last < 8:
        return whole.verdict
    y = curve[:last] - curve[0]
    lags = np.arange(last, dtype=np.float64)
    straight = _residual(lags, y)
    # A break costs a fit; of long curves as many are tried as matter on an axis of ratios.
    breaks = np.unique(np.geomspace(2, last - 3, min(last - 4, 64)).round().astype(int))
    fits = {
        int(place): _residual(lags[: place + 1], y[: place + 1]) + _residual(lags[place:], y[place:])
        for place in breaks
    }
    place = min(fits, key=fits.__getitem__)
    first, later = y[place] / place, _slope(lags[place:], y[place:])
    is_cliff = abs(y[place]) >= LN_2 and abs(first) >= 3 * abs(later) and fits[place] * 10 <= straight
    if not is_cliff:
        return whole.verdict
    moves = f"{'loses' if y[place] < 0 else 'gains'} {abs(y[place]):.1f} nats in the first {place} steps"
    change = later * (last - 1 - place)
    zero = "" if last == len(curve) else f", exactly zero from lag {last}"
    if abs(change) < LN_2:
        return f"{moves}, then lasts{zero}"
    return f"{moves}, then {'half-life' if later < 0 else 'doubles every'} {_steps(LN_2 / abs(later))}{zero}"


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    centred = x - x.mean()
    return float(centred @ y / (centred @ centred))


def _residual(x: np.ndarray, y: np.ndarray) -> float:
    rest = y - y.mean() - _slope(x, y) * (x - x.mean())
    return float(rest @ rest)


def _steps(number: float) -> str:
    return f"{number:.1f} steps" if number < 100 else f"{number:,.0f} steps"
