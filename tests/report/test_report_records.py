import csv
import errno
import json
import math
import os
import re

import numpy as np
import pytest

from recur import report

ROW = {
    "name": "lstm ‖h‖",
    "values": [1.5, math.inf, -math.inf, -1e-300],
    "nested": {"flag": True, "none": None, "inf": "infinite"},
    "count": 3,
}


def test_rows_come_back_as_they_were(tmp_path):
    report.write_jsonl(tmp_path / "a.jsonl", [ROW, {"x": math.nan}])
    first, second = report.read_jsonl(tmp_path / "a.jsonl")
    assert first == ROW
    assert math.isnan(second["x"])


def test_lines_are_strict_json(tmp_path):
    report.write_jsonl(tmp_path / "a.jsonl", [ROW])

    def refuse(name):
        raise AssertionError(name)

    line = json.loads((tmp_path / "a.jsonl").read_text(), parse_constant=refuse)
    assert line["values"] == [1.5, "inf", "-inf", -1e-300]


def test_numpy_becomes_plain_numbers(tmp_path):
    row = {"f": np.float32(0.1), "d": np.float64(-np.inf), "i": np.int64(7), "b": np.bool_(True)}
    report.write_jsonl(tmp_path / "a.jsonl", [row | {"array": np.array([[1.0, np.inf]]), "scalar": np.array(2)}])
    (back,) = report.read_jsonl(tmp_path / "a.jsonl")
    assert back == {
        "f": float(np.float32(0.1)),
        "d": -math.inf,
        "i": 7,
        "b": True,
        "array": [[1.0, math.inf]],
        "scalar": 2,
    }
    assert type(back["b"]) is bool


def test_value_that_json_cannot_carry_is_named(tmp_path):
    with pytest.raises(TypeError, match=r"record\.config\.cells\[1\].*object"):
        report.write_jsonl(tmp_path / "a.jsonl", [{"config": {"cells": ["lstm", object()]}}])
    assert list(tmp_path.iterdir()) == []


def test_append_adds_lines(tmp_path):
    for step in range(3):
        report.append_jsonl(tmp_path / "new" / "a.jsonl", {"step": step})
    assert report.read_jsonl(tmp_path / "new" / "a.jsonl") == [{"step": step} for step in range(3)]


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "a.jsonl"
    with pytest.raises(OSError, match=re.escape(f"[Errno 28] No space left on device: {str(path)!r}")):
        report.append_jsonl(path, {"a": 1})
    with pytest.raises(OSError, match="no regular file"):
        report.append_jsonl("/dev/full", {"a": 1})


@pytest.mark.parametrize("cut", [1, 5, 12, 20])
def test_torn_last_line_is_left_out_and_does_not_spoil_the_next(tmp_path, cut):
    path = tmp_path / "a.jsonl"
    report.write_jsonl(path, [{"step": 1}, {"step": 2, "name": "‖h‖" * 3}])
    path.write_bytes(path.read_bytes()[:-cut])
    whole = 2 if cut == 1 else 1  # Only the line break is gone: the record is whole.
    assert [row["step"] for row in report.read_jsonl(path)] == [1, 2][:whole]
    report.append_jsonl(path, {"step": 3})
    assert [row["step"] for row in report.read_jsonl(path)] == [*[1, 2][:whole], 3]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'{"a": 1}\n{"a": \n{"a": 3}\n', 2),
        (b'{"a": 1}\n[1, 2]\n', 2),
        (b'{"a": NaN}\n', 1),
        (b'{"a": 1}\n\xff\xfe\n', 2),
    ],
)
def test_malformed_line_is_named(tmp_path, content, line):
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"a.jsonl, line {line}: expected one JSON object") as caught:
        report.read_jsonl(path)
    assert "\n" not in str(caught.value)


def test_missing_empty_and_unreadable_files_are_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.jsonl: no such file"):
        report.read_jsonl(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ValueError, match="empty.jsonl: holds no record"):
        report.read_jsonl(tmp_path / "empty.jsonl")
    with pytest.raises(ValueError, match="cannot be read"):
        report.read_jsonl(tmp_path)


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch, failing):
    path = tmp_path / "a.json"
    report.write_json(path, {"old": 1})

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="disk full"):
        report.write_json(path, {"new": 2})
    assert json.loads(path.read_text()) == {"old": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_csv_has_the_union_of_columns_in_the_order_first_seen(tmp_path):
    path = tmp_path / "a.csv"
    report.write_csv(path, [{"b": 1, "a": 'x,"y"'}, {"c": -math.inf, "b": np.float32(0.5)}, {"a": None}])
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["b", "a", "c"]
    assert rows == [{"b": "1", "a": 'x,"y"', "c": ""}, {"b": "0.5", "a": "", "c": "-inf"}, dict.fromkeys("bac", "")]


def test_csv_refuses_lists(tmp_path):
    with pytest.raises(ValueError, match="row 2, column 'lags'.*list"):
        report.write_csv(tmp_path / "a.csv", [{"lags": 1}, {"lags": [1, 2]}])
    assert list(tmp_path.iterdir()) == []
