"""The plots of the table: what stands in the pictures, and whether it stands where it should."""

import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from report_html import Reader
from report_rows import flow_rows, series
from report_svg import lines, marks, texts, tick_scale

from recur.report._heatmap import _boxes
from recur.report._plot_figures import Hues, draw_plot
from recur.report._plot_table import PLOTS
from recur.report._records import normalize
from recur.report._style import COLORS

LN10 = math.log(10)


def draw(key, *records):
    records = normalize(list(records))
    return [figure.svg for figure in draw_plot(key, records, Hues([], records))]


def words_of(svg):
    return " ".join(texts(svg)).replace("\u00a0", " ")


@pytest.mark.parametrize("key", PLOTS)
def test_every_plot_tells_axes_units_labels_and_circumstances(flow_folder, key):
    plot, rows = PLOTS[key], [row for row in flow_rows() if row.get("plot") == key]
    drawn = [words_of(path.read_text()) for path in sorted(flow_folder.glob(f"{key}*.svg"))]
    parts = {row[plot.split] for row in rows if row["kind"] == plot.kind} if plot.split else {None}
    assert len(drawn) == len(parts)
    for words in drawn:
        assert plot.x_label in words
        assert plot.y_label in words
        assert plot.color_label in words
        assert plot.title.lower()[1:] in words.lower()
        assert "10 seeds" in words
        if plot.shape != "scatter":
            assert "64 hidden units" in words or key == "gain"
            assert "float32" in words
            assert "orthogonal initialiser" in words or key == "forget_bias"
    labels = [row["label"] for row in rows if row["kind"] in ("series", "points")]
    for label in labels:
        assert any(re.sub(r"^\w+, (?=\w)", "", label) in words for words in drawn), label


@pytest.mark.parametrize("key", ["gain", "condition_number", "forget_bias", "memory_curse"])
def test_closed_forms_are_dashed_and_end_with_the_measured_lines(flow_folder, key):
    svg = (flow_folder / f"{key}.svg").read_text()
    dashed = [path for path in ElementTree.fromstring(svg).iter() if "stroke-dasharray: 5." in path.get("style", "")]
    curves = [path for path in dashed if "clip-path" in path.attrib]
    references = [row for row in flow_rows() if row.get("plot") == key and row.get("reference")]
    assert len(curves) == len(references)
    measured = np.concatenate([points[:, 0] for color in COLORS for points in lines(svg, color)])
    for path in curves:
        x = np.array(re.findall(r"[ML] (\S+) \S+", path.get("d")), float)
        assert x.min() >= measured.min() - 0.1
        assert x.max() <= measured.max() + 0.1


def test_linear_values_and_their_theory_are_read_back(flow_folder):
    svg = (flow_folder / "gain.svg").read_text()
    (slope, offset), (x_slope, x_offset) = tick_scale_plain(svg, "y"), tick_scale_plain(svg, "x")
    gains = np.array([0.5, 0.9, 1.5, 2, 3, 5])
    for color, n in zip(COLORS, (128, 256), strict=False):
        points = lines(svg, color)[0]
        np.testing.assert_allclose(x_slope * points[:, 0] + x_offset, gains, atol=0.02)
        np.testing.assert_allclose(slope * points[:, 1] + offset, np.log(gains) * 0.4 - 8 / n, atol=0.01)
    theory = lines(svg, "currentColor")[0]
    x = x_slope * theory[:, 0] + x_offset
    np.testing.assert_allclose(slope * theory[:, 1] + offset, np.log(x) * 0.4, atol=0.02)


def tick_scale_plain(svg, axis):
    return tick_scale(svg.replace("−", "-"), axis, plain=True)


def test_logarithms_are_shown_as_powers_of_ten():
    k = np.arange(0, 101.0, 5)
    (svg,) = draw("condition_number", series("condition_number", "a", k, 0.9 * k * LN10, p10=0.8 * k, p90=k))
    (slope, offset), (x_slope, x_offset) = tick_scale(svg, "y"), tick_scale(svg, "x")
    points = lines(svg, COLORS[0])[0]
    np.testing.assert_allclose(slope * points[:, 1] + offset, 0.9 * (x_slope * points[:, 0] + x_offset), atol=0.3)


def test_plain_values_on_log_axes_stand_on_the_diagonal():
    x = np.array([2.0, 20.0, 200.0, 20000.0])
    (svg,) = draw("forget_bias", series("forget_bias", "a", x, x), series("forget_bias", "b", x, x[::-1]))
    a, b = (lines(svg, color)[0] for color in COLORS[:2])
    rises = np.diff(a[:, 1]) / np.diff(a[:, 0])
    np.testing.assert_allclose(rises, rises[0], rtol=1e-3)
    np.testing.assert_allclose(b[:, 1], a[::-1, 1], atol=0.02)


def test_sizes_are_drawn_by_the_memory_that_they_give():
    sizes = np.array([0.9, 0.99, 0.999])
    (svg,) = draw("memory_curse", series("memory_curse", "a", sizes, [1.0, 2.0, 3.0]))
    assert {"10", "100", "1000"} <= set(texts(svg))
    steps = np.diff(lines(svg, COLORS[0])[0][:, 0])
    assert steps[0] == pytest.approx(steps[1], abs=0.03)


def test_a_plain_format_ends_with_a_mark_and_the_lag():
    k = np.arange(0, 300.0)
    values = np.where(k < 126, -math.log(2) * k, -math.inf)
    rows = [series("precision", f"a, {name}", k, y, cell="a") for name, y in (("log", -k), ("float32 plain", values))]
    (svg,) = draw("precision", *rows)
    assert "float32 plain (▼ exactly zero from lag 126)" in texts(svg)
    slope, offset = tick_scale(svg, "x")
    (mark,) = marks(svg, COLORS[1])
    assert slope * mark[0] + offset == pytest.approx(125, abs=0.5)


def test_lags_without_signal_are_counted_and_not_drawn():
    k = np.arange(0, 10.0)
    (svg,) = draw("gradient_snr", series("gradient_snr", "a", k, np.where(k % 2, -math.inf, -k)))
    assert "a (no signal above the noise at 5 of 10)" in words_of(svg)
    assert len(lines(svg, COLORS[0])[0]) == 5


def test_axis_of_the_trained_curves_ends_where_nothing_teaches():
    k = np.arange(0, 200.0)
    (svg,) = draw("trained_lag", series("trained_lag", "a", k, -k))
    assert "10⁻¹²" in texts(svg)
    assert not {"10⁻¹⁴", "10⁻²⁰", "10⁻⁵⁰"} & set(texts(svg))


def test_colours_of_a_heatmap_are_joined_without_gap_or_overlap():
    rng = np.random.default_rng(0)
    bands, holes = rng.integers(0, 3, (7, 5)), rng.random((7, 5)) < 0.2
    x, y = np.array([0, 1, 4, 5, 9.0]), np.arange(7.0)
    boxes, found = _boxes(bands, holes, x, y)
    for row in range(7):
        for column in range(5):
            inside = [
                band
                for box, band in zip(boxes, found, strict=True)
                if box[0, 0] < x[column] < box[1, 0] and box[0, 1] < y[row] < box[2, 1]
            ]
            assert inside == ([] if holes[row, column] else [bands[row, column]])


@pytest.mark.parametrize("values", [[[0.0]], [[0.0, -math.inf], [math.nan, 3.0]], [[-math.inf]], [[-1e5, 0.0]]])
def test_heatmaps_of_any_values_are_drawn(values):
    record = {"kind": "matrix", "plot": "training_heatmap", "label": "a", "x": [*range(len(values[0]))]}
    (svg,) = draw("training_heatmap", record | {"y": [*range(len(values))], "values": values, "cell": "a"})
    assert {"training step", "lag k in steps", "gradient norm A(k) / A(0)"} <= set(texts(svg))


def test_histograms_share_their_height():
    bins = np.linspace(-1, 1, 21)
    rows = [series("singular_values", f"a, k = {k}", bins, k * np.exp(-(bins**2) * k), cell="a") for k in (1, 100)]
    (svg,) = draw("singular_values", *rows)
    slope, offset = tick_scale_plain(svg, "y")
    for color in COLORS[:2]:
        heights = slope * lines(svg, color)[0][:, 1] + offset
        assert heights.max() == pytest.approx(1.0, abs=0.01)
    assert {"k = 1", "k = 100"} <= set(texts(svg))


def test_scatter_names_points_once_and_has_a_place_for_none(flow_folder):
    svg = (flow_folder / "horizon_solved.svg").read_text()
    assert "none" in texts(svg)
    assert texts(svg).count("lstm, chrono") == 1
    *points, in_legend = marks(svg, COLORS[0])
    points = np.array(points)
    assert in_legend[1] > points[:, 1].max()
    assert points[0, 1] == points[:, 1].max()
    rises = -np.diff(points[1:, 1])
    np.testing.assert_allclose(rises, rises[0], atol=0.05)


def test_one_cell_has_one_colour_in_all_plots(flow_folder):
    for key in ("lag_shares", "gradient_snr", "samples_needed", "trained_lag"):
        svg = (flow_folder / f"{key}.svg").read_text()
        assert len(lines(svg, COLORS[0])[0]) > 2
        assert len(lines(svg, COLORS[1])[0]) > 2
        assert not lines(svg, COLORS[2])


def test_lag_of_the_task_is_marked_where_the_records_tell_it():
    k = np.arange(0, 101.0)
    row = series("trained_lag", "a", k, -0.1 * k, hidden_size=1, seeds=1)
    name = "gradient at lag 60 over that at lag 0, after training, ln"
    (svg,) = draw("trained_lag", row, {"kind": "number", "plot": "trained_lag", "name": name, "value": -6.0})
    assert "lag of the task" in texts(svg)
    slope, offset = tick_scale(svg, "x")
    upright = [line for line in lines(svg, "currentColor") if len(line) == 2 and np.ptp(line[:, 0]) == 0]
    assert 60 in [round(slope * line[0, 0] + offset, 1) for line in upright]
    assert "1 seed · 1 hidden unit ·" in words_of(svg)


def test_state_before_training_is_not_solid():
    k = np.arange(0, 30.0)
    rows = [series("trained_lag", f"a, {s}", k, -k * r, cell="a", state=s) for s, r in (("init", 1), ("trained", 0.5))]
    (svg,) = draw("trained_lag", *rows)
    paths = [path.get("style") for path in ElementTree.fromstring(svg).iter() if COLORS[0] in path.get("style", "")]
    assert len([style for style in paths if "stroke-dasharray" in style and "fill: none" in style]) >= 1
    assert len([style for style in paths if "stroke-dasharray" not in style and "fill: none" in style]) >= 1


def test_look_alikes_and_hostile_labels_stay_apart_and_text():
    hostile = '<script>alert(1)</script> $a$ & "q" ' + "x" * 200
    k = np.arange(0, 30.0)
    rows = [series("lag_shares", hostile, k, -k * n, cell=hostile, length=n) for n in (1, 2)]
    (svg,) = draw("lag_shares", *rows)
    assert "<script" not in svg
    assert '<script>alert(1)</script> $a$ & "q"' in words_of(svg)
    assert "length 1" in words_of(svg)
    assert "length 2" in words_of(svg)
    width = float(ElementTree.fromstring(svg).get("width").removesuffix("pt"))
    assert max(points[:, 0].max() for points in lines(svg, COLORS[0])) < width
    assert max(map(len, texts(svg))) <= 64


def test_figures_and_sentences_of_the_page_are_whole(flow_folder):
    page = (flow_folder / "index.html").read_text()
    reader = Reader(page)
    assert reader.open == []
    names = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(names) == len(set(names))
    assert page.count("<svg") == len(list(flow_folder.glob("*.svg")))
    assert "odd: not measured, its state has no Jacobian" in "".join(reader.words)
