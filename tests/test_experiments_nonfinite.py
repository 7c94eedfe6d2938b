"""Runs whose numbers go wrong, and runs that are to repeat bit by bit."""

import csv
import functools
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import _regression, forecast, ramp
from recur import cells, report, train
from recur.runs import _broken, _config, _folder, _machine, _problem, _run

ROOT = pathlib.Path(__file__).parents[1]
TINY = {"cell": "elman", "hidden_size": 2, "epochs": 6, "tensorboard": False, "learning_rate": 0.01}
BROKEN = 1


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.ramp", *arguments],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def pose(config):
    """Sequences to sum up; the weights of one seed are such that its second state is infinite."""
    model = _regression.regression(cells.ind_rnn(2), layers=1, input_size=1)
    x = jnp.ones((8, 4, 1))
    words = jax.random.key_data(jax.random.fold_in(jax.random.key(BROKEN), 1))

    def init(key):
        params = model.init(key)
        ((name, layer),) = params["stack"]["layers"].items()
        is_broken = (jax.random.key_data(key) == words).all()
        layer = layer["params"]
        own = {**layer, "recurrent_kernel": jnp.where(is_broken, 1e38, layer["recurrent_kernel"]).at[..., 0].set(0.5)}
        own |= {"kernel": jnp.where(is_broken, 100.0, layer["kernel"])}
        return {**params, "stack": {"layers": {name: {"params": own}}}}

    return _problem.Problem(
        init=init,
        loss=model.loss,
        data=(x, x.sum(axis=1)),
        validation=(x[:2], x[:2].sum(axis=1)),
        recurrence=lambda params: (*model.as_cell(params), jnp.moveaxis(x, 0, 1)),
        reads=lambda params, batch: (*model.as_cell(params), jnp.moveaxis(batch[0], 0, 1)),
    )


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    config = _config.RunConfig(**TINY, batch_size=4, seeds=3, workdir=str(tmp_path_factory.mktemp("broken")))
    return config, _run.run("sums", config, pose)


def test_a_broken_seed_is_marked_everywhere(broken, capsys):
    config, summary = broken
    folder = pathlib.Path(config.workdir)
    assert summary["broken"] == {"1": 1}
    rows = report.read_jsonl(folder / "history.jsonl")
    assert len(rows) == 6
    assert all(row["stopped"] == [0, 1, 0] and row["skipped"] == [0, 1, 0] for row in rows)
    assert np.isnan([row["train_loss"][1] for row in rows]).all()
    assert np.isfinite([[row["train_loss"][0], row["val_loss"][2]] for row in rows]).all()
    with (folder / "history.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["stopped"] for row in table[-3:]] == ["0.0", "1.0", "0.0"]
    values = summary["metrics"]["train_loss"]["values"]
    assert np.isnan(values[1])
    assert summary["metrics"]["train_loss"]["max"] == max(values[0], values[2])
    words = "seed 1 is broken: it stopped at step 1 and is left out"
    assert words in (folder / "index.html").read_text()
    assert words in (folder / "broken.txt").read_text()
    assert words in _folder.as_text("sums", summary)
    assert "n 2\n" in _folder.as_text("sums", summary)


def test_the_others_are_what_they_are_alone(broken, tmp_path):
    config, summary = broken
    alone = _run.run("sums", _config.RunConfig(**TINY, batch_size=4, seeds=1, workdir=str(tmp_path)), pose)
    assert "broken" not in alone
    for name, metric in alone["metrics"].items():
        np.testing.assert_allclose(metric["values"][0], summary["metrics"][name]["values"][0], rtol=1e-5)


def test_a_run_without_a_sound_seed_ends_and_names_the_unit(tmp_path):
    config = _config.RunConfig(**TINY, batch_size=4, seeds=1, seed=BROKEN, workdir=str(tmp_path))
    with pytest.raises(FloatingPointError) as error:
        _run.run("sums", config, pose)
    said = str(error.value)
    assert said.startswith("elman: loss or gradient of seed 1 is infinite or not a number at step 1; lower the ")
    # Of the unit that recurs by 1e38, from a state of about a hundred.
    assert "; state layer_0.h is inf at time step 2, sequence 0, unit 1, loss is inf, gradient of " in said
    assert said.endswith("; it stopped at step 1; last good checkpoint: none")
    assert not (tmp_path / "summary.json").exists()


@pytest.mark.slow
def test_bits_repeat(tmp_path):
    """The same run in a process of its own and here: parameters, optimiser and history, bit by bit."""
    options = {"hidden_size": 3, "epochs": 30, "seeds": 2, "deterministic": True, "tensorboard": False}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    script = start(*arguments, f"--workdir={tmp_path / 'script'}", "--host_devices=1")
    ramp.train(ramp.Config(**options, workdir=str(tmp_path / "call")))
    output, errors = script.communicate(timeout=300)
    assert script.returncode == 0, errors
    assert "deterministic: bitwise equal on the same machine, devices and versions; costs nothing on this CPU" in output
    histories = [report.read_jsonl(tmp_path / name / "history.jsonl") for name in ("script", "call")]
    for row in (row for history in histories for row in history):
        del row["wall_s"]
    assert histories[0] == histories[1]
    config = ramp.Config(**options, workdir=str(tmp_path / "call"))
    model = _regression.regression(cells.CELLS[config.cell](config.hidden_size), layers=1, input_size=1)
    like = jax.vmap(lambda key: train.init_state(model.init(key), config.make_optimizer(30), key))
    like, found = like(_run.seed_keys(config)), []
    for name in ("script", "call"):
        with train.Checkpoints(tmp_path / name / "checkpoints") as checkpoints:
            state, _ = checkpoints.restore(like)
        found.append(jax.tree.leaves((state.params, state.opt_state, state.best)))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    assert found[0][0].shape[0] == 2


def test_the_states_of_a_forecast_are_looked_at(tmp_path):
    problem = forecast._pose(forecast.Config(hidden_size=4, workdir=str(tmp_path)))
    params, batch = problem.init(jax.random.key(0)), jax.tree.map(lambda leaf: leaf[:3], problem.data)
    explain = _broken.explain(problem)
    assert explain(params, batch) == "all states are finite"
    broken = jax.tree.map(lambda leaf: leaf * jnp.nan, params)
    assert explain(broken, batch) == "state layer_0.h is nan at time step 1, sequence 0, unit 0"


def test_numbers_that_go_wrong_end_a_script_with_code_1(tmp_path):
    wrong = start("--learning_rate=1e38", "--clip_norm=0", "--epochs=3", "--seeds=1", f"--workdir={tmp_path}")
    output, errors = wrong.communicate(timeout=300)
    assert wrong.returncode == 1, errors
    assert len(errors.strip().splitlines()) == 1
    assert "elman: loss or gradient of seed 0 is infinite or not a number at step " in errors


def test_the_flag_of_xla_is_set_before_jax_begins():
    code = "import os; from recur.runs import _machine as m; m.be_deterministic(); print(os.environ['XLA_FLAGS'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert _machine.DETERMINISTIC in done.stdout.split()


def test_with_a_gpu_in_use_it_is_too_late(monkeypatch):
    jax.devices()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setenv("XLA_FLAGS", "--xla_other=1")
    with pytest.raises(ValueError, match="deterministic: expected XLA_FLAGS=--xla_gpu_deterministic_ops=true before"):
        _machine.be_deterministic()
    monkeypatch.setenv("XLA_FLAGS", f"--xla_other=1 {_machine.DETERMINISTIC}")
    assert _machine.be_deterministic().endswith("slower, by fixed orders of sums and kernels chosen untimed")


def test_a_wrong_policy_is_named():
    with pytest.raises(ValueError, match="on_nonfinite: expected one of stop, skip, halve, got 'mend'"):
        _config.RunConfig(on_nonfinite="mend")


def test_the_policy_of_a_run_is_not_changed(tmp_path):
    config = functools.partial(_config.RunConfig, workdir=str(tmp_path))
    _folder.write_config(_folder.check_folder("any", config()), "any", config())
    with pytest.raises(ValueError, match="on_nonfinite: the run in .* has 'stop', asked for is 'skip'"):
        _folder.check_folder("any", config(on_nonfinite="skip"))
