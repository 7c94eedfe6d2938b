"""The scripts, on tiny runs: files, summary, resume, exit codes."""

import csv
import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from absl import flags

from experiments import multiplication, ramp
from recur import cells, report, tasks, train
from recur.runs import _config, _folder, _history, _problem, _progress, _run

TINY = {"hidden_size": 3, "length": 5, "sequences": 60, "batch_size": 8, "epochs": 2, "seeds": 2, "tensorboard": False}


def tiny(workdir, **options):
    return multiplication.Config(**{**TINY, "workdir": str(workdir), **options})


def assert_is_summary(summary, name, seeds):
    assert set(summary) == {"experiment", "metrics", "wall_s", "config"}
    assert summary["experiment"] == name
    assert summary["wall_s"] > 0
    for metric in summary["metrics"].values():
        values = metric["values"]
        assert len(values) == seeds
        assert [metric["median"], metric["min"], metric["max"]] == [np.median(values), min(values), max(values)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("multiplication") / "run"
    return workdir, multiplication.train(tiny(workdir))


def test_a_run_leaves_its_files(finished):
    workdir, summary = finished
    names = {"config.json", "history.jsonl", "history.csv", "loss.png", "grad_norm.png", "summary.json", "index.html"}
    names |= {"checkpoints", "run.lock"}
    assert {path.name for path in workdir.iterdir()} == names
    assert json.loads((workdir / "summary.json").read_text()) == summary
    assert_is_summary(summary, "multiplication", seeds=2)
    assert set(summary["metrics"]) == {"train_loss", "val_loss", "best_val_loss", "best_epoch", "test_loss"}
    assert summary["config"] == dataclasses.asdict(tiny(workdir))
    config = json.loads((workdir / "config.json").read_text())
    assert config["config"] == summary["config"]
    assert {"recur", "jax", "optax"} <= set(config["versions"])
    assert (workdir / "loss.png").read_bytes()[:4] == b"\x89PNG"


def test_histories_agree_with_the_summary(finished):
    workdir, summary = finished
    rows = report.read_jsonl(workdir / "history.jsonl")
    # 60 sequences: 51 for training and validation, of which 41, five batches of 8, for training.
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 5), (2, 10)]
    assert rows[-1]["val_loss"] == summary["metrics"]["val_loss"]["values"]
    with (workdir / "history.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["epoch"], row["seed"]) for row in table] == [("1", "0"), ("1", "1"), ("2", "0"), ("2", "1")]
    assert [float(row["val_loss"]) for row in table[2:]] == rows[-1]["val_loss"]


def test_a_finished_run_is_evaluated_and_not_trained(finished, tmp_path):
    workdir, summary = finished
    x, y = np.random.default_rng(0).random((7, 9, 2)), np.full((7, 1), 0.25)
    np.savez(tmp_path / "eval.npz", x=x, y=y)
    before = (workdir / "history.jsonl").read_bytes()
    again = multiplication.train(tiny(workdir, eval_data=str(tmp_path / "eval.npz")))
    assert (workdir / "history.jsonl").read_bytes() == before
    assert again["wall_s"] == summary["wall_s"]
    assert set(again["metrics"]) - set(summary["metrics"]) == {"eval_loss"}
    assert again["metrics"]["val_loss"] == summary["metrics"]["val_loss"]
    assert_is_summary(again, "multiplication", seeds=2)


def test_a_run_continued_equals_a_run_in_one(finished, tmp_path):
    _, whole = finished
    multiplication.train(tiny(tmp_path, epochs=1))
    continued = multiplication.train(tiny(tmp_path))
    assert continued["metrics"] == whole["metrics"]


def test_a_seed_alone_equals_itself_among_others(finished, tmp_path):
    _, both = finished
    alone = multiplication.train(tiny(tmp_path, seeds=1, seed=1))
    for name, metric in alone["metrics"].items():
        np.testing.assert_allclose(metric["values"][0], both["metrics"][name]["values"][1], rtol=1e-4)


def test_data_of_a_file_replace_the_drawn_ones(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=rng.random((60, 5, 2)), y=np.full((60, 1), 7.0))
    summary = multiplication.train(tiny(tmp_path / "run", data=str(tmp_path / "data.npz"), epochs=1))
    # The target is 7 everywhere, which no product of two numbers below 1 is.
    assert summary["metrics"]["test_loss"]["min"] > 20


def test_several_cells_get_a_folder_each(tmp_path):
    config = ramp.Config(workdir=str(tmp_path), cell="elman,gru", hidden_size=3, epochs=3, seeds=2, tensorboard=False)
    summary = ramp.train(config)
    assert_is_summary(summary, "ramp", seeds=2)
    assert (tmp_path / "loss.png").exists()
    for cell in ("elman", "gru"):
        alone = json.loads((tmp_path / cell / "summary.json").read_text())
        assert {"prediction_of_1.0", "prediction_of_0.3", "val_loss", "train_loss"} <= set(alone["metrics"])
        for name, metric in alone["metrics"].items():
            assert summary["metrics"][f"{cell}.{name}"] == metric
    assert len(summary["metrics"]) == 2 * len(alone["metrics"])


def test_the_ramp_goes_on_as_a_line(tmp_path):
    metrics = ramp.train(ramp.Config(workdir=str(tmp_path), tensorboard=False))["metrics"]
    assert len(metrics["prediction_of_1.0"]["values"]) == 3
    np.testing.assert_allclose(metrics["prediction_of_1.0"]["values"], 1.0, atol=0.02)
    np.testing.assert_allclose(metrics["prediction_of_0.3"]["values"], 0.3, atol=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 4}, "hidden_size: the run in .* has 3, asked for is 4"),
        ({"cell": "gru"}, "cell: the run in .* has 'lstm', asked for is 'gru'"),
        ({"resume": False}, "workdir: .* holds a run already; give another --workdir, or --resume"),
        ({"epochs": 1}, "epochs: the run in .* was made for 2, asked for are 1"),
    ],
)
def test_another_run_in_the_folder_is_refused(finished, options, message):
    workdir, summary = finished
    with pytest.raises(ValueError, match=message):
        multiplication.train(tiny(workdir, **options))
    assert json.loads((workdir / "config.json").read_text())["config"]["epochs"] == summary["config"]["epochs"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"cell": "lstn"}, ValueError, "cell: expected a name of recur.cells.CELLS, .*'lstn'; did you mean 'lstm'"),
        ({"cell": "gru,gru"}, ValueError, "each once"),
        ({"hidden_size": 0}, ValueError, "hidden_size: expected a finite number >= 1, got 0"),
        ({"hidden_size": 2.5}, TypeError, "hidden_size: expected int, got 2.5"),
        ({"learning_rate": 0}, ValueError, "learning_rate: expected a positive number"),
        ({"learning_rate": float("nan")}, ValueError, "learning_rate: expected a finite number"),
        ({"seed": 2**32}, ValueError, "seed: expected at most"),
        ({"workdir": ""}, ValueError, "workdir: expected a folder"),
        ({"optimizer": "adman"}, ValueError, "optimizer: expected one of adam, adamw, rmsprop, sgd, got 'adman'"),
        ({"schedule": "linear"}, ValueError, "schedule: expected one of constant, cosine, exponential, got 'linear'"),
        ({"momentum": 0.9}, ValueError, "momentum: expected a number below 1 with sgd"),
    ],
)
def test_a_configuration_names_a_wrong_value(options, error, message):
    with pytest.raises(error, match=message):
        multiplication.Config(**options)


def test_nothing_is_written_for_a_wrong_file(tmp_path):
    np.savez(tmp_path / "nan.npz", x=np.full((60, 5, 2), np.nan), y=np.zeros((60, 1)))
    np.savez(tmp_path / "few.npz", x=np.zeros((4, 5, 2)), y=np.zeros((4, 1)))
    (tmp_path / "empty.npz").touch()
    for name, message in {
        "nan.npz": "expected finite numbers, got nan",
        "few.npz": "expected enough for a batch of 8",
        "empty.npz": "the file is empty",
        "none.npz": "no such file",
    }.items():
        with pytest.raises((ValueError, OSError), match=message):
            multiplication.train(tiny(tmp_path / "run", cell="elman,gru", data=str(tmp_path / name)))
    assert not (tmp_path / "run").exists()


def test_flags_make_the_configuration():
    values = flags.FlagValues()
    _config.define_flags(multiplication.Config, values)
    values(["script", "--cell=gru", "--hidden_size=7", "--learning_rate=0.5", "--noresume"])
    wanted = multiplication.Config(cell="gru", hidden_size=7, learning_rate=0.5, resume=False)
    assert _config.from_flags(multiplication.Config, values) == wanted


def test_a_run_is_repeated_from_its_configuration(finished):
    workdir, _ = finished
    path = workdir / "config.json"

    def parse(config, *arguments):
        values = flags.FlagValues()
        _config.define_flags(config, values)
        values(["script", f"--config={path}", *arguments])
        return _config.from_flags(config, values)

    stored = multiplication.Config(**json.loads(path.read_text())["config"])
    assert stored.sequences == 60
    assert parse(multiplication.Config) == stored
    changed = dataclasses.replace(stored, workdir="other", seeds=5)
    assert parse(multiplication.Config, "--workdir=other", "--seeds=5") == changed
    with pytest.raises(ValueError, match="is of experiment 'multiplication', whose option chrono is none of this one"):
        parse(ramp.Config)
    with pytest.raises(ValueError, match="config: expected the config.json of a run, got .*history.csv"):
        _config.read_config(str(workdir / "history.csv"), ramp.Config)


class Threshold:
    """Sequences whose mean is above zero or not, from the host; a network that reads them."""

    cell = cells.elman(2)

    @classmethod
    def init(cls, key):
        return {"cell": cls.cell.init(key, 1), "kernel": jnp.array([1.0, -1.0])}

    @classmethod
    def loss(cls, params, batch, key):
        logits = cls.outputs(params, batch["x"]) @ params["kernel"]
        value = optax.sigmoid_binary_cross_entropy(logits, batch["label"].astype(jnp.float32))
        right = (logits > 0) == (batch["label"] > 0)
        weight = batch["valid"].astype(jnp.float32)
        mean = lambda each: (each * weight).sum() / jnp.maximum(weight.sum(), 1)  # noqa: E731
        return mean(value), {"accuracy": mean(right.astype(jnp.float32)), "weight": weight.sum()}

    @classmethod
    def outputs(cls, params, x):
        import recur

        return recur.unroll(cls.cell, params["cell"], jnp.moveaxis(x, 0, 1)[..., None]).outputs[-1]

    @classmethod
    def pose(cls, config):
        rng = np.random.default_rng(0)
        items = [{"x": x, "label": int(x.mean() > 0)} for x in rng.normal(size=(22, 3)).astype(np.float32)]
        xs = jnp.asarray(np.stack([item["x"] for item in items[:4]]).T[..., None])
        held_out = tasks.batches(items[14:], 4, pad={}, read_ahead=0)
        return _problem.Problem(
            init=cls.init,
            loss=cls.loss,
            batches=tasks.batches(items[:14], 4, pad={}, epochs=None, key=jax.random.key(1), read_ahead=0),
            validation=held_out,
            loss_name="nats",
            monitor="val_accuracy",
            maximize=True,
            measured="best",
            measure=_problem.each_seed(
                lambda params: {"eval_loss": train.evaluate_batches(cls.loss, params, held_out)["loss"]}
            ),
            show=lambda params: {"samples": [f"kernel of {len(params['kernel'])} seeds"]},
            recurrence=lambda params: (cls.cell, params["cell"], xs),
        )


def test_batches_from_the_host_are_trained_on_and_gone_on_with(tmp_path, capsys):
    config = _config.RunConfig(
        cell="elman", seeds=2, steps=9, eval_every=2, batch_size=4, ema_decay=0.5, optimizer="rmsprop"
    )
    config = dataclasses.replace(config, flow=True, learning_rate=0.05, tensorboard=False)
    whole = dataclasses.replace(config, workdir=str(tmp_path / "whole"))
    summary = _run.run("threshold", whole, Threshold.pose)
    assert_is_summary(summary, "threshold", seeds=2)
    rows = report.read_jsonl(tmp_path / "whole" / "history.jsonl")
    # Of 14 sequences, 4 batches an epoch.
    assert [(row["step"], row["epoch"]) for row in rows] == [(2, 0.5), (4, 1), (6, 1.5), (8, 2), (9, 2.25)]
    accuracies = np.array([row["val_accuracy"] for row in rows])
    assert summary["metrics"]["best_val_accuracy"]["values"] == accuracies.max(axis=0).tolist()
    best = accuracies.argmax(axis=0)
    assert summary["metrics"]["best_epoch"]["values"] == [rows[n]["epoch"] for n in best]
    # What is measured are the best parameters, by their moving average.
    losses = [rows[n]["val_loss"][seed] for seed, n in enumerate(best)]
    np.testing.assert_allclose(summary["metrics"]["eval_loss"]["values"], losses, rtol=1e-5)
    text = capsys.readouterr().out
    assert "kernel of 2 seeds" in text
    assert "before training the gradient" in text
    pictures = {path.stem for path in (tmp_path / "whole").glob("*.png")}
    assert pictures == {"loss", "accuracy", "grad_norm", "flow"}
    page = (tmp_path / "whole" / "index.html").read_text()
    assert page.count("<svg") == 4
    assert "kernel of 2 seeds" in page
    curves = report.read_jsonl(tmp_path / "whole" / "flow.jsonl")
    assert [(row["state"], len(row["ln_median"])) for row in curves] == [("init", 4), ("trained", 4)]
    # Shorter, and then as long: the same run.
    stopped = dataclasses.replace(config, workdir=str(tmp_path / "stopped"), steps=6, flow=False)
    _run.run("threshold", stopped, Threshold.pose)
    again = _run.run("threshold", dataclasses.replace(stopped, steps=9), Threshold.pose)
    assert again["metrics"] == summary["metrics"]


def test_a_run_with_a_schedule_is_not_made_longer(tmp_path):
    config = _config.RunConfig(workdir=str(tmp_path), steps=5, schedule="cosine")
    _folder.write_config(tmp_path, "any", config)
    _folder.check_folder("any", dataclasses.replace(config, patience=3, flow=True))
    with pytest.raises(ValueError, match="steps: the run in .* has 5, asked for is 9; give another --workdir"):
        _folder.check_folder("any", dataclasses.replace(config, steps=9))


def test_tensorboard_files_hold_the_history(tmp_path):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    config = _config.RunConfig(seeds=2, seed=3)
    for step in (0, 1):
        record = train.Record(step + 1, 0.0, {"val_loss": np.array([0.5, 0.25 + step])})
        with _history.tensorboard(tmp_path, config, step) as write:
            write(record)
    found = []
    for path in sorted((tmp_path / "seed_4").iterdir()):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            event, data = Event.FromString(data[12 : 12 + size]), data[16 + size :]
            found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
    assert sorted(found) == [(1, "val_loss", 0.25), (2, "val_loss", 1.25)]


def test_progress_is_told_now_and_then(monkeypatch, capsys):
    with _progress.progress("lstm", 10, 110) as show:
        show(20, 0.5)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(_progress, "LINE_EVERY_S", 0.0)
    with _progress.progress("lstm", 10, 110) as show:
        show(60, 0.5)
    line = capsys.readouterr().out
    assert line.startswith("lstm: step 60 of 110, loss 0.5, ")
    assert line.endswith(" s left\n")


def test_a_probe_is_recorded_and_changes_nothing(finished, tmp_path):
    """Every 2 steps of two epochs of 5, the second of them in a run that goes on from a checkpoint."""
    _, plain = finished
    multiplication.train(tiny(tmp_path, epochs=1, probe_every=2))
    assert [row["step"] for row in report.read_jsonl(tmp_path / "probe.jsonl")] == [0, 2, 4]
    # A row of a step that no checkpoint holds, as a killed run leaves it.
    report.append_jsonl(tmp_path / "probe.jsonl", {"step": 6})
    probed = multiplication.train(tiny(tmp_path, probe_every=2))
    assert probed["metrics"] == plain["metrics"]
    rows = report.read_jsonl(tmp_path / "probe.jsonl")
    assert [row["step"] for row in rows] == [0, 2, 4, 6, 8, 10]
    for row in rows:
        assert np.shape(row["ln_adjoint"]) == (2, 6)
        assert set(row["gates"]) == {"layer_0", "layer_1"}
        assert np.shape(row["gates"]["layer_1"]["f"]["saturated_high"]) == (2,)
    # At the start the readout has norm 1 or so, and the forget gates of the LSTM stand at sigmoid(1).
    np.testing.assert_allclose(rows[0]["gates"]["layer_0"]["f"]["mean"], 0.731, atol=0.05)
    assert rows[0]["ln_parameter_norm"] != rows[-1]["ln_parameter_norm"]
    assert (tmp_path / "probe.png").read_bytes()[:4] == b"\x89PNG"
