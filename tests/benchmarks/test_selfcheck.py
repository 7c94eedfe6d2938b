"""The scorecard passes what is right, fails what is wrong, and says which."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import jax
import pytest

import recur
from benchmarks.selfcheck import Config, conclude, selfcheck
from recur import cells, engines, report
from recur.runs import _main

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


@dataclasses.dataclass(frozen=True)
class Broken:
    """Refuses no cell, and raises."""

    def refusal(self, cell):
        return ""

    def run(self, cell, problem):
        raise ValueError(f"cannot run {cell!r}")


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
    ("config", "words"),
    [
        ({"cells": ()}, "cells: expected distinct names"),
        ({"cells": ("lstm", "lstm")}, "cells: expected distinct names"),
        ({"seed": -1}, "seed: expected 0 <= seed"),
        ({"cells": ("elmann",)}, "did you mean .elman"),
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
    assert "did you mean 'elman'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_every_cell_passes_with_other_draws(seed, tmp_path):
    rows = selfcheck(Config(seed=seed), tmp_path)
    assert {row["cell"] for row in rows} == set(cells.CELLS)
    assert not [row for row in rows if not row["pass"]]
