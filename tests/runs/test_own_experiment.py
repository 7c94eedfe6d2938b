"""A stranger's experiment: from Python, from a script in another folder, swept and compared."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

import recur
from recur import cells, nn, runs

ROOT = pathlib.Path(recur.__file__).parents[1]
LEFT = {"summary.json", "history.csv", "history.jsonl", "config.json", "index.html", "checkpoints"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(runs.Config):
    lag: int = runs.option(2, "Steps to remember.", least=1)


def problem(config):
    model = runs.pure(lambda rngs: nn.SequenceRegressor(1, config.make_cell(), input_size=1, rngs=rngs))

    def draw(key):
        x = jax.random.normal(key, (config.batch_size, 7, 1))
        return x, x[:, -config.lag]

    def loss(params, batch, key):
        x, y = batch
        return jnp.mean((model(params)(x) - y) ** 2), {}

    return runs.Problem(init=model.init, loss=loss, draw=draw, recurrence=model.recurrence)


SMALL = {"seeds": 2, "steps": 4, "batch_size": 8, "hidden_size": 3, "tensorboard": False}


def test_a_run_leaves_what_ours_leave_and_goes_on(tmp_path):
    config = Config(cell=cells.gru(3), workdir=str(tmp_path / "run"), probe_every=2, **SMALL)
    summary = runs.run(config, problem)
    assert len(summary["metrics"]["train_loss"]["values"]) == 2
    assert {path.name for path in (tmp_path / "run").iterdir()} >= LEFT | {"probe.jsonl"}
    # The seeds differ, and each is what it is whoever trains beside it.
    first, second = summary["metrics"]["train_loss"]["values"]
    assert first != second
    alone = runs.run(
        dataclasses.replace(config, workdir=str(tmp_path / "alone"), seeds=1, seed=1, probe_every=0), problem
    )
    assert alone["metrics"]["train_loss"]["values"] == pytest.approx([second], rel=1e-5)
    assert runs.run(config, problem)["metrics"] == summary["metrics"]
    with pytest.raises(ValueError, match="lag: the run in .* has 2, asked for is 3"):
        runs.run(dataclasses.replace(config, lag=3), problem)


def test_a_sweep_compares_its_settings(tmp_path):
    config = Config(workdir=str(tmp_path / "unused"), **SMALL)
    found = runs.sweep(problem, config, {"learning_rate": [0.01, 0.1], "cell": ["elman"]}, tmp_path / "sweep")
    assert list(found) == ["learning_rate=0.01,cell=elman", "learning_rate=0.1,cell=elman"]
    page = (tmp_path / "sweep/index.html").read_text()
    assert "learning_rate=0.1,cell=elman" in page
    assert "train_loss" in page
    with pytest.raises(ValueError, match="grid: expected options among"):
        runs.sweep(problem, config, {"rate": [1]}, tmp_path / "no")
    with pytest.raises(ValueError, match="expected the folder of a finished run for 'x'"):
        runs.compare({"x": tmp_path / "nowhere"}, tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_wrong_options_are_named():
    for options, words in (
        ({"cell": "lsmt"}, "did you mean 'lstm'"),
        ({"lag": 0}, "lag: expected a finite number >= 1"),
        ({"cell": "gru,gru"}, "each once"),
    ):
        with pytest.raises(ValueError, match=words):
            Config(**options)
    with pytest.raises(ValueError, match="expected one of data=arrays, batches=iterator and draw=function"):
        runs.Problem(init=None, loss=None)
    with pytest.raises(TypeError, match="returns a recur.runs.Problem, got int"):
        runs.run(Config(**SMALL), lambda config: 3)


SCRIPT = """
import dataclasses, sys
import jax.numpy as jnp
from recur import runs

def problem(config):
    if config.seeds == 7:
        raise ValueError("of my own")
    return runs.Problem(
        init=lambda key: {"w": jnp.ones(())},
        loss=lambda params, batch, key: (jnp.mean((params["w"] - batch) ** 2), {}),
        draw=lambda key: jnp.zeros(config.batch_size),
    )

if __name__ == "__main__":
    runs.main(runs.Config, problem)
"""


def test_a_script_has_flags_and_keeps_the_tracebacks_of_its_own(tmp_path):
    (tmp_path / "mine.py").write_text(SCRIPT)

    def call(*flags):
        return subprocess.run(
            [sys.executable, "mine.py", *flags],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            check=False,
        )

    done = call("--steps=3", "--seeds=1", "--workdir=run", "--notensorboard")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run/summary.json").read_text())["experiment"] == "mine"
    refused = call("--cell=lsmt")
    assert refused.returncode == 2
    assert refused.stderr.strip().splitlines()[-1].endswith("did you mean 'lstm'?")
    assert "Traceback" not in refused.stderr
    own = call("--seeds=7", "--workdir=other")
    assert own.returncode == 1
    assert "Traceback" in own.stderr
    assert "ValueError: of my own" in own.stderr
