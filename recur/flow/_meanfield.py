"""Exponents of wide random networks in theory: what a measured spectrum is held against. Plain float64, no JAX."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from recur._checks import check_number, check_positive
from recur._types import Array, Float

EULER_GAMMA = 0.5772156649015329
MOST = 1e150


class MeanField(NamedTuple):
    """Theory of a random network of unlimited width.

    Args:
        variance: Variance q of the pre-activations.
        exponent: Largest Lyapunov exponent, nats a step.
    """

    variance: float
    exponent: float


def mean_field_tanh(gain: float) -> MeanField:
    """Solves the mean-field equations of ``h_t = tanh(h_{t-1} U)`` with U_ij ~ N(0, gain^2 / H), for large H.

        q = g^2 E[tanh^2(sqrt(q) z)],   lambda_1 = 1/2 ln(g^2 E[1 / cosh^4(sqrt(q) z)]),   z ~ N(0, 1)

    Up to g = 1 the only solution is rest, q = 0 and ``lambda_1 = ln g``; above, the network is chaotic. No input, no
    bias, no leak: continuous-time networks have other exponents. Finite networks lie below, by about 0.008 for
    H = 256 and g = 2, and between g = 0.9 and 1.6 they are often not chaotic at all.

    Averages are sums over an even grid fine enough for float64: tanh has poles near the real axis, for which
    Gauss-Hermite rules of any usual size are wrong from g = 5 on.

    Args:
        gain: g, standard deviation of U times ``H**0.5``.

    Returns:
        `MeanField`.

    Raises:
        TypeError: A gain that is no number.
        ValueError: A gain that is not positive or not finite.

    Reference:
        Sompolinsky, Crisanti and Sommers (1988), https://doi.org/10.1103/PhysRevLett.61.259 (in continuous time);
        in discrete time Molgedey, Schuchhardt and Schuster (1992), Physical Review Letters 69, 3717.

    Example:
        >>> import recur
        >>> round(recur.flow.mean_field_tanh(2.0).exponent, 5)
        0.15472
    """
    gain = _check_scale("gain", gain)
    variance = _variance(gain)
    sech4 = _gaussian_mean(lambda y: np.cosh(y) ** -4.0, variance)
    return MeanField(variance, math.log(gain) + 0.5 * math.log(sech4))


def memory_depth_steps(gain: float) -> float:
    """Solves for how many steps a wide random tanh network keeps the likeness of two states.

        xi = -1 / ln chi,   chi = g^2 E[tanh'(u) tanh'(v)] where the correlation c* of u and v has settled

    Two runs of the network of `mean_field_tanh` approach their lasting correlation c* as ``exp(-t / xi)``. Up to g = 1
    both come to rest, c* = 1 and chi = chi_1 = g^2. Above, where ``chi_1 = exp(2 lambda_1) > 1``, they part: c* = 0 and
    ``chi = g^2 E[tanh']^2``. Squared gradient norms shrink or grow by chi_1 a step: up to g = 1 they survive a few xi.

    Arguments and errors as `mean_field_tanh`.

    Returns:
        Steps; inf at g = 1.

    Reference:
        Chen, Pennington and Schoenholz (2018), https://arxiv.org/abs/1806.05394.

    Example:
        >>> import recur
        >>> round(recur.flow.memory_depth_steps(0.9), 3)
        4.746
    """
    gain = _check_scale("gain", gain)
    slope = _gaussian_mean(lambda y: np.cosh(y) ** -2.0, _variance(gain))
    log_chi = 2 * (math.log(gain) + math.log(slope))
    return -1.0 / log_chi if log_chi < 0 else math.inf


def newman_exponents(n: int, scale: float = 1.0) -> Float[Array, "n"]:
    """Computes the exponents of a product of independent Gaussian matrices, J_ij ~ N(0, scale^2 / n), exactly.

        lambda_i = ln s + 1/2 [ln(2 / n) + psi((n - i + 1) / 2)],   psi the digamma function, i = 1..n

    Args:
        n: Size of the matrices.
        scale: s.

    Returns:
        Nats a step, sorted downwards, ``[n]``, a float64 numpy array.

    Raises:
        TypeError: `n` is no whole number, or `scale` no number.
        ValueError: `n` below 1, or a scale that is not positive or not finite.

    Reference:
        Newman (1986), "The distribution of Lyapunov exponents: exact results for random matrices", Communications in
        Mathematical Physics 103.

    Example:
        >>> import recur
        >>> recur.flow.newman_exponents(16)[[0, 15]].round(5).tolist()
        [-0.0319, -2.02148]
    """
    n, scale = check_positive("n", n), _check_scale("scale", scale)
    # psi(m / 2) for m = 1..n from psi(1/2), psi(1) and psi(x + 1) = psi(x) + 1 / x.
    psi = np.empty(n)
    for first, start in ((0, -EULER_GAMMA - 2 * math.log(2.0)), (1, -EULER_GAMMA)):
        terms = 2.0 / np.arange(first + 1, n - 1, 2)
        psi[first::2] = start + np.concatenate([[0.0], np.cumsum(terms)])[: len(psi[first::2])]
    return math.log(scale) + 0.5 * (math.log(2.0 / n) + psi[::-1])


def _check_scale(name: str, value: float) -> float:
    number = check_number(name, value)
    if not 0 < number < MOST:
        raise ValueError(f"{name}: expected a positive number below {MOST:g}, whose square is finite, got {number}")
    return number


def _variance(gain: float) -> float:
    """Returns the largest q with ``q = g^2 E[tanh^2(sqrt(q) z)]``, by halving an interval."""
    if gain <= 1:
        return 0.0
    # tanh^2 y lies between y^2 - (2/3) y^4 and 1, and the ratio of both sides falls with q.
    low, high = 0.5 * (1 - gain**-2), gain**2
    while low < (middle := 0.5 * (low + high)) < high:
        # Either form keeps its digits where the other cancels or does not end.
        if middle < 1:
            mean = _gaussian_mean(lambda y: np.tanh(y) ** 2, middle)
        else:
            mean = 1 - _gaussian_mean(lambda y: np.cosh(y) ** -2.0, middle)
        low, high = (middle, high) if gain**2 * mean > middle else (low, middle)
    return low


def _gaussian_mean(function: Callable[[np.ndarray], np.ndarray], variance: float) -> float:
    """Returns ``E[function(y)]``, y ~ N(0, variance); for variances above 1 of functions that are gone at |y| = 24.

    The trapezoid rule errs by ``exp(-pi^2 / step)`` for the poles of tanh at i pi/2, and by
    ``exp(-2 pi^2 variance / step^2)`` for the Gaussian: both far below float64 here.
    """
    if variance == 0:
        return float(function(np.zeros(())))
    width = math.sqrt(variance)
    step = 0.1 * min(1.0, width)
    last = math.ceil(min(12 * width, 24.0) / step)
    y = step * np.arange(-last, last + 1)
    weights = np.exp(-0.5 * (y / width) ** 2) * (step / (width * math.sqrt(2 * math.pi)))
    return float(weights @ function(y))
