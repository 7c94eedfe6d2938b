"""The parts that train: batches of one shape, masked losses, ranks, records of others summed up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import recur
from recur import cells, tasks
from recur.study import _config
from recur.study.parts import _learning, _literature, _problems, _tasks, _training
from recur.study.parts._setup import Setup

CONFIG = _config.Config(cells=("elman",), lengths=(8, 16), seeds=2, preset="tiny", parts=("task_success",))


def draw(name, length, longest, count=3):
    problem = _problems.problems(2)[name]
    keys = jax.random.key(1)[None]
    return problem, _problems.draw(keys, np.int32(4), problem=problem, lengths=(length,), count=count, longest=longest)


def drawn_alone(length):
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(1), length), 4)


def test_a_batch_is_the_task_behind_empty_steps():
    problem, batch = draw("selective copy", 5, 12)
    x, y = tasks.selective_copy(drawn_alone(5), 3, 9, items=2, symbols=6)
    batch = jax.tree.map(lambda leaf: np.asarray(leaf[0]), batch)
    np.testing.assert_array_equal(batch.steps, 9)
    np.testing.assert_array_equal(batch.symbols[:, 3:], x.argmax(-1))
    np.testing.assert_array_equal(batch.labels[:, -2:], y)
    np.testing.assert_allclose(batch.weights, np.tile([0.0] * 10 + [0.5, 0.5], (3, 1)))
    assert problem.floor(5) == tasks.selective_copy_floor(symbols=6)


@pytest.mark.parametrize("name", ["multiplication", "copy"])
def test_the_loss_is_that_of_the_sequence_alone(name):
    """Against a cell run over the steps of the sequence only, and the loss written out."""
    problem, batch = draw(name, 5, 11)
    batch = jax.tree.map(lambda leaf: leaf[0], batch)
    cell = cells.elman(3)
    keys = jax.random.split(jax.random.key(0), 2)
    params = {
        "cell": {**cell.init(keys[0], _problems.FEATURES), "bias": jnp.full((1, 3), 0.3)},
        "kernel": jax.random.normal(keys[1], (3, _problems.FEATURES)),
        "bias": jnp.linspace(-1, 1, _problems.FEATURES),
    }
    value, _ = _learning.network(cell)(params, batch, None)
    x, y = problem.sequences(drawn_alone(5), 3, 5)
    x = np.pad(x, ((0, 0), (0, 0), (0, _problems.FEATURES - x.shape[-1])))
    outputs = recur.unroll(cell, params["cell"], jnp.moveaxis(jnp.asarray(x), 0, 1)).outputs
    outputs = np.asarray(outputs, np.float64) @ np.asarray(params["kernel"]) + np.asarray(params["bias"])
    if name == "multiplication":
        wanted = np.mean((outputs[-1, :, 0] - np.asarray(y)[:, 0]) ** 2)
    else:
        logs = outputs - np.log(np.exp(outputs).sum(axis=-1, keepdims=True))
        wanted = -np.mean(np.take_along_axis(logs, np.asarray(y).T[..., None], axis=-1))
    np.testing.assert_allclose(value, wanted, rtol=1e-5)


def test_ranks_correlate_as_scipy_says():
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y = rng.integers(0, 4, (2, 9)).astype(float)
        np.testing.assert_allclose(_tasks.spearman(x, y), stats.spearmanr(x, y).statistic, atol=1e-12)
    assert np.isnan(_tasks.spearman(np.arange(3.0), np.ones(3)))


def test_horizons_of_seeds_that_are_not_finite_are_unknown():
    curves = np.log(0.5) * np.arange(40.0)[:, None] * np.array([1.0, 2.0, 1.0])
    curves[7, 2] = np.nan
    # 2^-9 > 1e-3 > 2^-10, and 4^-4 > 1e-3 > 4^-5.
    np.testing.assert_array_equal(_tasks.horizons(curves), [9, 4, np.nan])


def made_up(cell, horizon, reached, initializer="own"):
    return {
        "kind": "task_run", "task": "copy", "cell": cell, "initializer": initializer, "lengths": [5, 10],
        "steps_to_criterion": reached, "horizon_steps": horizon, "horizon_measured_to_steps": 16, "seeds": 2,
        "dtype": "float32", "hidden_size": 4, "budget": "little",
    }  # fmt: skip


def test_runs_of_other_jobs_are_summed_up():
    nan = float("nan")
    setup = Setup(CONFIG, {}, jax.random.key(0))
    setup.rows.extend(
        [
            made_up("elman", [3, 5], [[nan, nan], [nan, nan]]),
            made_up("lstm", [20, 22], [[50, 100], [nan, 100]]),
            made_up("lstm", [90, nan], [[50, 50], [nan, nan]], "chrono"),
            {**made_up("gru", [7, 7], [[1, 1], [1, 1]]), "task": "adding"},
        ]
    )
    points, correlation = _tasks._correlate(setup, "copy")
    assert points["names"] == ["elman", "lstm", "lstm, chrono"]
    assert points["x"] == [4, 21, 90]
    assert points["y"] == [0, 10, 5]
    assert correlation["value"]["median"] == pytest.approx(0.5)
    assert -1 <= correlation["value"]["p10"] <= correlation["value"]["p90"] <= 1
    rows = [_literature._record(setup, row) for row in _literature.ROWS]
    (copied,) = [row for row in rows if row["ours"] is not None and row["task"].startswith("copy")]
    assert copied["ours"].endswith("T = 5: 2 of 2, T = 10: 1 of 2")
    assert all("http" in row["source"] for row in rows)
    assert any(row["ours"] is None for row in rows)


def test_a_run_that_learns_is_seen_to_learn():
    """Delayed recall at lag 1 in a linear network, whose optimum is exact: the loss falls far below the floor."""
    budget = _learning.Budget(4, 240, 40)
    cell = cells.elman(4, activation="identity")
    *_, first, last = _learning.learn(_problems.recall(1), cell, cell, jax.random.key(0), (3,), 3, 2, budget)
    assert last.step == 240
    assert last.losses.shape == (1, 2)
    assert (last.losses < 0.05).all()
    assert (last.losses < first.losses).all()


def test_training_is_measured_before_and_after():
    setup = Setup(CONFIG, {"elman": cells.elman(4)}, jax.random.key(0))
    rows = _training._measure(setup, "elman")
    before, after = (row for row in rows if row["plot"] == "trained_lag" and row["kind"] == "series")
    assert (before["state"], after["state"]) == ("init", "trained")
    assert before["median"][0] == after["median"][0] == 0
    (heatmap,) = (row for row in rows if row["kind"] == "matrix")
    values = np.array(heatmap["values"])
    assert heatmap["x"] == [0, 2, 4]
    np.testing.assert_allclose(values[:, 0], before["median"], atol=1e-6)
    np.testing.assert_allclose(values[:, -1], after["median"], atol=1e-6)
    gates = [(row["gate"], row["statistic"]) for row in rows if row["plot"] == "gate_statistics"]
    assert gates == [("h", "mean"), ("h", "saturated")]
    states = [row["state"] for row in rows if row["plot"] == "lyapunov_spectrum"]
    assert states == ["init", "trained"]
