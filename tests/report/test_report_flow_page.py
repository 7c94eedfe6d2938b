"""The page: order, tables, several runs, escaping, and records that make no page."""

import csv
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from report_html import Reader
from report_rows import flow_rows, lag_curve, parameter_norm, series, spread, summary
from report_svg import lines, texts

from recur import report
from recur.report.__main__ import main
from recur.report._records import normalize
from recur.report._style import COLORS

RUN = {"kind": "run", "benchmark": "gradient_norms", "wall_s": 1.0, "versions": {"python": "3.11"}, "device": "cpu"}


def measured(cell="lstm", rate=-0.3, length=40):
    rows = [summary(cell, rate, length, "vanishes, half-life 2.3 steps"), lag_curve(cell, rate, length)]
    return [*rows, *(parameter_norm(cell, length // n, 0.1) for n in (1, 4))]


def only(*keys):
    return [row for row in flow_rows(("lstm",), lags=20) if row.get("plot") in keys]


def headings(folder):
    return re.findall(r"^## (.*)$", (folder / "summary.md").read_text(), flags=re.MULTILINE)


def first_figures(folder):
    first = (folder / "summary.md").read_text().split("## Plots to see first")[1].split("\n## ")[0]
    return re.findall(r"\]\((\w+)\.svg\)", first)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (("trained_lag", "horizon_solved", "forget_bias"), ["lag_adjoint", "trained_lag", "horizon_solved"]),
        (("lag_shares", "forget_bias", "gain"), ["lag_adjoint", "parameter_norms", "lag_shares", "forget_bias"]),
        ((), ["lag_adjoint", "parameter_norms"]),
    ],
)
def test_three_plots_stand_first_and_only_there(tmp_path, keys, expected):
    report.gradient_page([*measured(), *only(*keys)], tmp_path)
    assert first_figures(tmp_path) == expected
    text = (tmp_path / "summary.md").read_text()
    for name in expected:
        assert text.count(f"({name}.svg)") == 1
    tags = [tag for tag, _ in Reader((tmp_path / "index.html").read_text()).tags]
    assert tags.index("table") < tags.index("svg")


def test_sections_follow_their_order_and_the_contents_lead_to_them(tmp_path):
    rows = only("gain", "precision", "task_success", "memory_curse")
    others = [row for row in flow_rows(("lstm",), lags=20) if row["kind"] in ("literature", "check")]
    report.gradient_page([RUN, *measured(), *rows, *others], tmp_path)
    found = headings(tmp_path)
    expected = ["Plots to see first", "Tasks solved", "Memory by design, and what it costs", "Number formats"]
    expected += ["The literature beside our numbers", "Oracle scorecard", "Run"]
    assert [heading for heading in found if heading in expected] == expected
    reader = Reader((tmp_path / "index.html").read_text())
    targets = {attributes.get("id") for _, attributes in reader.tags}
    links = [attributes["href"] for tag, attributes in reader.tags if tag == "a"]
    assert len(links) >= 7
    assert {link.removeprefix("#") for link in links} <= targets


def test_a_part_of_the_plots_alone_makes_a_page(tmp_path):
    report.gradient_page(only("memory_curse"), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"index.html", "summary.md", "memory_curse.svg", "series.csv"}


def test_verdicts_show_the_exponents_where_they_were_measured(tmp_path):
    rows = measured()
    report.gradient_page(rows, tmp_path / "without")
    assert "λ₁ (nats" not in (tmp_path / "without" / "summary.md").read_text()
    rows[0] |= {"lyapunov_nats_per_step": spread(-0.25), "condition_slope_nats_per_step": spread(1.5)}
    report.gradient_page(rows, tmp_path / "with")
    text = (tmp_path / "with" / "summary.md").read_text()
    (row,) = (line for line in text.splitlines() if line.startswith("| lstm"))
    assert "| −0.25 (−0.225 to −0.275) | 1.5 (1.35 to 1.65) |" in row


def test_failed_checks_come_first_and_are_counted(flow_folder):
    text = (flow_folder / "summary.md").read_text()
    assert "- 1 of 2 checks pass" in text
    assert "| closed forms | 1 | 2 |" in text
    assert text.index("O4 &lt;rate&gt;") < text.index("O1 rate")
    assert "| −0.1 | 0.9 | 1×10⁻⁶ | NO |" in text


def test_literature_stands_beside_ours_with_what_differs(flow_folder):
    text = (flow_folder / "summary.md").read_text()
    assert "| adding T = 600 | lstm | loss | 0.164 | — | — | Adam 4e-3 | — | Bai et al. 2018 |" in text
    assert "| 0.17 | 0.16 | fewer steps | SGD | Adam | Bai et al. 2018 |" in text
    for accuracy in ("24.1", "87.2", "91.0 ± 4.5", "98.9"):
        assert accuracy in text


def test_series_file_holds_every_value(flow_folder):
    rows = normalize(flow_rows())
    with (flow_folder / "series.csv").open() as file:
        found = list(csv.DictReader(file))
    expected = sum(len(row["x"]) for row in rows if row["kind"] in ("series", "points"))
    expected += sum(len(row["x"]) * len(row["y"]) for row in rows if row["kind"] == "matrix")
    assert len(found) == expected
    heat = next(row for row in rows if row["kind"] == "matrix")
    own = (row for row in found if row["plot"] == heat["plot"] and row["label"] == heat["label"])
    (value,) = (row["value"] for row in own if row["x"] == "100.0" and row["y"] == "8.0")
    assert float(value) == heat["values"][2][2]
    curve = next(row for row in rows if row.get("label") == "mean field")
    assert [float(row["median"]) for row in found if row["label"] == "mean field"] == curve["median"]
    assert {row["name"] for row in found if row["plot"] == "horizon_solved"} >= {"lstm, orthogonal", "lstm, chrono"}


def test_unknown_plots_are_counted_and_not_shown(tmp_path):
    unknown = series("brand_new", "a", [0], [0]) | {"x": "what it likes"}
    report.gradient_page([*measured(), unknown, {"kind": "done", "job": "a"}], tmp_path)
    text = (tmp_path / "summary.md").read_text()
    assert "| series of plot brand_new (not shown) | 1 |" in text
    assert "done" not in text


def test_cells_without_verdict_say_why(tmp_path):
    skipped = {"kind": "skipped", "plot": "summary", "cell": "odd", "reason": "chrono: it has no gates"}
    page = report.gradient_page([*measured(), skipped], tmp_path).read_text()
    assert "odd: not measured, chrono: it has no gates" in page


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"kind": "series", "plot": "gain", "label": "a", "x": [1]}, "a series needs median"),
        (series("gain", "a", [1, 2], [1.0]), "expected lists of one length"),
        (series("gain", "a", [], []), "median: expected a list of numbers|x: expected a list of numbers"),
        (series("gain", "a", [1], [1]) | {"p10": [1, 2], "p90": [1]}, "expected lists of one length"),
        (series("gain", "a", [1], [1]) | {"median": ["high"]}, "median: expected a list of numbers"),
        (series("gain", "a", [1], [1]) | {"median": [None]}, "median: expected a list of numbers"),
        (series("gain", "a", [np.nan], [1]), "x: expected finite positions"),
        (series("training_heatmap", "a", [1], [1]), "kind: expected 'matrix' for the plot 'training_heatmap'"),
        (
            {"kind": "matrix", "plot": "training_heatmap", "label": "a", "x": [1, 2], "y": [1], "values": [[1]]},
            "values: expected 1 lists of 2 numbers",
        ),
        (
            {"kind": "matrix", "plot": "training_heatmap", "label": "a", "x": [1], "y": [1], "values": [["b"]]},
            "values: expected numbers alone",
        ),
        (
            {"kind": "points", "plot": "horizon_solved", "label": "a", "x": [1], "y": [1], "names": []},
            "expected lists of one length",
        ),
        ({"kind": "number", "plot": "gain", "name": "a", "value": "high"}, "value: expected a number"),
        (
            {"kind": "check", "group": "a", "name": "b", "expected": 1, "measured": 1, "tolerance": 1, "passed": "yes"},
            "passed: expected true or false",
        ),
        ({"kind": "literature", "source": "a"}, "a literature needs task, cell, metric"),
        (series("gain", "a", [1], [2]) | {"label": "twice"}, "measures the same as record 1"),
    ],
)
def test_records_that_make_no_plot_are_refused_with_their_number(tmp_path, record, message):
    first = series("gain", "twice", [1], [1])
    with pytest.raises(ValueError, match=rf"record 2: ({message})"):
        report.gradient_page([first, record], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    for name, rate, gain in (("first", -0.3, 1.0), ("<b>second $x$", -0.1, 2.0)):
        config = {"cells": ["lstm"], "gain": gain, "seed": 0}
        rows = [RUN | {"config": config, "wall_s": gain}, *measured(rate=rate)]
        form = {"kind": "closed_form", "label": "f^k", "lag_steps": [*range(41)], "ln_norm": -0.3 * np.arange(41)}
        rows += [form, *only("trained_lag", "gain", "training_heatmap", "horizon_solved")]
        report.write_jsonl(folder / name / "records.jsonl", rows)
    assert main(["--compare", str(folder / "first"), str(folder / "<b>second $x$"), "--out", str(folder / "out")]) == 0
    return folder / "out"


def test_compared_runs_share_plots_and_verdicts(compared):
    text = (compared / "summary.md").read_text()
    first, second = (line for line in text.splitlines() if line.startswith("| lstm"))
    assert first.startswith("| lstm, first | 40 | −0.3 ")
    assert second.startswith(r"| lstm, &lt;b&gt;second \$x\$ | 40 | −0.1 ")
    assert "- lstm, first: vanishes" in text
    svg = (compared / "lag_adjoint.svg").read_text()
    assert {"first", "<b>second $x$", "f^k"} <= set(texts(svg))
    assert {"lstm, init, first", "lstm, trained, <b>second $x$"} <= set(
        texts((compared / "trained_lag.svg").read_text())
    )


def test_compared_runs_have_one_colour_a_cell_and_a_dash_each(compared):
    svg = (compared / "lag_adjoint.svg").read_text()
    assert len(lines(svg, COLORS[0])) == 2
    assert not lines(svg, COLORS[1])
    styles = [path.get("style", "") for path in ElementTree.fromstring(svg).iter() if "clip-path" in path.attrib]
    own = [style for style in styles if f"stroke: {COLORS[0]}" in style and "fill: none" in style]
    assert sum("stroke-dasharray" in style for style in own) == 1
    # The closed form is the same in both runs, and stands there once.
    assert texts(svg).count("f^k") == 1


def test_settings_that_differ_are_told_and_no_others(compared):
    text = (compared / "summary.md").read_text()
    table = text.split("## What differs between the runs")[1].split("\n## ")[0].strip().splitlines()
    assert table == [r"| setting | first | &lt;b&gt;second \$x\$ |", "| --- | --- | --- |", "| gain | 1.0 | 2.0 |"]


def test_compared_page_escapes_the_names_of_folders(compared):
    page = (compared / "index.html").read_text()
    assert "<b>" not in page
    assert "&lt;b&gt;second $x$" in page
    assert Reader(page).open == []
    with (compared / "series.csv").open() as file:
        assert {row["run"] for row in csv.DictReader(file)} == {"first", "<b>second $x$"}


def test_equal_folder_names_are_told_apart_by_their_parents(tmp_path):
    for parent in ("a", "b"):
        report.write_jsonl(tmp_path / parent / "run" / "records.jsonl", [RUN, *measured()])
    report.compare_pages([tmp_path / "a" / "run", tmp_path / "b" / "run"], tmp_path / "out")
    text = (tmp_path / "out" / "summary.md").read_text()
    assert "| lstm, a/run |" in text
    assert "All settings, versions and devices are the same." in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.parametrize(
    "arguments",
    [[], ["--compare", "{run}", "--out", "{out}"], ["--compare", "{run}", "{run}", "--out", "{out}"]]
    + [
        ["{run}", "--compare", "{run}", "{run}"],
        ["--compare", "{run}", "{out}"],
        ["--compare", "{run}", "{out}", "--out", "x"],
    ],
)
def test_wrong_command_lines_end_with_one_line(tmp_path, capsys, arguments):
    report.write_jsonl(tmp_path / "run" / "records.jsonl", measured())
    filled = [text.format(run=tmp_path / "run", out=tmp_path / "none") for text in arguments]
    assert main(filled) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"recur\.report: .*\n", captured.err)


def test_hostile_text_in_any_record_stays_text(tmp_path):
    hostile = '</script><script>alert("&")</script><img src=x onerror=y> $x$'
    rows = []
    others = [row for row in flow_rows(("lstm",), lags=20) if row["kind"] in ("literature", "check")]
    for row in [*only("trained_lag", "horizon_solved", "condition_number", "task_success"), *others]:
        changed = {key: hostile for key in ("source", "differs", "group", "reason", "task", "cell") if key in row}
        if row["kind"] == "number":
            changed["name"] = hostile
        rows.append(row | changed)
    rows += [row | {"cell": hostile, "verdict": hostile} for row in measured()[:2]]
    page = report.gradient_page(rows, tmp_path).read_text()
    reader = Reader(page)
    assert reader.open == []
    assert [tag for tag, _ in reader.tags].count("script") == 1
    assert not any(tag == "img" for tag, _ in reader.tags)
    assert any(hostile in words for words in reader.words)
    assert "<script" not in (tmp_path / "summary.md").read_text()
    for file in tmp_path.glob("*.svg"):
        assert "<script" not in file.read_text()
        ElementTree.fromstring(file.read_text())


def test_many_reasons_stand_in_a_table_not_in_the_text(tmp_path):
    skipped = [
        {"kind": "skipped", "plot": "summary", "cell": cell, "initializer": name, "reason": f"{cell} has no gates"}
        for cell in ("odd", "even")
        for name in ("chrono", "identity")
    ]
    report.gradient_page([*measured(), *skipped, skipped[0] | {"plot": "horizon_solved"}], tmp_path)
    text = (tmp_path / "summary.md").read_text()
    assert "odd (chrono, identity), even (chrono, identity)" in text
    assert text.count("even has no gates") == 2
    assert text.count("| odd, chrono | odd has no gates |") == 1
