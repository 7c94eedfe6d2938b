"""One curve in a few numbers."""

import math

import numpy as np
import pytest

from recur import flow


def test_an_exact_exponential():
    summary = flow.summarize(3.0 + math.log(0.9) * np.arange(501))
    assert summary.rate == pytest.approx(math.log(0.9), rel=1e-12)
    assert summary.half_life_steps == pytest.approx(6.5788, abs=5e-5)
    # Horizons of the table in the gradient-flow notes: largest k with 0.9^k >= eps.
    assert summary.horizon_steps(1e-6) == 131
    assert summary.horizon_steps(1e-3) == 65
    assert summary.last_lag_steps == 500
    assert summary.zero_from_lag_steps == math.inf
    assert summary.verdict == "vanishes, half-life 6.6 steps"


@pytest.mark.parametrize(("decay", "horizon"), [(0.5, 19), (0.7310585786, 44), (0.9, 131), (0.95, 269), (0.99, 1374)])
def test_horizons(decay, horizon):
    assert flow.summarize(math.log(decay) * np.arange(3000)).horizon_steps(1e-6) == horizon


def test_growth_is_told_in_doubling_times():
    summary = flow.summarize(math.log(2.0) / 5.0 * np.arange(100))
    assert summary.verdict == "explodes, doubles every 5.0 steps"
    assert summary.half_life_steps == pytest.approx(-5.0)
    assert summary.horizon_steps(1e-3) == 99


@pytest.mark.parametrize(
    ("change", "word"), [(-0.70, "vanishes"), (-0.69, "neither"), (0.69, "neither"), (0.70, "explodes")]
)
def test_the_verdict_turns_at_a_factor_of_two_over_the_curve(change, word):
    assert flow.summarize(change * np.linspace(0, 1, 50)).verdict.startswith(word)


def test_a_constant_norm():
    summary = flow.summarize(np.zeros(10))
    assert summary.rate == 0.0
    assert summary.half_life_steps == math.inf
    assert summary.verdict == "neither, a factor of 1 over 9 steps"


def test_lag_zero_does_not_count():
    curve = math.log(0.5) * np.arange(50) - 7.0
    curve[0] = 0.0
    assert flow.summarize(curve).rate == pytest.approx(math.log(0.5), rel=1e-12)


def test_an_exact_zero_ends_the_fit():
    curve = math.log(0.5) * np.arange(50.0)
    curve[20:] = -np.inf
    summary = flow.summarize(curve)
    assert summary.rate == pytest.approx(math.log(0.5), rel=1e-12)
    assert summary.zero_from_lag_steps == 20
    assert summary.horizon_steps(1e-6) == 19
    assert summary.verdict == "vanishes, half-life 1.0 steps, exactly zero from lag 20"


def test_a_gradient_that_never_leaves():
    summary = flow.summarize([0.0, -np.inf, -np.inf])
    assert summary.rate == -math.inf
    assert summary.half_life_steps == 0.0
    assert summary.verdict == "vanishes, exactly zero from lag 1"


def test_batched_curves_are_summarised_one_by_one():
    curves = np.stack([math.log(0.5) * np.arange(40), math.log(1.5) * np.arange(40), np.zeros(40)], axis=1)
    summary = flow.summarize(curves.reshape(40, 3, 1))
    assert summary.rate.shape == summary.verdict.shape == (3, 1)
    assert [verdict.split(",")[0] for verdict in summary.verdict.ravel()] == ["vanishes", "explodes", "neither"]
    assert summary.horizon_steps(0.1).ravel().tolist() == [3, 39, 39]


@pytest.mark.parametrize(
    ("curve", "words"),
    [
        (np.zeros(2), r"log_norms: expected at least 3 lags \[L, \*B\], got shape \(2,\)"),
        (np.array([0.0, np.nan, 1.0]), "log_norms: expected finite values or -inf, got nan at lag 1"),
        (np.array([0.0, 1.0, np.inf]), "log_norms: expected finite values or -inf, got inf at lag 2"),
    ],
)
def test_bad_curves_are_named(curve, words):
    with pytest.raises(ValueError, match=words):
        flow.summarize(curve)


@pytest.mark.parametrize("eps", [0.0, -1.0, 1.5])
def test_bad_horizons_are_named(eps):
    with pytest.raises(ValueError, match=r"eps: expected a number in \(0, 1\]"):
        flow.summarize(np.zeros(5)).horizon_steps(eps)
