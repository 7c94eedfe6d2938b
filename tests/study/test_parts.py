"""Every part that trains nothing, once at a tiny size through the runner; its records against closed forms."""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.nn import sigmoid

from recur import cells, flow, report
from recur.study._command import benchmark
from recur.study._config import Config
from recur.study._jobs import make_setup
from recur.study.parts import PARTS, Job, _forget_bias, _gain, _lag_shares, _memory_curse, _setup

TRAINED = ("training", "task_success", "horizon_solved")


@cells.pointwise(state=("h",), gates={"f": sigmoid, "n": jnp.tanh}, keep="f")
def leaky(gate, state):
    return {"h": gate.f * state.h + (1 - gate.f) * gate.n}


TINY = Config(
    cells=(f"{__name__}:leaky",),
    hidden_size=4,
    lengths=(16,),
    seeds=2,
    input="noise",
    preset="tiny",
    parts=tuple(part for part in PARTS if part not in TRAINED),
)


@pytest.fixture(scope="module")
def setup():
    return make_setup(TINY)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("parts")
    benchmark(TINY, out)
    return out


@pytest.fixture(scope="module")
def rows(finished):
    return report.read_jsonl(finished / "records.jsonl")


def pick(rows, **fields):
    (row,) = (r for r in rows if all(r.get(key) == value for key, value in fields.items()))
    return row


class Loop(NamedTuple):
    """A run of leaky in float64: Jacobians ``[T, H, H]``, and for the default cotangent ln of each lag's share."""

    jacobians: np.ndarray
    shares: np.ndarray


def loop(params, xs):
    params = {name: np.asarray(leaf, np.float64) for name, leaf in params.items()}
    (w_f, w_n), (u_f, u_n) = (params[name].transpose(1, 0, 2) for name in ("kernel", "recurrent_kernel"))
    b_f, b_n = params["bias"]
    h = np.zeros(len(u_f))
    jacobians, steps = [], []
    for x in np.asarray(xs, np.float64):
        f, n = 1 / (1 + np.exp(-(x @ w_f + b_f + h @ u_f))), np.tanh(x @ w_n + b_n + h @ u_n)
        d_f, d_n = (h - n) * f * (1 - f), (1 - f) * (1 - n**2)
        jacobians.append(np.diag(f) + d_f[:, None] * u_f.T + d_n[:, None] * u_n.T)
        steps.append((d_f**2 + d_n**2, x @ x + h @ h + 1))  # of outer products with x, h and 1
        h = f * h + (1 - f) * n
    adjoint, shares = np.full(len(h), len(h) ** -0.5), []
    for jacobian, (slopes, inputs) in zip(jacobians[::-1], steps[::-1], strict=True):
        shares.append(0.5 * np.log(slopes @ adjoint**2 * inputs))
        adjoint = jacobian.T @ adjoint
    return Loop(np.array(jacobians), np.array(shares))


def loops(setup, cell, steps):
    xs = setup.inputs(steps)
    params = setup.draw(cell, xs.shape[-1])
    return [loop({name: leaf[s] for name, leaf in params.items()}, xs[:, s]) for s in range(2)]


def exact_power(matrix, steps):
    """Largest exponent of h = h U at rest, and how far an estimate over so many steps may lie from it."""
    values, basis = np.linalg.eig(np.asarray(matrix, np.float64))
    return np.log(np.abs(values).max()), np.log(np.linalg.cond(basis)) / steps


def test_a_cell_of_ones_own_takes_part_in_every_part(rows, finished):
    done = {row["job"].partition(": ")[0] for row in rows if row["kind"] == "done"}
    assert done == set(TINY.parts)
    with_the_cell = {row["plot"] for row in rows if row.get("cell") == "leaky" and "plot" in row}
    assert with_the_cell >= {
        "lag_shares",
        "lyapunov_spectrum",
        "condition_number",
        "singular_values",
        "forget_bias",
        "gradient_snr",
        "samples_needed",
        "precision",
    }
    assert not [row for row in rows if row["kind"] == "skipped"]
    assert (finished / "index.html").stat().st_size > 0


def test_series_carry_their_circumstances(rows):
    for row in rows:
        if row["kind"] == "series":
            assert row["x"] == sorted(row["x"])
            assert len(row["x"]) == len(row["median"])
            if not row["reference"]:
                assert {"seeds", "dtype"} <= set(row)


def test_verdicts_tell_exponents_for_every_initialiser(rows, setup):
    summaries = [row for row in rows if row["kind"] == "summary"]
    assert [row["initializer"] for row in summaries] == ["own", "gaussian"]
    runs = loops(setup, setup.cells["leaky"], 16)
    spectrum = pick(rows, kind="series", plot="lyapunov_spectrum", cell="leaky")
    # The median of two seeds is their mean, and exponents add up to the mean of ln |det J| (after 3 steps of warm-up).
    exact = np.mean([np.linalg.slogdet(run.jacobians[3:])[1].mean() for run in runs])
    assert sum(spectrum["median"]) == pytest.approx(exact, abs=1e-4)
    top = summaries[0]["lyapunov_nats_per_step"]["median"]
    assert top == pytest.approx(spectrum["median"][0], abs=1e-12)
    assert summaries[0]["condition_slope_nats_per_step"]["median"] == pytest.approx(
        spectrum["median"][0] - spectrum["median"][-1], abs=1e-12
    )


def test_the_gain_part_finds_the_largest_eigenvalue_below_chaos(rows, setup):
    sizes = _gain.SIZES["tiny"]
    (width,) = sizes.widths
    kernels = setup.draw(cells.elman(width, recurrent_init="gaussian"), 1, f"gain {width}")["recurrent_kernel"]
    row = pick(rows, plot="gain", kind="series", reference=False)
    expected = [exact_power(0.5 * kernel[:, 0], sizes.steps - sizes.warmup) for kernel in kernels]
    middle, tolerance = np.mean(expected, axis=0)
    assert row["median"][0] == pytest.approx(middle, abs=tolerance)
    theory = pick(rows, plot="gain", kind="series", reference=True)
    assert theory["median"][0] == pytest.approx(math.log(0.5))


def test_random_matrices_stand_beside_the_spectrum(rows):
    disc, fresh = (
        pick(rows, plot="lyapunov_spectrum", label=label)
        for label in ("uniform disc, n large", "fresh Gaussian matrices, n = 4")
    )
    fraction_below = 1 - (np.asarray(disc["x"]) - 1 / 8)
    np.testing.assert_allclose(np.exp(2 * np.asarray(disc["median"])), fraction_below)
    np.testing.assert_allclose(fresh["median"], flow.newman_exponents(4))


def test_condition_numbers_and_histograms_are_those_of_the_product(rows, setup):
    runs = loops(setup, setup.cell("leaky", hidden_size=3), 10)
    products = [np.linalg.multi_dot(run.jacobians[:5:-1]) for run in runs]  # the last 4 of 10
    values = np.log(np.linalg.svd(np.stack(products), compute_uv=False))
    row = pick(rows, plot="condition_number", kind="series", reference=False)
    assert row["median"][row["x"].index(4)] == pytest.approx(np.mean(values[:, 0] - values[:, -1]), abs=1e-4)
    lag_one = pick(rows, plot="singular_values", lag_steps=1)
    width = lag_one["x"][1] - lag_one["x"][0]
    assert sum(lag_one["median"]) * width == pytest.approx(1.0)


def test_gates_alone_forget_as_their_bias_says(rows):
    row = pick(rows, plot="forget_bias", name="largest relative error of the theory for gates alone, over all biases")
    assert row["value"]["p90"] < 1e-6
    told = pick(rows, plot="forget_bias", kind="number", gate="f", name=told_name(rows))
    assert "theory 2.21, gates alone 2.21" in told["name"]
    line = pick(rows, plot="forget_bias", label="leaky, f bias")
    np.testing.assert_allclose(line["x"], [2.0, 1 + math.e], rtol=1e-12)


def told_name(rows):
    return next(r["name"] for r in rows if r["kind"] == "number" and r["name"].startswith("half-life with f bias 1 "))


def test_half_lives_of_known_curves():
    lags = np.arange(40.0)
    curves = np.stack([lags * math.log(0.9), -0.01 * lags, np.where(lags < 3, 0.0, -np.inf), np.full(40, np.nan)], 1)
    found = _forget_bias.half_lives(curves)
    np.testing.assert_allclose(found, [math.log(2) / -math.log(0.9), np.inf, 2.0, np.nan])


def test_a_cell_without_a_keep_gate_is_left_out_with_a_reason():
    setup = make_setup(dataclasses.replace(TINY, cells=("elman",)))
    (row,) = _forget_bias.jobs(setup)[0].run()
    assert row["kind"] == "skipped"
    assert "no gate that keeps the state" in row["reason"]


def test_sensitivity_is_that_of_a_plain_loop_beside_its_closed_form(rows, setup):
    sizes = _memory_curse.SIZES["tiny"]
    shape = (sizes.steps, 2, sizes.batch, 1)
    noise = np.asarray(jax.random.normal(setup.key_for("memory_curse"), shape), np.float64)[..., 0]
    for index, eigenvalue in enumerate(sizes.eigenvalues):
        state = change = np.zeros(noise.shape[1:])
        squares = []
        for x in noise:
            state, change = eigenvalue * state + x, eigenvalue * change + state
            squares.append((change**2).mean(axis=-1))
        expected = np.log(np.mean(squares[sizes.steps // 2 :], axis=0)).mean()
        row = pick(rows, plot="memory_curse", kind="series", reference=False)
        assert row["median"][index] == pytest.approx(expected, abs=1e-5)
    assert math.exp(_memory_curse._closed_form(np.array(0.9))) == pytest.approx(263.887, rel=1e-5)


def test_float64_and_log_space_follow_the_linear_network(rows):
    label = "linear, 0.9 Q"
    exact = np.arange(25) * math.log(0.9)
    for name in ("float32 plain", "float64 plain", "log space"):
        row = pick(rows, plot="precision", label=f"{label}, {name}")
        # The kernel itself is rounded to float32, by up to 8 half ulps a product.
        np.testing.assert_allclose(row["median"], exact, rtol=0, atol=25 * 9 * 2**-24 + 1e-6)
    np.testing.assert_allclose(pick(rows, plot="precision", label=f"{label}: exact")["median"], exact)


def test_lag_shares_and_the_steps_that_hold_the_gradient(rows, setup):
    shares = [run.shares for run in loops(setup, setup.cells["leaky"], 16)]
    row = pick(rows, plot="lag_shares", kind="series")
    np.testing.assert_allclose(row["median"], np.mean(shares, axis=0), rtol=1e-5, atol=1e-5)
    decades = np.log(10.0 ** -np.arange(8.0))[:, None]
    assert _lag_shares._needed(decades, np.zeros(1)).tolist() == [3]  # 0.01 + 0.001 + ... is more than 1 %


def test_the_scorecard_passes(rows):
    checks = [row for row in rows if row["kind"] == "check"]
    assert checks
    assert all(row["passed"] is True for row in checks)
    assert {"group", "name", "expected", "measured", "tolerance"} <= set(checks[0])


def test_ctrl_c_keeps_finished_jobs_and_the_same_command_goes_on(tmp_path, monkeypatch):
    ran, stops = [], [True]

    def jobs(setup):
        def run(name):
            if name == "b" and stops:
                stops.pop()
                raise KeyboardInterrupt
            ran.append(name)
            return [_setup.series("gain", name, [1.0, 2.0], [0.0, 1.0], setup.meta(None))]

        return [Job(name, lambda name=name: run(name)) for name in "abc"]

    monkeypatch.setitem(PARTS, "fake", jobs)
    config = dataclasses.replace(TINY, parts=("fake",))
    with pytest.raises(KeyboardInterrupt, match="finished jobs are kept"):
        benchmark(config, tmp_path)
    assert ran == ["a"]
    benchmark(config, tmp_path)
    assert ran == ["a", "b", "c"]
    assert [row["job"] for row in report.read_jsonl(tmp_path / "records.jsonl") if row["kind"] == "done"] == [
        "fake: a",
        "fake: b",
        "fake: c",
    ]
