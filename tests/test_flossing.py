"""Gradient flossing: its gradient by finite differences, and a tiny run."""

import csv
import dataclasses
import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from experiments import flossing
from recur import cells, report

TINY = {"hidden_size": 4, "seeds": 2, "steps": 40, "length": 8, "learning_rate": 1e-2}


@pytest.mark.parametrize(("cell", "k"), [(cells.elman(3, recurrent_init="gaussian"), 0), (cells.gru(3), 2)])
def test_the_gradient_equals_finite_differences(cell, k, x64):
    params, unravel = ravel_pytree(cell.init(jax.random.key(0), 2, jnp.float64))
    xs = np.random.default_rng(0).normal(size=(10, 2))
    loss = jax.jit(jax.value_and_grad(lambda flat: flossing.mean_square_exponent(unravel(flat), xs, cell=cell, k=k)))
    direction = np.random.default_rng(1).normal(size=params.shape)
    numeric = (loss(params + 1e-6 * direction)[0] - loss(params - 1e-6 * direction)[0]) / 2e-6
    assert abs(numeric) > 1e-2, "a slope that is zero would prove nothing"
    assert float(loss(params)[1] @ direction) == pytest.approx(float(numeric), rel=1e-7)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    config = flossing.Config(**TINY, workdir=str(tmp_path_factory.mktemp("flossing") / "run"))
    return config, flossing.floss(config)


def test_the_condition_number_falls(finished):
    _, summary = finished
    for name in ("ln_condition_number", "mean_square_exponent"):
        before, after = (summary["metrics"][f"{when}_{name}"]["values"] for when in ("before", "after"))
        assert len(before) == len(after) == 2
        assert all(b > 2 * a > 0 for b, a in zip(before, after, strict=True))
    # ln kappa of T steps is close to T times the spread of the exponents, which it exceeds (Weyl).
    spread = np.subtract(*(summary["metrics"][f"before_{end}_exponent"]["values"] for end in ("largest", "smallest")))
    assert (np.array(summary["metrics"]["before_ln_condition_number"]["values"]) > 0.8 * spread * TINY["length"]).all()


def test_a_run_leaves_its_files(finished):
    config, summary = finished
    workdir = pathlib.Path(config.workdir)
    assert {path.name for path in workdir.iterdir()} == {
        *("config.json", "history.jsonl", "history.csv", "summary.json", "condition_number.png", "run.lock")
    }
    assert json.loads((workdir / "summary.json").read_text()) == summary
    assert summary["config"] == dataclasses.asdict(config)
    rows = report.read_jsonl(workdir / "history.jsonl")
    assert [row["step"] for row in rows] == list(range(0, 41, 2))
    assert rows[0]["mean_square_exponent"] == summary["metrics"]["before_mean_square_exponent"]["values"]
    with (workdir / "history.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["step"], row["seed"]) for row in table[:3]] == [("0", "0"), ("0", "1"), ("2", "0")]
    assert float(table[-1]["mean_square_exponent"]) == rows[-1]["mean_square_exponent"][1]


def test_exponents_of_minus_infinity_are_told(tmp_path):
    # Without recurrent weights nothing is left of an earlier state.
    config = flossing.Config(**{**TINY, "hidden_size": 2}, recurrent_init="zeros", workdir=str(tmp_path))
    with pytest.raises(FloatingPointError, match="exponents: expected finite numbers, got -inf or nan in seed 0"):
        flossing.floss(config)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"exponents": 33}, "exponents: expected at most 32, the size of the state, got 33"),
        ({"exponents": 65, "cell": "lstm"}, "exponents: expected at most 64"),
        ({"exponents": -1}, "exponents: expected a finite number >= 0, got -1"),
        ({"cell": "elman,gru"}, "cell: expected one, got 'elman,gru'"),
        ({"cell": "elmann"}, "did you mean .elman"),
        ({"recurrent_init": "xavier"}, "recurrent_init: expected one of"),
        ({"cell": "min_gru"}, "recurrent_init: min_gru has no such option; give --recurrent_init="),
        ({"length": 1}, "length: expected a finite number >= 2, got 1"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        flossing.Config(**options)


def test_another_run_in_the_folder_is_refused(finished):
    config, _ = finished
    again = functools.partial(dataclasses.replace, config)
    with pytest.raises(ValueError, match="steps: the run in .* has 40, asked for is 9"):
        flossing.floss(again(steps=9))
    with pytest.raises(ValueError, match="holds a run already"):
        flossing.floss(again(resume=False))
