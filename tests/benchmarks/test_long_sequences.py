"""The benchmark on long sequences: what is timed, where engines overtake one another, what a run leaves."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import _long_cases, _long_crossovers, _speed_rows, long_sequences
from recur import engines, report

ROOT = pathlib.Path(__file__).parents[2]


def quartiles(median, spread=1.01):
    return {"median": median, "p25": median / spread, "p75": median * spread}


def test_crossovers_lie_where_the_ratio_passes_one():
    # ratio = (T / 400) ** 0.5
    by_length = {n: quartiles((n / 400) ** 0.5) for n in (100, 1_000, 10_000)}
    assert _long_crossovers.crossovers(by_length) == [pytest.approx(400)]
    # A length whose quartiles lie on both sides of 1 decides nothing.
    by_length[1_000] = quartiles(1.5, spread=2)
    assert _long_crossovers.crossovers(by_length) == [pytest.approx(400)]
    assert _long_crossovers.crossovers({100: quartiles(2.0), 1_000: quartiles(3.0)}) == []


@pytest.mark.parametrize(
    ("by_length", "words"),
    [
        (
            {100: quartiles(0.5), 10_000: quartiles(5.0)},
            "is slower than Scan, faster from about T = 400 (0.5 times as fast at T = 100, 5 times as fast at "
            "T = 10,000).",
        ),
        (
            {100: quartiles(2.0), 10_000: quartiles(0.5), 1_000_000: quartiles(2.0)},
            "is faster than Scan, slower from about T = 1,000, faster from about T = 100,000 (2 times as fast at "
            "T = 100, 2 times as fast at T = 1,000,000).",
        ),
        ({100: quartiles(0.25)}, "is slower than Scan at every length (0.25 times as fast at T = 100)."),
        ({100: quartiles(1.0)}, "is as fast as Scan: no length tells them apart."),
    ],
)
def test_crossovers_in_words(by_length, words):
    assert _long_crossovers.describe(by_length, _long_crossovers.crossovers(by_length)) == words


def test_engines_are_compared_turn_by_turn_and_say_where_they_did_not_converge():
    def timing(engine, steps, walls, converged=None, memory=100):
        place = {"cell": "c", "measure": "forward", "engine": engine, "steps": steps}
        return {**place, "walls_s": walls, "converged": converged, "memory_bytes": memory}

    timings = [
        *(timing("Scan", 10, [1.0, 2.0, 3.0]), timing("Scan", 1_000, [4.0, 4.0, 4.0])),
        *(timing("Newton", 10, [2.0, 4.0, 6.0], True), timing("Newton", 1_000, [8.0, 8.0, 8.0], False, 250)),
    ]
    (found,) = _long_crossovers.compare(timings)
    assert found["ratios"][10] == {"median": 0.5, "p25": 0.5, "p75": 0.5}
    assert found["crossovers"] == []
    assert found["words"].startswith("c, forward: Newton is slower than Scan at every length")
    assert "At T = 1,000 it plans 2.5 times the memory. " in found["words"]
    assert found["words"].endswith("It did not converge at T = 1,000 and ran step by step.")


def test_a_run_leaves_records_tables_and_pictures(tmp_path, capsys, monkeypatch):
    two = {"Scan": engines.Scan(), "Newton": engines.Newton()}
    monkeypatch.setattr(long_sequences, "fitting", lambda cell, max_iters: two)
    monkeypatch.setattr(long_sequences, "MEASURES", ("gradients",))
    config = long_sequences.Config(("diagonal_gru",), (12,), repeats=2, hidden_size=2, input_size=2)
    compared = long_sequences.long_sequences(config, tmp_path)
    run, *records = report.read_jsonl(tmp_path / "records.jsonl")
    assert run["config"]["lengths"] == [12]
    assert not [record for record in records if record["kind"] != "long"]
    assert [record["engine"] for record in records] == ["Scan", "Newton"]
    for record in records:
        solved = record["engine"] == "Newton"
        assert (record["converged"] is True, record["iterations"] is not None) == (solved, solved)
        assert record["repeats"] == len(record["walls_s"]) == 2
        assert record["memory_bytes"] > 12 * 2 * 4
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [c["words"] for c in summary["crossovers"]] == [c["words"] for c in compared]
    assert len(compared) == 1
    page = (tmp_path / "index.html").read_text()
    assert page.count("<svg ") == 2
    assert "Newton" in (tmp_path / "long_sequences.md").read_text()
    assert all((tmp_path / f"{name}.png").exists() for name in ("time_gradients", "memory"))
    assert "Crossovers" in page
    assert compared[0]["words"] in capsys.readouterr().out


def test_an_engine_that_does_not_converge_is_timed_as_the_scan_that_ran_instead(monkeypatch):
    monkeypatch.setattr(long_sequences, "MEASURES", ("forward",))
    monkeypatch.setattr(long_sequences, "fitting", lambda cell, max_iters: {"Newton": engines.Newton(max_iters)})
    config = long_sequences.Config(repeats=1, hidden_size=2, input_size=2, max_iters=1)
    (newton,) = long_sequences.time_case(config, "diagonal_gru", 12)
    assert (newton["converged"], newton["iterations"]) == (False, 1)
    assert newton["residual"] > 1e-3
    assert newton["error"] < 1e-5


def test_errors_are_relative_to_each_array_and_show_what_is_not_a_number():
    want = [np.array([1.0, -4.0]), np.array([100.0])]
    assert _long_cases.error(want, (np.array([1.0, -3.0]), np.array([101.0]))) == 0.25
    assert np.isnan(_long_cases.error(want, (np.array([1.0, -4.0]), np.array([np.nan]))))


def test_what_is_wrong_or_too_large_is_not_timed(monkeypatch):
    info = engines.Info("scan", "asked for")
    programs = {
        "right": _long_cases.Program(lambda: (np.ones(3), info), 0.0, 100),
        "wrong": _long_cases.Program(lambda: (np.array([1, 1, 1.1]), info), 0.0, 100),
        "not a number": _long_cases.Program(lambda: (np.array([1, 1, np.nan]), info), 0.0, 100),
        "large": _long_cases.Program(lambda: pytest.fail("is not to run"), 0.0, 2**31),
    }
    monkeypatch.setattr(long_sequences, "MEASURES", ("forward",))
    monkeypatch.setattr(long_sequences, "fitting", lambda cell, max_iters: {name: name for name in programs})
    monkeypatch.setattr(long_sequences, "compile_program", lambda long, name, measure: programs[name])
    monkeypatch.setattr(long_sequences, "reference", lambda long, measure: [np.ones(3)])
    monkeypatch.setattr(long_sequences, "memory_there", lambda: 2**30)
    found = {record["engine"]: record for record in long_sequences.time_case(long_sequences.Config(), "min_gru", 12)}
    assert found["right"]["kind"] == "long"
    assert found["wrong"]["reason"].startswith("WRONG: off float64 by 1.0e-01 > ")
    assert found["not a number"]["reason"].startswith("WRONG: off float64 by nan > ")
    assert found["large"]["reason"] == "plans 2.0 GiB of memory, there are 1.0"


def test_turns_are_fewer_at_great_lengths():
    config = long_sequences.Config(repeats=20)
    assert [config.turns(n) for n in (10_000, 100_000, 1_000_000)] == [20, 5, 5]
    assert long_sequences.Config(repeats=2).turns(1_000_000) == 2


def test_affine_cells_run_in_parallel_too():
    names = [list(_long_cases.fitting(_speed_rows.CELLS[cell](2), 8)) for cell in _long_cases.LONG_CELLS]
    assert names[0] == ["Scan", "Fused", "Fused(chunk=None)", 'Scan(remat="sqrt")', "Associative", "Newton"]
    assert names[1] == ["Scan", "Fused", "Fused(chunk=None)", 'Scan(remat="sqrt")', "Newton"]


@pytest.mark.parametrize("wrong", [{"cells": ("lstm",)}, {"cells": ()}, {"lengths": (8, 8)}])
def test_wrong_values_are_refused(wrong):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))}: expected distinct"):
        long_sequences.Config(**wrong)


def test_a_wrong_flag_ends_with_one_line(tmp_path):
    command = [sys.executable, "-m", "benchmarks.long_sequences", "--lengths=100,0", f"--out={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "lengths: expected whole numbers >= 1" in done.stderr
