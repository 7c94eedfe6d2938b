"""The scripts, on tiny runs: files, summary, resume, exit codes."""

import csv
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from absl import flags

from experiments import _config, _main, multiplication, ramp
from recur import report

ROOT = pathlib.Path(__file__).parents[1]
TINY = {"hidden_size": 3, "length": 5, "sequences": 60, "batch_size": 8, "epochs": 2, "seeds": 2}


CHANGED = ("hidden_size", "seeds", "epochs", "checkpoint_every_s", "workdir")


def tiny(workdir, **options):
    return multiplication.Config(**{**TINY, "workdir": str(workdir), **options})


def start(*arguments, module="experiments.ramp", **options):
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


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
    names = {"config.json", "history.jsonl", "history.csv", "loss.png", "summary.json", "checkpoints"}
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
    config = ramp.Config(workdir=str(tmp_path), cell="elman,gru", hidden_size=3, epochs=3, seeds=2)
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
    metrics = ramp.train(ramp.Config(workdir=str(tmp_path)))["metrics"]
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
        ({"cell": "lstn"}, ValueError, "cell: expected one or several of .*elman, .* got 'lstn'"),
        ({"cell": "gru,gru"}, ValueError, "each once"),
        ({"hidden_size": 0}, ValueError, "hidden_size: expected a finite number >= 1, got 0"),
        ({"hidden_size": 2.5}, TypeError, "hidden_size: expected int, got 2.5"),
        ({"learning_rate": 0}, ValueError, "learning_rate: expected a positive number"),
        ({"learning_rate": float("nan")}, ValueError, "learning_rate: expected a finite number"),
        ({"seed": 2**32}, ValueError, "seed: expected at most"),
        ({"workdir": ""}, ValueError, "workdir: expected a folder"),
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


def test_whole_numbers():
    assert _main.whole_numbers("lengths", ["16", " 64"]) == (16, 64)
    for wrong in ([], ["0"], ["1.5"], ["-2"], ["x"], [""]):
        with pytest.raises(ValueError, match="lengths: expected whole numbers >= 1"):
            _main.whole_numbers("lengths", wrong)


def test_errors_are_one_line():
    assert _main.describe(ValueError("two\n  lines")) == "two lines"
    assert _main.describe(OSError(2, "No such file", "a/b")) == "a/b: No such file"
    assert _main.describe(ValueError()) == "ValueError"


def test_wrong_flags_end_with_code_2_and_one_line(tmp_path):
    file = tmp_path / "file"
    file.touch()
    # Side by side, since starting takes longest.
    processes = {
        arguments: start(*arguments)
        for arguments in (
            ("--hidden_size=-3",),
            ("--sells=gru",),
            ("--cell=lstn", f"--workdir={tmp_path}/a"),
            (f"--workdir={file}/below",),
            (f"--eval_data={file}", f"--workdir={tmp_path}/b"),
            ("--epochs=3", "more"),
        )
    }
    for arguments, process in processes.items():
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 2, (arguments, errors)
        assert len(errors.strip().splitlines()) == 1, (arguments, errors)
        assert "Traceback" not in errors
        assert output == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_help_ends_with_code_0():
    process = start("--help")
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "--hidden_size" in output


def test_ctrl_c_keeps_what_is_finished(tmp_path):
    config = ramp.Config(hidden_size=3, seeds=1, epochs=1_000_000, checkpoint_every_s=0.5, workdir=str(tmp_path))
    process = start(*(f"--{name}={getattr(config, name)}" for name in CHANGED))
    # The second line is printed when all is set up; training begins after it.
    process.stdout.readline()
    process.stdout.readline()
    while not list(tmp_path.glob("checkpoints/*/state")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "the same command goes on from there" in errors
    rows = report.read_jsonl(tmp_path / "history.jsonl")
    assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))
    assert (tmp_path / "checkpoints" / str(len(rows))).is_dir()
    # Cut short to a little more than is done, by a run of its own that goes on from there.
    stored = json.loads((tmp_path / "config.json").read_text())
    stored["config"]["epochs"] = len(rows)
    (tmp_path / "config.json").write_text(json.dumps(stored))
    ramp.train(dataclasses.replace(config, epochs=len(rows) + 100))
    assert len(report.read_jsonl(tmp_path / "history.jsonl")) == len(rows) + 100


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
