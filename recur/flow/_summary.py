"""One curve of log norms over lags in a few numbers and a word."""

import dataclasses
import math
from typing import Any

import numpy as np

from recur._checks import as_numbers, as_whole_numbers, check_shape
from recur._types import Array, Float, Int

LN_2 = math.log(2.0)


@dataclasses.dataclass(frozen=True)
class Summary:
    """How a gradient changes with lag. All but `verdict` are floats, or arrays ``[*B]`` for batched curves.

    Args:
        rate: Slope of the log norm in nats a step: the norm goes as ``exp(rate * lag)``. -inf where the gradient is
            exactly zero from lag 1 or 2 on.
        half_life_steps: ``ln 2 / -rate``, steps in which the norm halves; negative where it grows (its magnitude is
            then the doubling time), inf where the rate is 0.
        last_lag_steps: Largest lag L - 1 of the curve.
        zero_from_lag_steps: First lag of an exactly zero norm; inf where there is none.
        verdict: In words, an array of str for batched curves.
        log_norms: The curve itself, float64 ``[L, *B]``.
    """

    rate: Any
    half_life_steps: Any
    last_lag_steps: int
    zero_from_lag_steps: Any
    verdict: Any
    log_norms: np.ndarray = dataclasses.field(repr=False)

    def horizon_steps(self, eps: float) -> Any:
        """Returns the largest lag k with ``A(k) / A(0) >= eps``, an int or an array ``[*B]``.

        Where that is `last_lag_steps`, the horizon is at least that: the curve does not show where it ends.

        Raises:
            ValueError: `eps` outside (0, 1].
        """
        if not 0 < eps <= 1:
            raise ValueError(f"eps: expected a number in (0, 1], got {eps}")
        lags = np.arange(len(self.log_norms)).reshape(-1, *(1,) * (self.log_norms.ndim - 1))
        # A norm that starts at zero has no scale to compare with: nothing of it is left at any lag.
        start = np.where(np.isneginf(self.log_norms[0]), 0.0, self.log_norms[0])
        horizon = np.where(self.log_norms - start >= math.log(eps), lags, 0).max(axis=0)
        return int(horizon) if horizon.ndim == 0 else horizon


def summarize(log_norms: Float[Array, "L *B"], *, lengths: Int[Array, "*B"] | None = None) -> Summary:
    """Fits a line to log norms over lag and says what it means.

    The slope is that of least squares over lags 1..L-1 with a finite log norm; lag 0 is left out, since there the
    gradient has not yet passed through the recurrence. The verdict compares the change that this slope makes over the
    whole curve with a factor of 2:

    - *vanishes*: it at least halves,
    - *explodes*: it at least doubles,
    - *neither*: the norm changes by less than a factor of 2 over the lags measured.

    Args:
        log_norms: Natural logarithms, lag first, as `adjoint_log_norms` and `input_log_norms` return them; -inf is an
            exactly zero gradient.
        lengths: Steps of each sequence, where they differ: a curve ends there, and what stands behind its end says
            nothing.

    Returns:
        `Summary`.

    Raises:
        TypeError: No array of real numbers.
        ValueError: Fewer than 3 lags, or nan or +inf (the lag is named): the run itself was not finite.

    Example:
        >>> import numpy as np, recur
        >>> recur.flow.summarize(-0.313262 * np.arange(200)).verdict
        'vanishes, half-life 2.2 steps'
    """
    curves = as_numbers("log_norms", log_norms)
    if curves.ndim < 1 or len(curves) < 3:
        raise ValueError(f"log_norms: expected at least 3 lags [L, *B], got shape {curves.shape}; measure a longer run")
    wrong = np.isnan(curves) | np.isposinf(curves)
    if wrong.any():
        first = np.argwhere(wrong)[0]
        raise ValueError(
            f"log_norms: expected finite values or -inf, got {curves[tuple(first)]} at lag {first[0]}; the states or "
            f"gradients of that run are not finite: look at recur.unroll(...).states"
        )
    shape = curves.shape[1:]
    flat = curves.reshape(len(curves), -1)
    ends = np.full(flat.shape[1], len(curves) - 1)
    if lengths is not None:
        known = as_whole_numbers("lengths", lengths, below=len(curves))
        check_shape("lengths", known, shape, "one for each curve")
        ends = np.minimum(known.ravel(), ends)
    fits = [_fit(flat[: end + 1, column]) for column, end in enumerate(ends)]
    rate, zero_from = (np.array([fit[i] for fit in fits]).reshape(shape) for i in (0, 1))
    with np.errstate(divide="ignore"):
        half_life = np.where(rate == 0, np.inf, LN_2 / -np.where(rate == 0, 1.0, rate))
    verdicts = [_verdict(*fit, int(end)) for fit, end in zip(fits, ends, strict=True)]
    verdicts = np.array(verdicts, dtype=object).reshape(shape)
    scalars = (float(rate), float(half_life), float(zero_from), verdicts.item()) if not shape else None
    rate, half_life, zero_from, verdict = scalars or (rate, half_life, zero_from, verdicts)
    return Summary(rate, half_life, len(curves) - 1, zero_from, verdict, curves)


def _fit(curve: np.ndarray) -> tuple[float, float]:
    """Returns slope and first exactly zero lag of one curve."""
    finite = np.isfinite(curve)
    zero_from = float(np.argmin(finite)) if not finite.all() else math.inf
    lags = np.flatnonzero(finite)
    lags = lags[lags >= 1]
    if len(lags) < 2:
        return -math.inf, zero_from
    centred = lags - lags.mean()
    return float(centred @ curve[lags] / (centred @ centred)), zero_from


def _verdict(rate: float, zero_from: float, last_lag: int) -> str:
    if math.isinf(rate):
        return f"vanishes, exactly zero from lag {zero_from:.0f}"
    change = rate * last_lag
    if change <= -LN_2:
        zero = "" if math.isinf(zero_from) else f", exactly zero from lag {zero_from:.0f}"
        return f"vanishes, half-life {_steps(LN_2 / -rate)}{zero}"
    if change >= LN_2:
        return f"explodes, doubles every {_steps(LN_2 / rate)}"
    return f"neither, a factor of {math.exp(change):.2g} over {last_lag} steps"


def _steps(number: float) -> str:
    return f"{number:.1f} steps" if number < 100 else f"{number:,.0f} steps"
