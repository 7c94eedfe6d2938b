"""Experiments on what a network remembers: adding, temporal order, copy memory, digits by pixel, videos of digits."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import (
    _classification,
    _drawn,
    _frames,
    adding,
    copy_memory,
    sequential_digits,
    temporal_order,
    video,
)
from recur import cells, tasks
from recur.runs import _history, _page, _run

TINY = {"cell": "elman", "hidden_size": 2, "seeds": 1, "steps": 2, "batch_size": 4, "tensorboard": False}


def config(experiment, workdir, **options):
    return experiment.Config(**{**TINY, "workdir": str(workdir), **options})


def save(path, x, y):
    np.savez(path, x=np.asarray(x), y=np.asarray(y))
    return str(path)


@pytest.fixture
def unseen(monkeypatch):
    """Leaves out pictures and page, which take longest; others test them."""
    monkeypatch.setattr(_history, "figures", lambda *args, **options: {})
    monkeypatch.setattr(_page, "write", lambda *args: None)


def held_out_digits():
    digits = tasks.load_digits()
    return tasks.Digits(digits.images[9::10], digits.labels[9::10])


def measured(experiment, **options):
    """Returns what is measured of parameters that were never trained."""
    problem = experiment._pose(config(experiment, "nowhere", **options))
    params = jax.jit(jax.vmap(problem.init))(jax.random.split(jax.random.key(3), 1))
    return {name: float(values[0]) for name, values in problem.measure(params).items()}


def test_copying_runs_on_drawn_sequences_and_on_a_file(tmp_path, unseen, capsys):
    """The file holds the validation data, drawn once more, so that both give the same numbers."""
    options = {"delay": 2, "items": 2, "validation": 6}
    drawn = tasks.copy_memory(jax.random.fold_in(jax.random.key(0), 0), 6, 2, items=2)
    file = save(tmp_path / "eval.npz", *drawn)
    summary = copy_memory.train(config(copy_memory, tmp_path / "run", **options, eval_data=file))
    metrics = {name: metric["median"] for name, metric in summary["metrics"].items()}
    names = {f"{part}_{name}" for part in ("train", "val", "eval") for name in ("loss", "accuracy")}
    assert set(metrics) == names | {"best_val_loss", "best_epoch", "chance_loss", "times_below_chance"}
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(metrics[f"eval_{name}"], metrics[f"val_{name}"], rtol=1e-5)
    np.testing.assert_allclose(metrics["chance_loss"], 2 * np.log(8) / 6, rtol=1e-6)
    ratio = metrics["chance_loss"] / metrics["val_loss"]
    np.testing.assert_allclose(metrics["times_below_chance"], ratio, rtol=1e-5)
    assert capsys.readouterr().out.count("wanted ") == 5


def test_what_is_measured_of_symbols_in_order(tmp_path):
    drawn = tasks.temporal_order(jax.random.fold_in(jax.random.key(0), 0), 6, 6)
    file = save(tmp_path / "eval.npz", *drawn)
    metrics = measured(temporal_order, length=6, validation=6, eval_data=file)
    assert set(metrics) == {"eval_loss", "eval_accuracy", "chance_loss", "times_below_chance"}
    np.testing.assert_allclose(metrics["chance_loss"], np.log(4), rtol=1e-6)
    np.testing.assert_allclose(metrics["times_below_chance"], np.log(4) / metrics["eval_loss"], rtol=1e-5)


def test_what_is_measured_of_videos(tmp_path):
    """Held-out videos are of held-out images, which the file shows too."""
    videos = tasks.digit_videos(jax.random.split(jax.random.key(0))[1], held_out_digits(), 3, 2)
    file = save(tmp_path / "eval.npz", videos.frames, videos.labels)
    metrics = measured(video, videos=8, validation=3, frames=2, features=2, eval_data=file)
    assert set(metrics) == {"eval_loss", "eval_accuracy", "eval_still_accuracy", "majority_accuracy", "gain"}
    np.testing.assert_allclose(metrics["gain"], metrics["eval_accuracy"] - metrics["eval_still_accuracy"], atol=1e-6)


def test_noise_on_pixels_is_drawn_from_the_key_in_training_only():
    def square(params, batch, key):
        return jnp.mean((batch[0] - params) ** 2), {}

    noisy, x = sequential_digits.noisy(square, 0.3), jnp.linspace(0, 1, 60_000).reshape(-1, 6, 1)
    batch = (x, jnp.zeros(len(x)))
    assert noisy(x, batch, None)[0] == 0
    added, other = (noisy(x, batch, jax.random.key(seed))[0] for seed in (0, 1))
    # The mean square of 60,000 draws lies within 5 standard deviations of the variance.
    assert abs(added - 0.09) < 5 * 0.09 * (2 / x.size) ** 0.5
    assert added != other


def test_a_finished_run_is_evaluated_and_not_trained(tmp_path, unseen):
    """The file holds pixels row by row, which are then read in the order of training."""
    options = {"permuted": True, "order_seed": 5}
    first = sequential_digits.train(config(sequential_digits, tmp_path / "run", **options))
    names = {f"{part}_{name}" for part in ("train", "val") for name in ("loss", "accuracy")}
    assert set(first["metrics"]) == names | {"best_val_accuracy", "best_epoch", "majority_accuracy"}
    held_out = held_out_digits()
    file = save(tmp_path / "eval.npz", held_out.images.reshape(-1, 64, 1), held_out.labels)
    again = sequential_digits.train(config(sequential_digits, tmp_path / "run", **options, eval_data=file))
    assert again["wall_s"] == first["wall_s"]
    assert again["metrics"].pop("eval_accuracy") == again["metrics"]["val_accuracy"]
    eval_loss = again["metrics"].pop("eval_loss")["median"]
    np.testing.assert_allclose(eval_loss, first["metrics"]["val_loss"]["median"], rtol=1e-5)
    assert again["metrics"] == first["metrics"]
    assert json.loads((tmp_path / "run" / "config.json").read_text())["config"]["eval_data"] == file


def test_a_file_is_trained_on_but_for_every_tenth_sequence(tmp_path, unseen):
    x, y = np.ones((20, 3, 2)), np.full((20, 1), 5.0)
    y[9::10] = -100.0
    file = save(tmp_path / "data.npz", x, y)
    summary = adding.train(config(adding, tmp_path / "run", data=file))
    metrics = summary["metrics"]
    names = {f"{part}_{name}" for part in ("train", "val") for name in ("loss", "correct")}
    assert set(metrics) == names | {"best_val_loss", "best_epoch", "chance_loss", "times_below_chance"}
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == summary
    assert 9 < metrics["train_loss"]["median"] < 100
    assert metrics["val_loss"]["median"] > 9000


def test_training_draws_and_evaluation_does_not():
    def draw(key, count, *sizes, **options):
        return key, count, sizes, options

    options = (("marks", "any"), ("more", 2))
    fresh = _drawn.redrawn(lambda params, batch, key: (params, batch, key), draw, (7,), options)
    rows = np.zeros(3, bool)
    assert fresh("params", rows, "key") == ("params", ("key", 3, (7,), dict(options)), "key")
    assert fresh("params", ("x", "y"), None) == ("params", ("x", "y"), None)


def test_validation_is_of_each_seed_alone():
    both = adding.Config(seeds=2, validation=3, length=4)
    drawn = _drawn.draw_validation(_run.seed_keys(both), 3, tasks.adding, (4,), ())
    alone = _drawn.draw_validation(_run.seed_keys(adding.Config(seeds=1, seed=1)), 3, tasks.adding, (4,), ())
    np.testing.assert_array_equal(drawn[0][1:], alone[0])
    assert not np.array_equal(drawn[0][0], drawn[0][1])


def test_gates_are_set_to_a_lag_where_there_are_any():
    assert adding.Config(cell="gru", chrono=50).make_cell() == cells.gru(64, bias_init=cells.Chrono(50))
    assert adding.Config(cell="elman", chrono=50).make_cell() == cells.elman(64)
    assert adding.Config(cell="lstm", chrono=0).make_cell() == cells.lstm(64)


def test_samples_are_told_in_a_line():
    x = np.array([[0.5, 0.0], [0.25, 1.0], [0.125, 1.0]])
    told = "0.250 at step 2 and 0.125 at step 3 of 3: wanted 0.375, got 0.400"
    assert adding.example(x, np.array([0.375]), np.array([0.4])) == told
    symbols = np.eye(8)[["abcdXYEB".index(symbol) for symbol in "EaXbYB"]]
    assert temporal_order.example(symbols, np.int32(1), np.array([0.0, 0.0, 9.0, 0.0])) == "EaXbYB: wanted XY, got YX"
    x, y = np.eye(10)[[3, 1, 8, 9, 8, 8]], np.array([8, 8, 8, 8, 3, 1])
    answers = np.eye(9)[[8, 2, 8, 8, 3, 8]]
    assert copy_memory.example(x, y, answers, 2) == "wanted 3 1   got 3 .   and 1 before the delimiter"


def test_pictures():
    frames = np.random.default_rng(0).random((2, 3, 8, 8))
    labels = np.array([[1, 1, 2], [4, 4, 4]])
    figure = _frames.draw(frames, labels, labels, np.full((2, 3), 4))
    assert [axes.get_xlabel() for axes in figure.axes[:3]] == ["1  1  [4]", "1  1  [4]", "2  2  [4]"]
    assert figure.axes[3].get_xlabel() == "4  4  4"
    np.testing.assert_array_equal(figure.axes[4].get_images()[0].get_array(), frames[1, 1])
    right = np.linspace(0.1, 0.9, 6).reshape(1, 6)
    axes = sequential_digits.draw(right, 0.1, sequential_digits.Config()).axes[0]
    np.testing.assert_allclose(axes.get_lines()[0].get_ydata(), right[0])


def test_classes_of_a_file(tmp_path):
    x = np.zeros((3, 2, 1))
    for y in ([0, 2, 1], [[0], [2], [1]]):
        _, classes = _classification.read_samples(save(tmp_path / "a.npz", x, y), ("T", 1), 3, every_step=False)
        assert classes.tolist() == [0, 2, 1]
        assert classes.dtype == np.int32
    for y, classes, message in (
        ([0, 3, 1], 3, r"array 'y': expected whole numbers below 3, got 3 at index \(1,\)"),
        ([0, -1, 1], None, r"expected whole numbers 0, 1, 2, ..., got -1 at index \(1,\)"),
        ([0, 1, 0.5], None, r"got 0.5 at index \(2,\)"),
        ([1, 1, 1], None, "expected several classes, got 1 only"),
        ([[0, 1], [1, 0], [1, 1]], 2, r"array 'y': expected shape \[N=3\], no axis empty, got \[3, 2\]"),
    ):
        with pytest.raises(ValueError, match=message):
            _classification.read_samples(save(tmp_path / "b.npz", x, y), ("T", 1), classes, every_step=False)


def test_wrong_values_and_files_are_found_before_anything_is_written(tmp_path):
    few = save(tmp_path / "few.npz", np.zeros((4, 5, 2)), np.zeros((4, 1)))
    wide = save(tmp_path / "wide.npz", np.zeros((20, 64, 2)), np.arange(20) % 10)
    short = save(tmp_path / "short.npz", np.zeros((20, 9, 1)), np.arange(20) % 10)
    for experiment, options, message in (
        (adding, {"marks": "some"}, "marks: expected one of"),
        (adding, {"marks": "hs97", "length": 4}, "length: expected at least 8 steps"),
        (adding, {"data": few}, "items: expected at least 10"),
        (adding, {"eval_data": wide}, r"array 'x'|array 'y'"),
        (temporal_order, {"relevant": 4}, "relevant: expected 2 .* or 3"),
        (temporal_order, {"data": few}, "few.npz: array 'x': expected shape"),
        (copy_memory, {"eval_data": few}, "few.npz: array 'x': expected shape"),
        (sequential_digits, {"data": wide}, "wide.npz: array 'x': expected shape"),
        (sequential_digits, {"eval_data": short}, "short.npz: array 'x': expected shape"),
        (video, {"cover": 2.0}, "cover: expected a probability"),
        (video, {"data": few}, "few.npz: array 'x': expected shape"),
    ):
        with pytest.raises(ValueError, match=message):
            experiment.train(config(experiment, tmp_path / "run", **options))
    assert not (tmp_path / "run").exists()
