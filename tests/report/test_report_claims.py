"""What a page says is what was measured: horizons, caps, spreads, comparisons, labels, and figures for papers."""

import csv
import math
import re

import numpy as np
import pytest
from matplotlib.text import Text
from report_html import Reader
from report_rows import lag_curve, series, spread, summary

from recur import report
from recur.report import _scaling
from recur.report._numbers import value_of
from recur.report._plot_data import collect
from recur.report._plot_figures import Hues
from recur.report._series import distinct
from recur.report._verdicts import verdict_rows
from recur.report._words_static import forget_bias, reaches
from recur.report._words_training import horizon_solved, trained_lag


def test_a_horizon_is_that_of_the_whole_curve_and_whole_lags_are_not_rounded():
    thinned = lag_curve("lstm", -0.01, 512) | {"horizon_1e-3_steps": 156, "horizon_1e-3_capped": False}
    capped = lag_curve("gru", 0.0, 4096) | {"horizon_1e-3_steps": 4096, "horizon_1e-3_capped": True}
    said = reaches([("lstm", thinned), ("gru", capped)])
    assert said[0].endswith("reaches 156 steps back")
    assert said[1].endswith("reaches at least 4096 steps back")
    told = {"name": "horizon after training, steps", "value": {"median": 4000.0, "p10": 1234.0, "p90": 4096.0}}
    assert value_of(told | {"capped_at": 4096}) == "4000 (1234 to at least 4096)"


def test_a_spread_that_the_sequence_cuts_is_marked():
    row = summary("lstm", -0.1, 100, "vanishes")
    row["horizon_1e-3_steps"] = {"median": 69.0, "p10": 60.0, "p90": 100.0}
    (shown,) = verdict_rows([row], ("cell",))
    assert report.text_table([shown]).count("69 (60 to ≥ 100)") == 1


def test_the_worst_is_told_beside_the_typical():
    x = np.array([2.0, 4.0, 8.0, 16.0])
    lines = collect([series("forget_bias", "lstm", x, x * [1, 1.5, 1.6, 280], band=None)])
    text = forget_bias(lines)[0]
    assert "in the median" in text
    assert "by 280 at worst (predicted 16)" in text
    lost = forget_bias(collect([series("forget_bias", "lstm", x, [2.0, 4.0, 8.0, math.inf])]))[0]
    assert "1 more do not halve" in lost


def test_runs_that_differ_among_themselves_are_said_to():
    def lines(cell, longer):
        lag = np.arange(10.0)
        rows = [series("trained_lag", f"{cell} {s}", lag, -lag, state=s, cell=cell) for s in ("init", "trained")]
        numbers = {
            "horizon at initialisation, steps": spread(10.0),
            "horizon after training, steps": spread(20.0),
            "horizon_lengthened, steps": {"median": 5.0, "p10": longer[0], "p90": longer[1]},
        }
        meta = {"kind": "number", "plot": "trained_lag", "cell": cell, "seeds": 9}
        return [*rows, *(meta | {"name": name, "value": value} for name, value in numbers.items())]

    cases = {"gru": (1.0, 9.0), "elman": (-1.0, 9.0), "lstm": (-9.0, -1.0)}
    said = trained_lag(collect([row for cell, longer in cases.items() for row in lines(cell, longer)]))[-1]
    assert said == (
        "Longer horizon after training, in at least nine tenths of 9 runs: gru. Longer in some runs and not in others: "
        "elman. Not longer, in at least nine tenths of 9 runs: lstm"
    )


@pytest.mark.parametrize(
    ("points", "band", "words"),
    [(5, (0.0, 0.91), "too few points"), (20, (0.0, 0.91), "no finding"), (20, (0.8, 0.95), "the longer the horizon")],
)
def test_a_correlation_is_a_finding_only_where_its_band_is_one(points, band, words):
    number = {"kind": "number", "plot": "horizon_solved", "name": f"spearman rank correlation over {points} points"}
    number |= {"value": {"median": 0.85, "p10": band[0], "p90": band[1]}}
    assert words in horizon_solved(collect([number]))[0]


def runs(tmp_path, names):
    for index, name in enumerate(names):
        rows = [{"kind": "run", "config": {"initializer": f"kind {index}"}}]
        for cell, rate in (("gru", -0.3), ("lstm", -0.1)):
            own = {"initializer": f"kind {index}"}
            rows += [lag_curve(cell, rate, 60) | own, summary(cell, rate, 60, f"vanishes, {'very ' * 15}fast") | own]
        report.write_jsonl(tmp_path / name / "records.jsonl", rows)
    return [tmp_path / name for name in names]


def test_every_run_that_is_compared_has_its_verdicts_and_a_cell_one_colour(tmp_path):
    names = [f"{'long ' * 12}name {end}" for end in ("one", "two", "three")]
    page = report.compare_pages(runs(tmp_path, names), tmp_path / "both")
    text = (tmp_path / "both" / "summary.md").read_text(encoding="utf-8")
    assert text.count("very fast") == 12  # a sentence and a row for each cell of each run
    short = distinct(names)
    assert len(set(short)) == 3
    assert max(map(len, short)) <= 48
    for name in short:
        assert name in page.read_text(encoding="utf-8")
    records = [lag_curve(c, -0.1, 9) | {"run": r, "initializer": r} for r in "ab" for c in ("gru", "lstm")]
    hues = Hues(records)
    assert [hues.index(record) for record in records] == [0, 1, 0, 1]


def test_long_names_of_cells_stay_apart(tmp_path):
    cells = [f"{'a' * 70}{end}" for end in "xy"]
    rows = [row for cell in cells for row in (lag_curve(cell, -0.1, 60), summary(cell, -0.1, 60, "vanishes"))]
    page = report.gradient_page(rows, tmp_path).read_text(encoding="utf-8")
    for name in distinct(cells):
        assert name in page


def test_a_run_whose_parts_were_all_skipped_or_failed_says_so(tmp_path):
    rows = [
        {"kind": "run"},
        {"kind": "skipped", "plot": "summary", "cell": "odd", "reason": "has no state"},
        {"kind": "failed", "job": "gain: H=9", "error": "MemoryError: too large", "traceback": "..."},
    ]
    page = report.gradient_page(rows, tmp_path).read_text(encoding="utf-8")
    assert "has no state" in page
    assert "failed: MemoryError: too large" in page


def test_a_spreadsheet_runs_nothing_and_a_terminal_is_not_steered(tmp_path):
    rows = [{"=head": "=cmd|' /C calc'!A0", "b": "+1+1", "c": "@SUM(A1)", "d": "-inf", "e": "-1.5", "f": "plain"}]
    path = report.write_csv(tmp_path / "a.csv", rows)
    head, line = csv.reader(path.read_text(encoding="utf-8").splitlines())
    assert head[0] == "'=head"
    assert line == ["'=cmd|' /C calc'!A0", "'+1+1", "'@SUM(A1)", "-inf", "-1.5", "plain"]
    bad = [{"name": "a\u202eb\x1b[31mc"}]
    for table in (report.markdown_table(bad), report.html_table(bad), report.text_table(bad)):
        assert "\u202e" not in table
        assert "\x1b" not in table
        assert re.search(r"u202eb\\+x1b", table)


def test_pictures_of_a_page_are_allowed():
    assert "img-src data:" in report.Page("a").render()


def boxes(figure):
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    return {text.get_text(): text.get_window_extent(renderer) for text in figure.findobj(Text) if text.get_text()}


@pytest.mark.parametrize("width", [3.25, 6.75])
def test_figures_for_papers_cut_nothing_and_nothing_collides(width, tmp_path):
    names = [rf"\frac{{1}}{{2}} $x$ cell {index}" for index in range(4)]
    records = [lag_curve(name, -0.1 * (1 + index), 300) for index, name in enumerate(names)]
    figure = report.lag_curves(records)
    before = boxes(figure)
    assert any(names[0] in text for text in before)
    with _scaling.scaled_to(figure, width):
        assert figure.get_figwidth() == pytest.approx(width)
        whole, inside = figure.bbox, boxes(figure)
        drawn = [box for text, box in inside.items() if box.width > 2]
        for box in drawn:
            assert box.x0 >= whole.x0 - 1
            assert box.x1 <= whole.x1 + 1
            assert box.y0 >= whole.y0 - 1
            assert box.y1 <= whole.y1 + 1
        small = [box.shrunk(0.9, 0.9) for box in drawn]
        collide = [(a, b) for index, a in enumerate(small) for b in small[:index] if a.overlaps(b)]
        assert not collide
    for kind in ("pdf", "svg", "png"):
        path = report.save_figure(tmp_path / f"figure-{kind}", figure, width=width, format=kind)
        assert path.stat().st_size > 1000
    pdf = (tmp_path / "figure-pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert f"{72 * width:g} ".encode() in pdf
    assert f'width="{72 * width:g}pt"' in (tmp_path / "figure-svg").read_text(encoding="utf-8")
    after = boxes(figure)
    for text, box in before.items():
        np.testing.assert_allclose(after[text].bounds, box.bounds, atol=0.5)


def test_one_screen_answers_and_the_rest_is_folded_and_can_be_linked_to(tmp_path):
    rows = [row for cell in ("gru", "lstm") for row in (lag_curve(cell, -0.1, 60), summary(cell, -0.1, 60, "vanishes"))]
    rows += [lag_curve("gru", -0.1, 60, "input"), {"kind": "run", "config": {"hidden_size": 64, "input": "text"}}]
    page = report.gradient_page(rows, tmp_path).read_text(encoding="utf-8")
    assert '<p class="measured">64 units; text input</p>' in page
    reader = Reader(page)
    assert reader.open == []
    folded = [attributes["id"] for tag, attributes in reader.tags if tag == "details" and "id" in attributes]
    links = [attributes["href"][1:] for tag, attributes in reader.tags if tag == "a"]
    assert set(folded) < set(links)
    # The verdicts and the first plots stand open.
    assert links[:2] == ["section-1", "section-2"]
    assert not {"section-1", "section-2"} & set(folded)
    assert "beforeprint" in page
