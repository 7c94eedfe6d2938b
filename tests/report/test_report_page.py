import base64
import csv
import hashlib
import os
import re
import shutil
import subprocess
import sys

import pytest
from report_html import Reader
from report_rows import lag_curve, summary

from recur import report
from recur.report.__main__ import main

EXPECTED_FILES = {
    "index.html",
    "summary.md",
    "summary.csv",
    "lag_curves.csv",
    "parameter_norms.csv",
    "lag_adjoint.svg",
    "lag_input.svg",
    "lag_adjoint_lstm.svg",
    "lag_adjoint_elman.svg",
    "lag_adjoint_script_alert_1_script.svg",
    "parameter_norms.svg",
    "parameter_norms_lstm.svg",
    "parameter_norms_elman.svg",
    "parameter_norms_script_alert_1_script.svg",
}


def test_report_is_complete_well_formed_and_needs_no_network(records_folder):
    assert {entry.name for entry in records_folder.iterdir()} == EXPECTED_FILES
    page = (records_folder / "index.html").read_text()
    reader = Reader(page)
    assert reader.open == []
    for tag, attributes in reader.tags:
        assert tag not in ("link", "img", "iframe", "object", "embed", "image")
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "action", "data"):
                assert value.startswith("#")
    # The names of the XML vocabularies look like addresses; nothing is fetched from them.
    assert not re.search(r"https?://|@import", re.sub(r'xmlns(:xlink)?="[^"]*"', "", page))
    assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", page)
    (policy,) = (a["content"] for tag, a in reader.tags if tag == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'; ")
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    names = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(names) == len(set(names))
    assert {"xmlns", "viewbox"} <= next(set(attributes) for tag, attributes in reader.tags if tag == "svg")


def test_page_declares_language_width_title_schemes_and_print(records_folder):
    page = (records_folder / "index.html").read_text()
    tags = Reader(page).tags
    assert ("html", {"lang": "en"}) in tags
    assert any(tag == "meta" and "width=device-width" in attributes.get("content", "") for tag, attributes in tags)
    assert "<title>How gradients flow back through time</title>" in page
    for rule in ("prefers-color-scheme: dark", "@media print", "overflow-x: auto"):
        assert rule in page


def test_names_from_the_data_stay_text(records_folder):
    page = (records_folder / "index.html").read_text()
    reader = Reader(page)
    assert [tag for tag, _ in reader.tags].count("script") == 1
    assert not any(tag == "b" for tag, _ in reader.tags)
    assert any("<script>alert(1)</script>: neither" in words for words in reader.words)
    assert "<b>all</b>" in reader.words
    for file in records_folder.glob("*.svg"):
        assert "<script" not in file.read_text()
    assert "<script" not in (records_folder / "summary.md").read_text()


def test_verdict_comes_first_and_speaks_the_numbers(records_folder):
    reader = Reader((records_folder / "index.html").read_text())
    text = "\n".join(reader.words)
    # ln(1e-6) / -0.2072 = 66.7: lag 67 is the first below a millionth.
    assert "lstm: vanishes, half-life 3.3 steps: after 67 steps less than a millionth is left" in text
    assert "elman: explodes, doubles every 3.8 steps: over 1000 steps that is a factor of about 10⁸⁰" in text
    assert "after all 1000 steps more than a thousandth is left" in text
    assert "this norm changes only by a factor of 1, yet about 10⁻⁹⁰ of the gradient reaches 1000 steps back" in text
    tags = [tag for tag, _ in reader.tags]
    assert tags.index("table") < tags.index("svg")


@pytest.mark.parametrize("half_life", [float("inf"), -3.0, float("nan"), None])
def test_half_life_is_a_dash_where_nothing_halves(tmp_path, half_life):
    record = summary("gru", 0.2, 30, "explodes, doubles every 3.5 steps")
    record["half_life_steps"] = None if half_life is None else dict.fromkeys(("median", "p10", "p90"), half_life)
    report.gradient_page([record, lag_curve("gru", 0.2, 30)], tmp_path)
    (row,) = (line for line in (tmp_path / "summary.md").read_text().splitlines() if line.startswith("| gru"))
    assert row.split("|")[4].strip() == "—"


def test_redrawing_from_the_lines_gives_the_same_bytes(records, records_folder, tmp_path, capsys):
    report.write_jsonl(tmp_path / "records.jsonl", records)
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'index.html'}\n"
    for name in EXPECTED_FILES:
        assert (records_folder / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_csv_files_hold_every_value(records, records_folder):
    with (records_folder / "lag_curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(record["lag_steps"]) for record in records if record["kind"] == "lag_curve")
    curve = next(record for record in records if record["kind"] == "lag_curve" and record["length"] == 1000)
    matching = [r for r in rows if r["cell"] == curve["cell"] and r["length"] == "1000" and r["quantity"] == "adjoint"]
    assert [float(row["ln_p10"]) for row in matching] == list(curve["ln_p10"])
    with (records_folder / "summary.csv").open() as file:
        first = next(csv.DictReader(file))
    assert float(first["rate_nats_per_step_median"]) == records[1]["rate_nats_per_step"]["median"]


def test_exactly_zero_gradients_are_reported(tmp_path):
    curve = lag_curve("clockwork", -0.1, 50)
    for key in ("ln_median", "ln_p10", "ln_p90"):
        curve[key] = [value if lag < 5 else float("-inf") for lag, value in enumerate(curve[key])]
    record = summary("clockwork", float("-inf"), 50, "vanishes, exactly zero from lag 5")
    record["half_life_steps"] = dict.fromkeys(("median", "p10", "p90"), 0.0)
    page = report.gradient_page([record, curve], tmp_path).read_text()
    assert "clockwork (▼ exactly zero from lag 5)" in page
    assert "clockwork: vanishes, exactly zero from lag 5" in page


def test_records_of_other_kinds_are_counted(tmp_path):
    rows = [summary("gru", -0.2, 30, "vanishes"), {"kind": "lyapunov"}, {"kind": "lyapunov"}]
    report.gradient_page(rows, tmp_path)
    assert "| lyapunov (not shown) | 2 |" in (tmp_path / "summary.md").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [row for row in rows if row["kind"] == "run"], "expected some of kinds lag_curve"),
        (lambda rows: [*rows, rows[1]], "record 32: measures the same as record 2"),
        (lambda rows: [*rows, {"kind": "lag_curve", "cell": "x"}], "a lag_curve needs quantity, length"),
        (lambda rows: [*rows, lag_curve("x", 0, 9, ln_p10=[0.0])], "expected lists of one length"),
    ],
)
def test_records_that_make_no_report_are_refused(records, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        report.gradient_page(change(records), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_failing_run_keeps_the_page_of_before(records, records_folder, tmp_path, monkeypatch):
    shutil.copytree(records_folder, tmp_path, dirs_exist_ok=True)
    index = tmp_path / "index.html"
    before = index.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        report.gradient_page(records[:-1], tmp_path)
    assert index.read_bytes() == before
    assert {entry.name for entry in tmp_path.iterdir()} == EXPECTED_FILES


@pytest.mark.parametrize("content", [None, "", "nonsense\n", '{"kind": "run"}\n'])
def test_wrong_folder_ends_with_one_line_and_exit_code_2(tmp_path, capsys, content):
    if content is not None:
        (tmp_path / "records.jsonl").write_text(content)
    assert main([str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"recur\.report: .*\n", captured.err)


def test_numbers_sort_by_value_and_stand_right():
    rows = [{"cell": "a|b<i>", "loss": 1e-9, "n": 3}, {"cell": "_c_", "loss": float("inf"), "n": None}]
    table = report.html_table(rows, "Losses & more")
    cells = [attributes for tag, attributes in Reader(table).tags if tag == "td"]
    assert [cell.get("data-value") for cell in cells] == [None, "1e-09", "3.0", None, "Infinity", ""]
    assert [cell.get("class") for cell in cells] == [None, "number", "number"] * 2
    assert "a|b&lt;i&gt;" in table
    assert "Losses &amp; more" in table
    assert report.markdown_table(rows).splitlines() == [
        "| cell | loss | n |",
        "| --- | ---: | ---: |",
        r"| a\|b&lt;i&gt; | 1×10⁻⁹ | 3 |",
        r"| \_c\_ | ∞ | — |",
    ]


def test_importing_loads_neither_matplotlib_nor_jax():
    code = """
import importlib, pathlib, sys, types
parent = types.ModuleType("recur")  # The package around it may load jax; the report itself must not.
parent.__path__ = [sys.argv[1]]
sys.modules["recur"] = parent
names = [path.stem for path in pathlib.Path(sys.argv[1], "report").glob("_*.py")]
assert len(names) > 10
for name in names:
    importlib.import_module(f"recur.report.{name}" if name != "__init__" else "recur.report")
loaded = {name.split(".")[0] for name in sys.modules}
assert not loaded & {"matplotlib", "jax", "flax", "torch"}, loaded
assert {name for name in sys.modules if name.startswith("recur.")} == {"recur._files", "recur.report"} | {
    name for name in sys.modules if name.startswith("recur.report.")
}
"""
    package = os.path.dirname(os.path.dirname(report.__file__))
    subprocess.run([sys.executable, "-c", code, package], check=True)
