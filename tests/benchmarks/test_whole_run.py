"""The benchmark of a whole run: turns in new folders, goals turn by turn, the same data as the experiment."""

import importlib.util
import json
import sys

import numpy as np
import pytest

from benchmarks import whole_run
from experiments import multiplication
from recur import report


def record(name, turn, wall_s):
    return {"name": name, "turn": turn, "wall_s": wall_s}


def test_goals_compare_turn_by_turn():
    records = [
        *(record(whole_run.ONE, turn, wall) for turn, wall in enumerate([1.0, 2.0, 4.0])),
        *(record(whole_run.KERAS, turn, wall) for turn, wall in enumerate([4.0, 6.0, 8.0])),
        # The last turn was interrupted.
        *(record(whole_run.SEVERAL, turn, wall) for turn, wall in enumerate([4.0, 8.0])),
    ]
    keras, several = whole_run.goals(records)
    assert (keras["reached"]["median"], keras["met"], keras["turns"]) == (3.0, True, 3)
    assert keras["reached"]["text"] == "3.00 (2.50 to 3.50)"
    assert (several["reached"]["median"], several["met"], several["turns"]) == (4.0, False, 2)
    keras, several = whole_run.goals(records[:3])
    assert (keras["reached"], keras["met"], several["met"]) == (None, None, None)


def test_turns_run_in_new_folders_and_leave_records(tmp_path, capsys):
    seen = []

    def run(folder):
        assert not list(folder.iterdir())
        seen.append(folder)
        return {"train_s": 0.5, "val_loss": 0.25, "test_loss": 0.125}

    config = whole_run.Config(epochs=2, repeats=3)
    reached = whole_run.take_turns(config, {whole_run.ONE: run, whole_run.SEVERAL: run}, tmp_path)
    assert len(set(seen)) == 6
    assert not any(folder.exists() for folder in seen)
    first, *records = report.read_jsonl(tmp_path / "records.jsonl")
    assert (first["config"]["epochs"], first["benchmark"]) == (2, "whole_run")
    assert sorted((r["turn"], r["name"]) for r in records) == sorted(
        (turn, name) for turn in range(3) for name in (whole_run.ONE, whole_run.SEVERAL)
    )
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["goals"], summary["interrupted"]) == (reached, False)
    assert [goal["turns"] for goal in reached] == [0, 3]
    for text in (capsys.readouterr().out, (tmp_path / "whole_run.md").read_text()):
        assert "not measured" in text
        assert "0.125" in text
    assert "<table" in (tmp_path / "index.html").read_text()


def test_a_run_that_fails_says_how():
    with pytest.raises(RuntimeError, match=r"exit code 3\nbecause"):
        whole_run._process([sys.executable, "-c", "import sys; print('because', file=sys.stderr); sys.exit(3)"])


@pytest.mark.slow
def test_keras_gets_the_sequences_of_the_experiment():
    x, y = whole_run.samples(whole_run.Config(seed=3))
    mine = multiplication._samples(multiplication.Config(seed=3, seeds=1))
    np.testing.assert_array_equal(x, mine[0][0])
    np.testing.assert_array_equal(y, mine[1][0])


@pytest.mark.slow
def test_a_short_run(tmp_path):
    reached = whole_run.whole_run(whole_run.Config(epochs=1, repeats=1, host_devices=2), tmp_path)
    keras = importlib.util.find_spec("keras") is not None
    assert [goal["turns"] for goal in reached] == [int(keras), 1]
    for found in report.read_jsonl(tmp_path / "records.jsonl")[1:]:
        assert 0 < found["train_s"] < found["wall_s"]
        # An epoch brings all of them near the best constant guess.
        assert 0.03 < found["test_loss"] < 0.1
