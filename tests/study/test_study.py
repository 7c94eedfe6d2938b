"""The main job end to end, its numbers against recur.flow, and its refusals."""

import concurrent.futures
import dataclasses
import json
import math
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur import cells, flow, report, study
from recur.study import _inputs, _lag_records, _made
from recur.study._command import benchmark
from recur.study._config import Config
from recur.study._jobs import make_setup
from recur.study.parts import PARTS, Job, _setup

ROOT = pathlib.Path(__file__).parents[2]
TINY = Config(
    cells=("elman", "lstm"),
    hidden_size=4,
    lengths=(6, 12),
    seeds=3,
    input="noise",
    preset="tiny",
    parts=("lag_curves",),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("tiny")
    benchmark(TINY, out)
    return out


def test_it_leaves_records_tables_and_a_page(finished):
    for name in ("index.html", "records.jsonl", "summary.json", "summary.csv", "lag_curves.csv", "lag_adjoint.svg"):
        assert (finished / name).stat().st_size > 0
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["config"]["lengths"] == [6, 12]
    assert summary["wall_s"] > 0
    assert [(row["cell"], row["length"]) for row in summary["verdicts"]] == [
        ("elman", 6),
        ("lstm", 6),
        ("elman", 12),
        ("lstm", 12),
    ]


def test_records_hold_the_quantiles_of_what_flow_measures(finished):
    rows = report.read_jsonl(finished / "records.jsonl")
    setup, cell = make_setup(TINY), cells.lstm(4)
    xs = setup.inputs(12)
    params = setup.draw(cell, xs.shape[-1])
    curves = np.stack(
        [
            flow.adjoint_log_norms(cell, jax.tree.map(lambda leaf, seed=seed: leaf[seed], params), xs[:, seed])
            for seed in range(3)
        ],
        axis=1,
    )
    (row,) = (
        r
        for r in rows
        if r["kind"] == "lag_curve" and (r["quantity"], r["cell"], r["length"]) == ("adjoint", "lstm", 12)
    )
    assert row["lag_steps"] == list(range(13))
    np.testing.assert_allclose(row["ln_median"], np.median(curves, axis=1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(row["ln_p90"], np.quantile(curves, 0.9, axis=1), rtol=1e-4, atol=1e-5)


def test_a_stopped_run_is_finished_and_not_begun_again(finished, tmp_path, monkeypatch):
    rows = report.read_jsonl(finished / "records.jsonl")
    del rows[0]["wall_s"]
    half = 1 + next(i for i, row in enumerate(rows) if row.get("job") == "lag_curves: lstm T=6")
    report.write_jsonl(tmp_path / "records.jsonl", rows[: half + 1])  # killed within a job
    measured = []
    original = _lag_records.measure
    monkeypatch.setattr(_lag_records, "measure", lambda cell, *rest: measured.append(cell) or original(cell, *rest))
    benchmark(TINY, tmp_path)
    assert measured == [cells.elman(4), cells.lstm(4)]  # length 12 only
    before, after = (report.read_jsonl(folder / "records.jsonl")[1:] for folder in (finished, tmp_path))
    assert all(row.pop("wall_s") > 0 for row in [*before, *after] if row["kind"] == "done")
    assert before == after


def test_a_finished_run_or_another_configuration_is_measured_anew(finished, monkeypatch):
    measured = []
    original = _lag_records.measure
    monkeypatch.setattr(_lag_records, "measure", lambda cell, *rest: measured.append(cell) or original(cell, *rest))
    benchmark(TINY, finished)
    assert len(measured) == 4


def test_an_overflowing_network_is_said_so():
    """A rectifier with gain 50 leaves float32 within 12 steps of text; nothing is mended."""
    config = dataclasses.replace(TINY, cells=("elman_relu",), initializer="identity", gain=1e20)
    cell = _made.make_cell("elman_relu", 4, "identity", 1e20, 12)
    params = jax.vmap(lambda key: cell.init(key, 32))(jax.random.split(jax.random.key(0), 3))
    xs = jnp.ones((config.lengths[-1], 3, 32))
    summary = _lag_records.records({}, *_lag_records.measure(cell, params, xs)[:3])[-1]
    assert summary["verdict"].startswith("not finite: states overflow in")
    assert "rate_nats_per_step" not in summary


def test_quantiles_of_curves_that_end_in_zero():
    curves = np.array([[0.0, -1.0, -2.0], [-np.inf, -3.0, -np.inf]])
    low, middle, high = _lag_records.quantiles(curves)
    assert middle.tolist() == [-1.0, -np.inf]
    assert high[1] in (-3.0, -np.inf)
    assert not np.isnan([low, middle, high]).any()


def test_long_curves_keep_their_ends():
    lags = _lag_records.kept_lags(5000)
    assert lags[:128].tolist() == list(range(128))
    assert lags[-1] == 4999
    assert len(lags) <= 512


@pytest.mark.parametrize("kind", ["text", "noise", "digits"])
def test_inputs_differ_by_seed_and_repeat_by_key(kind):
    xs = _inputs.draw_inputs(kind, None, jax.random.key(3), 4, 50)
    assert xs.shape[:2] == (50, 4)
    assert np.isfinite(xs).all()
    assert not any((xs[:, 0] == xs[:, other]).all() for other in range(1, 4))
    np.testing.assert_array_equal(xs, _inputs.draw_inputs(kind, None, jax.random.key(3), 4, 50))
    if kind == "text":
        assert (xs.sum(axis=-1) == 1).all()


def test_series_are_standardised(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "".join(f"{i},{math.sin(i)}\n" for i in range(40)))
    xs = _inputs.draw_inputs("series", str(path), jax.random.key(0), 1, 40)
    np.testing.assert_allclose(xs[:, 0].mean(axis=0), [0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(xs[:, 0].std(axis=0), [1.0, 1.0], rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cells": ("elmann",)}, "^cell: expected a name of recur.cells.CELLS.* got 'elmann'; did you mean 'elman'"),
        ({"cells": ("no_such_module:cell",)}, "cell: expected a module that can be imported"),
        ({"cells": ("math:cell",)}, "cell: expected a factory in 'math', got no 'cell'"),
        ({"cells": ("math:pi",)}, "cell: expected 'math:pi' to be a factory"),
        ({"cells": ("elman", "lstm"), "initializer": "chrono"}, "elman: bias_init: expected an initiali[sz]er"),
        ({"initializer": "glorot_uniform", "gain": 2.0}, "gain: expected 1"),
        ({"input": "noise", "data": "x.txt"}, "data: expected no file for --input=noise"),
        ({"input": "series"}, "data: expected a CSV file for --input=series, got none"),
        ({"input": "text", "data": "missing.txt"}, "data: expected a readable text file, got missing.txt"),
        ({"input": "digits", "lengths": (200_000,)}, "lengths: expected at most 115008 steps"),
        ({"parts": ("lag_curves", "no_such_part")}, "parts: expected names among .* got \\['no_such_part'\\]"),
    ],
)
def test_bad_configurations_are_named_before_anything_is_written(changes, words, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=words):
        benchmark(dataclasses.replace(TINY, **changes), out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cells": ()}, "cells: expected distinct names"),
        ({"cells": ("lstm", "lstm")}, "cells: expected distinct names"),
        ({"lengths": (1,)}, "lengths: expected distinct lengths of at least 2"),
        ({"seeds": 0}, "seeds: expected at least 1"),
        ({"gain": math.nan}, "gain: expected a finite number, got nan"),
        ({"seed": -1}, "seed: expected 0 <= seed"),
        ({"cells": ("lstm", "my_cells:lstm")}, "cells: expected distinct names"),
        ({"preset": "slow"}, "preset: expected one of .* got 'slow'"),
        ({"parts": ("gain", "gain")}, "parts: expected distinct names"),
    ],
)
def test_bad_config_values_are_named(changes, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(TINY, **changes)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match="out: expected a folder that can be written"):
        benchmark(TINY, tmp_path / "file" / "out")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--cells=elmann"], "cell: expected a name of"),
        (["--hidden_size=0"], "hidden_size"),
        (["--no_such_flag=1"], "no_such_flag"),
        (["--lengths=a"], "lengths: expected whole numbers"),
    ],
)
def test_the_command_ends_with_2_and_one_line(flags, words, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gradient_norms", f"--out={tmp_path}", *flags],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


GIVEN = {"mine": cells.gru(4), "trained": (cells.lstm(5), cells.lstm(5).init(jax.random.key(3), 3))}
XS = np.random.default_rng(0).normal(size=(12, 2, 3)).astype(np.float32)


def told(found):
    """Records without what differs from run to run."""
    rows = [{k: v for k, v in row.items() if k not in ("wall_s", "created")} for row in found.records()]
    return json.loads(json.dumps(rows))


def test_given_cells_parameters_and_inputs_are_used_as_given(tmp_path):
    found = study.study(GIVEN, XS, parts=("lag_curves",), seeds=3, preset="tiny")
    assert not found.failed
    cell, params = GIVEN["trained"]
    (row,) = (
        r for r in found.records() if r["kind"] == "lag_curve" and (r["cell"], r["quantity"]) == ("trained", "adjoint")
    )
    expected = np.asarray(flow.adjoint_log_norms(cell, params, XS[:, [0, 1, 0]]))
    np.testing.assert_allclose(row["ln_median"], np.median(expected, axis=1), atol=1e-5)
    assert {r["cell"]: r["hidden_size"] for r in found.records() if r["kind"] == "summary"} == {"mine": 4, "trained": 5}
    assert found.page(tmp_path / "page").exists()
    assert "vanishes" in str(found)


def test_executors_give_the_same_records_and_failures_are_kept(tmp_path, monkeypatch):
    here = study.study(GIVEN, XS, parts=("lag_curves", "lyapunov_spectrum"), preset="tiny")
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        there = study.study(GIVEN, XS, parts=("lag_curves", "lyapunov_spectrum"), preset="tiny", executor=executor)
    assert told(here) == told(there)

    def jobs(setup):
        def run(name):
            if name == "b" and not mended:
                raise RuntimeError("no luck")
            ran.append(name)
            return [_setup.series("gain", name, [1.0, 2.0], [0.0, 1.0], setup.meta(None))]

        return [Job(name, lambda name=name: run(name)) for name in "abc"]

    mended, ran = [], []
    monkeypatch.setitem(PARTS, "fake", jobs)
    found = study.study(GIVEN, XS, parts=("fake",), folder=tmp_path)
    assert list(found.failed) == ["fake: b"]
    assert "RuntimeError: no luck" in found.failed["fake: b"]
    assert "no luck" in found.page(tmp_path / "page").read_text(encoding="utf-8")
    # What failed is tried again, and nothing else.
    mended.append(True)
    again = study.study(GIVEN, XS, parts=("fake",), folder=tmp_path)
    assert ran == ["a", "c", "b"]
    assert not again.failed
    assert [row["label"] for row in again.records() if row["kind"] == "series"] == ["a", "b", "c"]


def test_a_study_in_float64_leaves_jax_as_it_was():
    found = study.study({"mine": cells.elman(3)}, XS, dtype="float64", preset="tiny")
    assert not found.failed
    assert not jax.config.jax_enable_x64
    assert jnp.ones(()).dtype == jnp.float32


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ({"of": {}}, "of: expected a mapping"),
        ({"of": {"a": cells.gru}}, r"of\['a'\]: expected a cell"),
        ({"xs": XS[0]}, r"xs: expected floats \[T, B, X\]"),
        ({"xs": "words"}, "xs: expected an array"),
        ({"lengths": (99,)}, "lengths: expected at most 12 steps"),
        ({"parts": ("nothing",)}, "parts: expected names among"),
        ({"preset": "slow"}, "preset: expected one of"),
    ],
)
def test_bad_arguments_of_a_study_are_named(case, words):
    with pytest.raises((TypeError, ValueError), match=words):
        study.study(**{"of": GIVEN, "xs": XS, **case})
