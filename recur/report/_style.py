"""Colours, line styles and the empty figure that every plot starts from."""

import math
import textwrap
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Mid-tones apart in hue and lightness (after Okabe and Ito, 2008): each has a contrast of at least 3 with white and
# with near-black, so that one SVG serves light and dark pages.
COLORS = ("#1f78c8", "#d55e00", "#00966c", "#b0589c", "#94801a", "#d8484f", "#7a7a86")

# Colours come round after seven curves; the dashes then keep the curves apart. Plain dashes belong to closed forms.
DASHES = ("solid", (0, (7, 1.5, 1.5, 1.5)), (0, (1.5, 1.2)), (0, (7, 1.5, 1.5, 1.5, 1.5, 1.5)))

# Closed forms, floors and other references are dashed lines in the colour of the text.
_REFERENCE_DASHES = ((0, (5, 3)), (0, (2, 2)), (0, (9, 3)))

# Characters of a legend entry that fit the width of a figure.
_LEGEND = 56

# Text, axes and ticks are drawn in this colour, which reads on white (PNG) and becomes currentColor in SVG.
INK = "#1b1f25"

_RC = {
    "axes.edgecolor": INK,
    "axes.formatter.use_mathtext": False,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "grid.alpha": 0.15,
    "grid.color": INK,
    "grid.linewidth": 0.6,
    "legend.edgecolor": INK,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "path.simplify": True,
    # Fonts as outlines of their own (TrueType), which publishers ask for, not as bitmaps.
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    # Without a salt matplotlib draws random ids, and the same records would give other bytes each time.
    "svg.hashsalt": "recur",
    "text.color": INK,
    # A cell may be named "a$b$c": labels are text, never formulas.
    "text.parse_math": False,
    "text.usetex": False,
    "xtick.color": INK,
    "xtick.labelsize": 9,
    "ytick.color": INK,
    "ytick.labelsize": 9,
}


def drawing() -> AbstractContextManager[None]:
    """Sets the style of recur's figures for the length of a `with` block; the caller's settings come back after it.

    Returns:
        A context manager.
    """
    import matplotlib

    return matplotlib.rc_context(_RC)


def new_figure(title: str, subtitle: str = "") -> "Figure":
    """Makes an empty figure, small enough (432 CSS pixels wide) to be read on a telephone.

    Args:
        title: in bold; wrapped.
        subtitle: what the measurement was, in smaller type below the title; wrapped.

    Returns:
        The figure, bound to no window system and to no global state.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(_fill(title, 46, 8), fontsize=10.5, fontweight="bold")
    figure.add_subplot().set_title(_wrap(subtitle), fontsize=8.5)
    return figure


def line_styles(labels: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """Gives each label a colour and a dash of its own.

    Args:
        labels: names of curves; the first seen gets the first colour.

    Returns:
        Label to keyword arguments of a matplotlib line. Apart for the first 28 labels.
    """
    return {label: line_style(index) for index, label in enumerate(dict.fromkeys(labels))}


def line_style(hue: int, dash: int = 0) -> Mapping[str, Any]:
    """Gives a line by number.

    Args:
        hue: the how-manieth colour; after the last one colours come round with other dashes.
        dash: the how-manieth dash.

    Returns:
        Keyword arguments of a matplotlib line.
    """
    return {"color": COLORS[hue % len(COLORS)], "linestyle": DASHES[(dash + hue // len(COLORS)) % len(DASHES)]}


def reference_style(index: int) -> Mapping[str, Any]:
    """Gives the style of a reference line: a closed form, a floor.

    Args:
        index: the how-manieth of its plot.

    Returns:
        Keyword arguments of a matplotlib line. Apart for the first three.
    """
    return {"color": INK, "linestyle": _REFERENCE_DASHES[index % len(_REFERENCE_DASHES)], "linewidth": 1.1}


def finish(figure: "Figure") -> None:
    """Puts the legend below the axes, in as many columns as its longest entry allows, and centres the title.

    Args:
        figure: one made by `new_figure`, with everything drawn.
    """
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if labels:
        labels = [textwrap.fill(label, _LEGEND) for label in labels]
        longest = max(len(line) for label in labels for line in label.split("\n"))
        columns = max(1, min(len(labels), 68 // (longest + 7)))
        rows = math.ceil(sum(label.count("\n") + 1 for label in labels) / columns)
        figure.set_figheight(3.42 + 0.172 * rows)
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, borderaxespad=0.2)
    figure.get_layout_engine().execute(figure)
    # What is laid out stays so: laying out again when the figure is written costs half of the time.
    figure.set_layout_engine("none")
    box = figure.axes[0].get_position()
    # The title is the only text of the figure itself.
    figure.texts[0].set_x((box.x0 + box.x1) / 2)


def _wrap(subtitle: str) -> str:
    """Breaks a line at its middle dots into lines of about the same length."""
    unbroken = " · ".join(part.replace(" ", "\u00a0") for part in subtitle.split(" · "))
    unbroken = unbroken.replace(" ·", "\u00a0·")
    return _fill(unbroken, 64, 12)


def _fill(text: str, most: int, spare: int) -> str:
    """Wraps a text into lines of about the same length, without what no font can draw."""
    text = "".join(char if char.isprintable() or char.isspace() else " " for char in text)
    lines = math.ceil(len(text) / most) or 1
    return textwrap.fill(text, max(1, min(most, len(text) // lines + spare)))
