"""The sentences beside the plots, from numbers that are known."""

import math
import re

import numpy as np
import pytest
from report_rows import series
from scipy import stats

from recur.report._numbers import spearman, told
from recur.report._plot_data import collect
from recur.report._plot_table import PLOTS
from recur.report._records import normalize
from recur.report._words import factor, horizon
from recur.report._words_training import task_lag

K = np.arange(0, 401.0)


def words(key, *records):
    return PLOTS[key].words(collect(normalize(list(records))))


def number(plot, name, value, **meta):
    return {"kind": "number", "plot": plot, "name": name, "value": value, **meta}


def spread(low, middle, high):
    return {"median": middle, "p10": low, "p90": high}


def test_trained_lag_says_who_reaches_further():
    rows = [
        series("trained_lag", f"{cell}, {state}", K, -math.log(1000) * K / reach, cell=cell, state=state)
        for cell, state, reach in (("lstm", "init", 40.5), ("lstm", "trained", 200.5), ("gru", "init", 50.5))
    ]
    rows.append(series("trained_lag", "gru, trained", K, -math.log(1000) * K / 20.5, cell="gru", state="trained"))
    assert words("trained_lag", *rows) == [
        "lstm: a thousandth of the gradient reached 40 steps back at initialisation, 200 steps after training",
        "gru: a thousandth of the gradient reached 50 steps back at initialisation, 20 steps after training",
        "Longer horizon after training: lstm. Not longer: gru",
    ]


def test_horizons_of_all_runs_are_told_where_they_are_known():
    rows = [series("trained_lag", f"a, {s}", K, -K, cell="a", state=s) for s in ("init", "trained")]
    for name, values in (
        ("horizon at initialisation, steps", (4, 6, 9)),
        ("horizon after training, steps", (7, 11, 20)),
        ("horizon_lengthened, steps", (1, 5, 12)),
    ):
        rows.append(number("trained_lag", name, spread(*values), cell="a"))
    assert words("trained_lag", *rows) == [
        "a: a thousandth of the gradient reached 6 (4 to 9) steps back at initialisation, 11 (7 to 20) steps after "
        "training",
        "Longer horizon after training, in at least nine tenths of the runs: a",
    ]
    rows[-1]["value"]["p10"] = -1
    for state, value in (("at initialisation", -20.0), ("after training", -1.0)):
        rows.append(number("trained_lag", f"gradient at lag 8 over that at lag 0, {state}, ln", value, cell="a"))
    first, last = words("trained_lag", *rows)
    assert first.endswith("; of that at lag 0, about 10⁻⁹ reached the lag of the task, 8, then 0.368")
    assert task_lag(collect(normalize(rows))) == (8, "lag of the task")
    assert last == (
        "Longer horizon after training, in at least nine tenths of the runs: none. Longer in some runs and not in "
        "others: a"
    )


def test_lag_shares_say_where_nothing_is_added_any_more():
    fast, flat = series("lag_shares", "a", K, -K), series("lag_shares", "b", K, -0.001 * K)
    first, second = words("lag_shares", fast, flat)
    assert first.startswith("a: from lag 7 on, no step adds a thousandth of what the strongest one adds (lag 0)")
    assert "lag 400 adds about 10⁻¹⁷⁴ of it" in first
    assert second == "b: steps as far back as lag 400 still count"


def test_heatmap_says_how_the_horizon_moved():
    lags, steps = np.arange(0, 101), [0, 500]
    values = np.stack([-math.log(1000) * lags / 10.5, -math.log(1000) * lags / 70.5], axis=1)
    row = {"kind": "matrix", "plot": "training_heatmap", "label": "lstm", "x": steps, "y": lags, "values": values}
    said = ["lstm: a thousandth reaches 10 steps back at training step 0, 70 steps at step 500"]
    assert words("training_heatmap", row) == said


def test_spectrum_says_what_its_ends_do():
    row = series("lyapunov_spectrum", "a", [0.25, 0.5, 0.75, 1.0], [math.log(2) / 5, 0, -1, -math.inf])
    (said,) = words("lyapunov_spectrum", row)
    assert said == (
        "a: largest exponent 0.139 nats a step, so a small change doubles every 5 steps; smallest −1; 1 of 4 "
        "directions grow; 1 of 4 directions are forgotten at once (exponent −∞)"
    )


def test_gain_is_told_beside_theory():
    row = series("gain", "256 units", [0.5, 1, 1.5, 2, 3], [-0.7, -0.1, 0.04, 0.147, 0.301])
    row |= {"p10": [-0.7, -0.1, 0.03, 0.143, 0.297], "p90": [-0.7, -0.1, 0.05, 0.151, 0.305]}
    said = words("gain", row, series("gain", "mean field", [1, 2, 3], [0, 0.155, 0.310], reference=True))
    assert said[0] == (
        "256 units, largest exponent: at gain 2 it is 0.147 (0.143 to 0.151), theory 0.155; at gain 3 it is 0.301 "
        "(0.297 to 0.305), theory 0.31; it turns positive between gain 1 and 1.5"
    )


def test_condition_number_is_told_beside_the_exponents():
    rows = [series("condition_number", "a", K, math.log(10) / 5 * K, cell="a")]
    rows.append(series("condition_number", "a: theory", K, 0.5 * K, cell="a", reference=True))
    said = words("condition_number", *rows)
    assert (
        said[0] == "a: the condition number grows tenfold every 5 steps (0.461 nats a step; the exponents predict 0.5)"
    )


def test_histogram_tells_its_middle():
    bins = np.linspace(-1, 0, 1001)
    (said,) = words("singular_values", series("singular_values", "a, k = 1", bins, np.ones(1001)))
    low, high = re.fullmatch(r"a, k = 1: nine tenths lie between −(\S+) and −(\S+) nats a step", said).groups()
    assert [float(low), float(high)] == pytest.approx([0.95, 0.05], abs=0.0015)


def test_forget_bias_tells_half_lives():
    rows = [
        number("forget_bias", "half-life with f bias 1, steps", spread(2.1, 2.2, 2.4), cell="lstm"),
        number("forget_bias", "half-life with chrono T_max = 1000, steps", 340.0, cell="lstm"),
        series("forget_bias", "lstm, f bias", [2, 10], [2.2, 11]),
    ]
    assert words("forget_bias", *rows)[:3] == [
        "lstm with f bias 1: halves its gradient every 2.2 (2.1 to 2.4) steps",
        "lstm with chrono T_max = 1000: halves its gradient every 340 steps",
        "lstm, f bias: predicted 2 to 10 steps, measured 2.2 to 11; off by a factor of 1.1 in the median",
    ]


def test_noise_is_told_by_the_lag_at_which_it_wins():
    slow, none = series("gradient_snr", "a", K, -math.log(1000) * K / 30.5), series("gradient_snr", "b", K, 0 * K - 99)
    said = words("gradient_snr", slow, none, series("gradient_snr", "c", K, 0 * K))
    assert said[0].startswith("a: at lag 31 the signal first falls below 1/1000 of the noise")
    assert said[1] == "b: below 1/1000 at every lag"
    assert said[2] == "c: above 1/1000 to the last lag measured, 400"
    (needed,) = words("samples_needed", series("samples_needed", "a", [0, 10], [math.log(3), math.log(10) * 9]))
    assert needed == "a: 3 sequences at lag 0, about 10⁹ at lag 10"


def test_curse_of_memory_is_told_as_a_power():
    sizes = 1 - 10.0 ** -np.arange(2, 6)
    said = words("memory_curse", series("memory_curse", "a", sizes, -3 * np.log(1 - sizes) + 0.7))
    assert said[0] == (
        "a: about 10¹⁵ at a memory of 100000 steps; ten times the memory, 1000 times the sensitivity (power 3)"
    )


@pytest.mark.parametrize(
    ("value", "what"), [(-math.inf, "underflows to zero"), (math.inf, "overflows"), (math.nan, "is no number")]
)
def test_formats_are_told_by_where_they_break(value, what):
    plain = series("precision", "float32", K, np.where(K < 139, -K * math.log(2), value))
    said = words("precision", plain, series("precision", "log space", K, -K * math.log(2)))
    assert said[0] == f"float32: {what} at lag 139, where the norm was about 10⁻⁴² the lag before"
    assert said[1] == "log space: finite to lag 400, about 10⁻¹²⁰ there"


def test_success_is_told_in_seeds():
    rows = [
        series("task_success", "adding, lstm", [50, 100, 200], [1.0, 0.7, 0.2]),
        series("task_success", "adding, elman", [50, 100, 200], [0.1, 0.0, 0.0]),
    ]
    assert words("task_success", *rows) == [
        "adding, lstm: half of the seeds or more solve T = 100 (7 of 10), 20 % of them T = 200",
        "adding, elman: no length solved by half of the seeds (best share 0.1)",
    ]


def test_horizon_is_told_as_it_is():
    points = {"kind": "points", "plot": "horizon_solved", "label": "copy", "names": ["a", "b", "c", "d"]}
    said = words("horizon_solved", points | {"x": [1, 5, 20, 300], "y": [10, 20, 20, 80]})
    assert said[0] == ("copy, rank correlation over 4 points: 0.949 (too few points for a finding)")
    assert said[1] == "copy: longest T solved is 80, by d with a horizon of 300 steps at initialisation"
    name = "spearman rank correlation over 9 points"
    against = words("horizon_solved", number("horizon_solved", name, spread(-0.8, -0.5, 0.1), task="copy"))
    meaning = "no finding: the band allows more than one answer"
    assert against == [f"copy, rank correlation over 9 points: −0.5 (−0.8 to 0.1) ({meaning})"]
    (nothing,) = words("horizon_solved", number("horizon_solved", name, np.nan, task="copy"))
    assert nothing == "copy, rank correlation over 9 points: undefined, for one of the two does not vary"


def test_rank_correlation_is_that_of_scipy():
    rng = np.random.default_rng(0)
    for _ in range(5):
        x, y = rng.integers(0, 6, (2, 20))
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert math.isnan(spearman([1, 1], [1, 2]))


def test_numbers_without_a_sentence_are_told_as_they_are():
    assert told(
        [
            number("gain", "exponent at g = 2, nats a step", spread(0.143, 0.147, 0.151), cell="elman"),
            number("lag_shares", "factor between lags, ln", -230.0, cell="lstm"),
            number("precision", "first one", spread(2, 2, 2), label="float32"),
            number("precision", "first zero", math.inf, label="float64"),
        ]
    ) == [
        "elman, exponent at g = 2: 0.147 (0.143 to 0.151) nats a step",
        "lstm, factor between lags: about 10⁻¹⁰⁰",
        "float32, first one: 2",
        "float64, first zero: ∞",
    ]


def test_horizon_ends_at_the_first_fall_and_tells_open_ends():
    assert horizon(K, -K) == (6.0, False)
    assert horizon(K, np.where(K == 3, -9.0, 0.0)) == (2.0, False)
    assert horizon(K, 0 * K) == (400.0, True)
    assert horizon(K, np.where(K > 4, math.nan, 0.0)) == (4.0, False)
    assert factor(-math.inf) == "exactly zero"
