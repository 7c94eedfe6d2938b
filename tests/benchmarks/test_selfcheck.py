"""The scorecard passes what is right, fails what is wrong, and says which."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

import recur
from benchmarks import _closed_forms, _engine_checks
from benchmarks._scorecard import Check, Score
from benchmarks.selfcheck import Config, conclude, selfcheck
from experiments import _main
from recur import cells, engines, flow, report

ROOT = pathlib.Path(__file__).parents[2]
COLUMNS = ["check", "cell", "engine", "quantity", "expected", "measured", "error", "tolerance", "pass"]
LOOP, DIFFERENCES, PRECISION = (
    "engine equals the loop",
    "gradient equals differences",
    "float32 gradient equals float64",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("selfcheck")
    return out, selfcheck(Config(cells=("elman",)), out)


def test_a_right_cell_passes_every_check(finished, capsys):
    _, rows = finished
    assert all(row["pass"] is True for row in rows)
    assert {row["check"] for row in rows} == {
        *(LOOP, DIFFERENCES, PRECISION),
        *("O5 tanh at rest", "O8 bound of a step", "O13 sum rule"),
    }
    run_it = {name for name, make in engines.ENGINES.items() if not make().refusal(recur.cells.elman(2))}
    assert {row["engine"] for row in rows} == {*run_it, None}
    conclude(rows)
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == f"{len(rows)} of {len(rows)} checks pass"
    assert printed.err == ""


def test_it_leaves_records_a_summary_and_a_page(finished):
    out, rows = finished
    run, *recorded = report.read_jsonl(out / "records.jsonl")
    assert [{key: row[key] for key in COLUMNS} for row in recorded] == rows
    summary = json.loads((out / "summary.json").read_text())
    assert summary["checks"] == summary["passed"] == len(rows)
    assert summary["failed"] == []
    assert summary["wall_s"] == run["wall_s"] > 0
    page = (out / "index.html").read_text()
    # Gradients are of the device in use, which is said.
    assert f"{jax.device_count()} x {jax.default_backend()}: {jax.devices()[0].device_kind}" in run["device"]
    assert f"checks pass on {run['device']}, " in page
    assert f"{len(rows)} of {len(rows)} checks pass" in page
    assert page.count("<tr>") == len(rows) + 6  # and the headers of six tables


class RunsAll:
    """Refuses no cell."""

    def refusal(self, cell):
        return ""


@dataclasses.dataclass(frozen=True)
class Perturbed(RunsAll):
    """Scan with an error of 1e-4 in every state."""

    def run(self, cell, problem, *, reverse):
        states, final, info = engines.Scan().run(cell, problem, reverse=reverse)
        return *jax.tree.map(lambda leaf: leaf * 1.0001, (states, final)), info


@dataclasses.dataclass(frozen=True)
class Forgetful(RunsAll):
    """Scan that keeps the gradient from the inputs."""

    def run(self, cell, problem, *, reverse):
        return engines.Scan().run(cell, problem._replace(xs=jax.lax.stop_gradient(problem.xs)), reverse=reverse)


@dataclasses.dataclass(frozen=True)
class Coarse(RunsAll):
    """Scan whose gradients in float32 have the precision of bfloat16."""

    def run(self, cell, problem, *, reverse):
        states, final, info = engines.Scan().run(cell, problem, reverse=reverse)
        return states, jax.tree.map(_coarse_gradient, final), info


@jax.custom_vjp
def _coarse_gradient(leaf):
    return leaf


_coarse_gradient.defvjp(
    lambda leaf: (leaf, None),
    lambda _, g: (jax.lax.reduce_precision(g, 8, 7) if g.dtype == np.float32 else g,),
)


@dataclasses.dataclass(frozen=True)
class Broken(RunsAll):
    """Raises."""

    def run(self, cell, problem, *, reverse):
        raise ValueError(f"cannot run {cell!r}")


@pytest.mark.parametrize(
    ("engine", "failing"),
    [
        (Perturbed, {(LOOP, part) for part in ("outputs", "final state")}),
        (Forgetful, {(DIFFERENCES, "d loss / d inputs")}),
        (Coarse, {(PRECISION, f"d loss / d {group}") for group in _engine_checks.GROUPS}),
        (Broken, {(name, "an error was raised") for name in (LOOP, DIFFERENCES, PRECISION)}),
    ],
)
def test_a_wrong_engine_fails_where_it_is_wrong(engine, failing, monkeypatch):
    monkeypatch.setattr(engines, "ENGINES", {"wrong": engine})
    rows = [row for check in _engine_checks.checks({"elman": cells.elman(3)}, 0) for row in check.rows()]
    failed = {(row["check"], row["quantity"].split(",")[0]) for row in rows if not row["pass"]}
    assert failed == failing
    assert all("cannot run elman(3)" in row["note"] for row in rows if engine is Broken)


def test_an_error_of_1e_6_nats_a_step_fails_the_closed_forms(monkeypatch):
    right = flow.adjoint_log_norms

    def wrong(*args, **options):
        logs = np.asarray(right(*args, **options))
        return logs + 1e-6 * np.arange(len(logs)).reshape(-1, *(1,) * (logs.ndim - 1))

    monkeypatch.setattr(flow, "adjoint_log_norms", wrong)
    rows = [row for check in _closed_forms.checks(["elman_relu", "lstm"], 0) for row in check.rows()]
    failed = {row["quantity"] for row in rows if not row["pass"]}
    assert {"ln A(k) = ln A(0), k = 1..500", "ln A(k) = ln A(1), k = 2..500, b_f = 40"} <= failed
    assert "i + f" not in failed
    assert not any("note" in row for row in rows)


def test_a_bound_is_shown_where_it_is_closest():
    row = Score("x", [5.0, 4.0, 3.0], [1.0, 3.5, 2.0], 0.1, at_most=True).row()
    assert (row["expected"], row["measured"], row["error"], row["pass"]) == (4.0, 3.5, 0.0, True)


def test_failures_come_first_and_end_the_command_with_code_1(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(engines, "ENGINES", {"scan": engines.Scan, "wrong": Broken})
    rows = selfcheck(Config(cells=("gru",)), tmp_path)
    assert [row["pass"] for row in rows] == [False] * 3 + [True] * (len(rows) - 3)
    with pytest.raises(SystemExit) as end:
        conclude(rows)
    assert end.value.code == _main.WENT_WRONG == 1
    printed = capsys.readouterr()
    assert printed.err == f"failed: {LOOP} gru wrong; {DIFFERENCES} gru wrong; {PRECISION} gru wrong\n"
    assert printed.out.splitlines()[-1] == f"{len(rows) - 3} of {len(rows)} checks pass"
    assert "NO" in printed.out.splitlines()[2]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["failed"][0]["measured"] == "nan"
    assert "cannot run gru(3)" in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize(
    ("expected", "measured", "tolerance", "at_most", "passes"),
    [
        (1.0, 1.0, 0.0, False, True),
        (1.0, 1.25, 0.25, False, True),
        (1.0, 1.25, 0.2, False, False),
        (1.0, 0.75, 0.2, False, False),
        (1.0, np.nan, 1e9, False, False),
        (np.nan, np.nan, 1e9, False, False),
        (np.nan, 1.0, 1e9, True, False),
        (1.0, np.nan, 1e9, True, False),
        (1.0, 1.0, np.nan, False, False),
        (1.0, 5.0, np.inf, False, False),
        (1.0, np.inf, 1e9, False, False),
        (1.0, np.inf, 1e9, True, False),
        (-np.inf, -np.inf, np.inf, False, True),
        (-np.inf, -100.0, np.inf, False, False),
        (-np.inf, -100.0, np.inf, True, False),
        (1.0, -5.0, 0.0, True, True),
        (1.0, 1.5, 0.25, True, False),
    ],
)
def test_only_finite_differences_within_a_finite_tolerance_pass(expected, measured, tolerance, at_most, passes):
    row = Score("x", expected, measured, tolerance, at_most).row()
    assert row["pass"] is passes
    beside_right_ones = Score("x", [0.0, expected, 0.0], [0.0, measured, 0.0], [0.0, tolerance, 0.0], at_most).row()
    assert beside_right_ones["pass"] is passes
    np.testing.assert_equal((row["expected"], row["measured"]), (expected, measured))
    if not passes:
        np.testing.assert_equal(beside_right_ones["measured"], measured)


@pytest.mark.parametrize(("expected", "measured"), [([], []), ([1.0], 1.0), ([[1.0], [1.0]], [1.0, 1.0])])
def test_nothing_and_other_shapes_do_not_pass(expected, measured):
    (row,) = Check("a", "b", None, lambda: [Score("x", expected, measured, 1.0)]).rows()
    assert row["pass"] is False
    assert "expected numbers of one shape" in row["note"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"cells": ()}, "cells: expected distinct names"),
        ({"cells": ("lstm", "lstm")}, "cells: expected distinct names"),
        ({"seed": -1}, "seed: expected 0 <= seed"),
        ({"cells": ("elmann",)}, "cells: expected names among"),
        ({"cells": ("recur.cells:stacked",)}, "cells: expected recur.cells:stacked to take a hidden size alone"),
        ({"cells": ("recur.cells:Constant",)}, "cells: expected recur.cells:Constant to return a recur.cells.Cell"),
    ],
)
def test_bad_configurations_are_named_before_anything_is_written(config, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        selfcheck(Config(**config), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match="out: expected a folder that can be written"):
        selfcheck(Config(cells=("gru",)), tmp_path / "file" / "out")


def test_the_command_ends_with_2_and_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.selfcheck", f"--out={tmp_path}", "--cells=elmann"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "cells: expected names among" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_every_cell_passes_with_other_draws(seed, tmp_path):
    rows = selfcheck(Config(seed=seed), tmp_path)
    assert {row["cell"] for row in rows} == set(cells.CELLS)
    assert not [row for row in rows if not row["pass"]]
