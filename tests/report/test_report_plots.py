import math
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
from report_rows import lag_curve, parameter_norm
from report_svg import lines, marks, texts, tick_scale

from recur import report
from recur.report._decades import _ticks
from recur.report._style import COLORS

LN10 = math.log(10)


def luminance(color):
    channels = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("color", COLORS)
def test_colours_read_on_white_and_on_near_black(color):
    for ground in ("#ffffff", "#14171a"):
        light, dark = sorted((luminance(color) + 0.05, luminance(ground) + 0.05), reverse=True)
        assert light / dark >= 3


@pytest.mark.parametrize("x_scale", ["linear", "log"])
def test_lines_stand_where_their_values_are(x_scale):
    """Values from 1e-90 to 1e+80 are read back from the picture through its tick labels."""
    records = [lag_curve("lstm", -0.09 * LN10, 1000), lag_curve("elman", 0.08 * LN10, 1000)]
    svg = report.to_svg(report.lag_curves(records, x_scale=x_scale))
    y_slope, y_offset = tick_scale(svg, "y")
    x_slope, x_offset = tick_scale(svg, "x") if x_scale == "linear" else (None, None)
    for color, slope in zip(COLORS, (-0.09, 0.08), strict=False):
        points = lines(svg, color)[0]
        exponents = y_slope * points[:, 1] + y_offset
        assert exponents[-1] == pytest.approx(slope * 1000, abs=0.4)
        if x_scale == "linear":
            np.testing.assert_allclose(exponents, slope * (x_slope * points[:, 0] + x_offset), atol=0.4)


def test_curve_with_corners_is_drawn_through_each_of_them():
    values = np.array([0.0, -50, 3, -120, -7, -30]) * LN10
    record = lag_curve("a", 0.0, 5, ln_median=values, ln_p10=values, ln_p90=values)
    svg = report.to_svg(report.lag_curves([record]))
    slope, offset = tick_scale(svg, "y")
    np.testing.assert_allclose(slope * lines(svg, COLORS[0])[0][:, 1] + offset, values / LN10, atol=0.3)


@pytest.mark.parametrize(
    ("value", "start", "stop", "note"),
    [
        (-math.inf, 37, 101, "▼ exactly zero from lag 37"),
        (math.inf, 37, 101, "▲ infinite from lag 37"),
        (math.nan, 37, 38, "× not a number at lag 37"),
        (math.nan, 37, 40, "× not a number at lag 37 and 2 more"),
        (-math.inf, 0, 101, "▼ exactly zero from lag 0"),
    ],
)
def test_end_of_finite_values_is_marked_and_told(value, start, stop, note):
    record = lag_curve("relu", -1.0, 100)
    for key in ("ln_median", "ln_p10", "ln_p90"):
        record[key] = np.where((np.arange(101) >= start) & (np.arange(101) < stop), value, record[key])
    svg = report.to_svg(report.lag_curves([record]))
    assert f"relu ({note})" in texts(svg)
    slope, offset = tick_scale(svg, "x") if start else (0, 0)
    drawn = [slope * points[:, 0] + offset for points in lines(svg, COLORS[0])]
    (mark,) = marks(svg, COLORS[0])
    if start:
        y_slope, y_offset = tick_scale(svg, "y")
        assert slope * mark[0] + offset == pytest.approx(start - 1, abs=0.2)
        assert y_slope * mark[1] + y_offset == pytest.approx(-(start - 1) / LN10, abs=0.1)
    if start and stop == 101:
        assert max(lags.max() for lags in drawn) == pytest.approx(36, abs=0.2)
    elif stop == 101:
        assert sum(map(len, drawn)) == 0
    else:
        finite = np.concatenate(drawn)
        assert not ((finite > start - 0.8) & (finite < stop - 0.2)).any()
        assert finite.max() == pytest.approx(100, abs=0.2)


def test_legend_and_title_tell_the_circumstances():
    records = [lag_curve("lstm", -0.1, 50), lag_curve("gru", -0.1, 50)]
    drawn = " ".join(texts(report.to_svg(report.lag_curves(records)))).replace("\u00a0", " ")
    for word in (
        "10 seeds",
        "64 hidden units",
        "float32",
        "orthogonal initialiser",
        "gain 1",
        "text input",
        "length 50",
    ):
        assert word in drawn
    records[1] |= {"cell": "lstm", "dtype": "bfloat16"}
    drawn = texts(report.to_svg(report.lag_curves(records)))
    assert {"float32", "bfloat16"} <= set(drawn)


def test_closed_form_is_drawn_in_the_colour_of_the_text():
    form = {"kind": "closed_form", "label": "rho^k", "lag_steps": range(2001), "ln_norm": -0.5 * np.arange(2001)}
    svg = report.to_svg(report.lag_curves([lag_curve("linear", -0.5, 100)], closed_forms=[form]))
    assert "rho^k" in texts(svg)
    slope, offset = tick_scale(svg, "y")
    ends = [slope * points[-1, 1] + offset for points in lines(svg, "currentColor") if len(points) > 1]
    # It ends with the measured lags, and does not stretch the axis beyond them.
    assert min(ends) == pytest.approx(-50 / LN10, abs=0.2)
    assert slope * 400 + offset > -80


def test_labels_are_text_and_never_markup_or_formulas():
    hostile = '<script>alert(1)</script> a$b$c "q" ]]> id="x" \x00\n'
    svg = report.to_svg(report.lag_curves([lag_curve(hostile, -0.1, 20), lag_curve("b", -0.2, 20)]))
    assert '<script>alert(1)</script> a$b$c "q" ]]> id="x"' in texts(svg)
    assert "<script" not in svg


def test_svg_is_plain_deterministic_and_keeps_its_ids_to_itself():
    def draw(rate):
        return report.to_svg(report.lag_curves([lag_curve("lstm", rate, 40)]))

    first, other = draw(-0.1), draw(-0.2)
    assert first == draw(-0.1)
    ids = [{e.get("id") for e in ElementTree.fromstring(svg).iter() if e.get("id")} for svg in (first, other)]
    assert len(ids[0]) > 20
    assert not ids[0] & ids[1]
    references = {e.get("{http://www.w3.org/1999/xlink}href") for e in ElementTree.fromstring(first).iter()} - {None}
    assert references
    assert {reference.removeprefix("#") for reference in references} <= ids[0]
    assert "currentColor" in first
    assert "#000000" not in first
    assert "#ffffff" not in first
    assert "<metadata" not in first


def test_drawing_leaves_global_settings_alone():
    before = dict(matplotlib.rcParams)
    report.to_svg(report.lag_curves([lag_curve("lstm", -0.1, 20)]))
    assert dict(matplotlib.rcParams) == before


def test_parameter_norms_are_read_back_from_the_picture():
    lengths, values = (64, 256, 1024), (0.0, -20.0, 150.0)
    records = [parameter_norm("lstm", n, v * LN10) for n, v in zip(lengths, values, strict=True)]
    svg = report.to_svg(report.parameter_norms(records[::-1]))
    slope, offset = tick_scale(svg, "y")
    points = lines(svg, COLORS[0])[0]
    np.testing.assert_allclose(slope * points[:, 1] + offset, values, atol=0.4)
    # Equal ratios of length are equal distances.
    assert points[1, 0] - points[0, 0] == pytest.approx(points[2, 0] - points[1, 0], abs=0.05)


def test_loss_is_the_median_over_seeds_down_to_zero():
    steps = np.arange(0, 60, 10)
    losses = np.array([[1, 1e-2, 1e-4, 1e-6, 1e-8, 0], [1, 1e-1, 1e-3, 1e-5, 1e-7, 0], [1, 1, 1, 1, 1, 1]])
    figure = report.loss_curves({"lstm": (steps, losses)}, title="Adding", floors={"guess": 1 / 6})
    svg = report.to_svg(figure)
    slope, offset = tick_scale(svg, "y")
    np.testing.assert_allclose(slope * lines(svg, COLORS[0])[0][:, 1] + offset, [0, -1, -3, -5, -7], atol=0.05)
    assert {"Adding", "guess", "lstm (▼ exactly zero at step 50)"} <= set(texts(svg))
    floor = [points for points in lines(svg, "currentColor") if len(points) == 2 and np.ptp(points[:, 1]) == 0]
    assert min(abs(slope * points[0, 1] + offset - math.log10(1 / 6)) for points in floor) < 0.05


def test_linear_loss_axis_shows_plain_numbers():
    figure = report.loss_curves({"a": ([0, 1, 2], [0.5, 0.7, 0.9])}, title="Accuracy", y_scale="linear")
    svg = report.to_svg(figure)
    slope, offset = tick_scale(svg, "y", plain=True)
    np.testing.assert_allclose(slope * lines(svg, COLORS[0])[0][[0, -1], 1] + offset, [0.5, 0.9], atol=0.003)
    assert {"0", "1", "2"} <= set(texts(svg))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-95.0, 85.0, {-50.0: "10⁻⁵⁰", 0.0: "10⁰", 50.0: "10⁵⁰"}),
        (-1.9, 0.1, {-1.0: "0.1", math.log10(0.05): "0.05", 0.0: "1"}),
        (-8.9, -8.0, {math.log10(2e-9): "2×10⁻⁹"}),
        (-6000.0, 0.0, {-5000.0: "10⁻⁵⁰⁰⁰"}),
    ],
)
def test_ticks_stand_where_their_labels_say(low, high, expected):
    ticks = _ticks(low, high)
    assert 3 <= len(ticks) <= 10
    for position, label in expected.items():
        assert {round(tick, 9): text for tick, text in ticks.items()}[round(position, 9)] == label


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: report.lag_curves([]), "lag curves of one quantity"),
        (lambda: report.lag_curves([lag_curve("a", 0, 9), lag_curve("a", 0, 9, "input")]), "one quantity"),
        (lambda: report.lag_curves([lag_curve("a", 0, 9)], x_scale="cubic"), "x_scale"),
        (lambda: report.parameter_norms([]), "at least one"),
        (lambda: report.loss_curves({}, title=""), "at least one"),
        (lambda: report.loss_curves({"a": ([0, 1], [1.0])}, title=""), r"histories\['a'\]"),
        (lambda: report.loss_curves({"a": ([0, 1], [1.0, -2.0])}, title=""), "no log axis holds -2.0"),
        (lambda: report.loss_curves({"a": ([0], [1.0])}, title="", floors={"f": 0}), "no log axis holds 0.0"),
        (lambda: report.save_figure("a.eps", None), "ending .pdf, .png or .svg"),
        (lambda: report.save_figure("a.pdf", None, width=0.0), "width: expected inches above zero"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_figures_are_saved_by_their_ending(tmp_path):
    figure = report.lag_curves([lag_curve("lstm", -0.1, 20)])
    assert report.save_figure(tmp_path / "a.svg", figure).read_text() == report.to_svg(figure)
    png = report.save_figure(tmp_path / "a.png", figure).read_bytes()
    assert png.startswith(b"\x89PNG\r\n")
    assert png == report.save_figure(tmp_path / "b.png", figure).read_bytes()
