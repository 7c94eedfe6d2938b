"""The page, the Markdown and the plot of a run."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import _speed_verdicts as verdicts
from benchmarks._speed_programs import MEASURES
from recur import report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = list[dict[str, Any]]

LEAD = (
    "Times of calls in turn on one machine; a ratio is a peer's time over recur's, above 1 where recur is faster, "
    "median and quartiles over the turns. Absolute times mean nothing elsewhere."
)
CAPTION = "a dot a library and cell of it, with the quartiles; right of the dashed line recur is faster."
# Apart in hue; marks tell them apart in print. Mid-tones that read on white and near-black.
COLORS = ("#1f78c8", "#d55e00", "#00966c", "#b0589c", "#94801a", "#d8484f", "#7a7a86")
MARKERS = "osD^vP*X"
INK = "#1b1f25"


def write(out: Path, records: Sequence[dict[str, Any]], compared: Rows, reached: Rows) -> None:
    """Writes speed.md, index.html, and a plot of the ratios as SVG and PNG for each measure that has any."""
    run = next(record for record in records if record["kind"] == "run")
    tables = tabulate(records, compared, reached)
    page = report.Page(
        "Speed beside the peers", f"{LEAD} {run['device']}; load average {run['load']:.2f} at the start."
    )
    lines = ["# Speed beside the peers\n", f"{LEAD} {run['device']}; load average {run['load']:.2f} at the start.\n"]
    figures = {measure: ratio_plot(compared, measure) for measure in MEASURES if any_of(compared, measure)}
    if figures:
        page.heading("Ratios")
    for measure, figure in figures.items():
        page.figure(report.to_svg(figure), f"{verdicts.WORDS[measure].capitalize()}: {CAPTION}")
        for ending in ("svg", "png"):
            report.save_figure(out / f"ratios_{measure}.{ending}", figure)
    for title, rows in tables.items():
        if rows:
            page.heading(title)
            page.table(rows)
            lines += [f"## {title}\n", report.markdown_table(rows)]
    report.write_text(out / "speed.md", "\n".join(lines))
    page.write(out / "index.html")


def tabulate(records: Sequence[dict[str, Any]], compared: Rows, reached: Rows) -> dict[str, Rows]:
    """Returns the tables by heading."""
    ratios = {(c["row"], c["cell"], c["peer"], c["measure"]): c for c in compared}
    tables: dict[str, Rows] = {
        "Goals": [
            {**goal, "met": {True: "met", False: "NOT met", None: "not measured"}[goal["met"]], "below": _list(goal)}
            for goal in reached
        ],
        "Geometric means by peer": verdicts.by_peer(compared),
    }
    for measure in MEASURES:
        rows = [r for r in records if r["kind"] == "speed" and r["measure"] == measure]
        tables[verdicts.WORDS[measure].capitalize()] = [_timing(r, ratios) for r in rows]
    tables["Not timed"] = [
        {key: r[key] for key in ("row", "cell", "peer", "reason")} for r in records if r["kind"] == "not_timed"
    ]
    return tables


def any_of(compared: Rows, measure: str) -> bool:
    """Whether there is anything to draw."""
    return any(c["measure"] == measure for c in compared)


def ratio_plot(compared: Rows, measure: str) -> "Figure":
    """Draws one dot a peer in each row and cell, with its quartiles, on a logarithmic axis; 1 is marked."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    shown = [c for c in compared if c["measure"] == measure]
    places = list(dict.fromkeys((c["row"], c["cell"]) for c in shown))
    peers = list(dict.fromkeys(verdicts.library_of(c["peer"]) for c in shown))
    figure = Figure(figsize=(6.2, 1.6 + 0.34 * len(places) + 0.2 * (len(peers) // 3)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(textwrap.fill(f"Time over recur's, {verdicts.WORDS[measure]}", 60), color=INK, fontsize=10.5)
    axes = figure.add_subplot()
    for index, peer in enumerate(peers):
        mine = [c for c in shown if verdicts.library_of(c["peer"]) == peer]
        heights = [places.index((c["row"], c["cell"])) + 0.5 * (index / max(1, len(peers) - 1) - 0.5) for c in mine]
        color, mark = COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]
        middle, low, high = ([c["ratio"][key] for c in mine] for key in ("median", "p25", "p75"))
        # Two cells of one library stand side by side under one mark.
        axes.hlines(heights, low, high, color=color, linewidth=1)
        axes.plot(middle, heights, mark, color=color, markersize=4.5, label=peer)
    axes.axvline(1.0, color=INK, linewidth=1.1, linestyle=(0, (5, 3)))
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_yticks(range(len(places)), [f"{row} {cell}" for row, cell in places])
    axes.invert_yaxis()
    axes.set_xlabel("peer's time over recur's (right of 1: recur is faster)", color=INK, fontsize=9)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(alpha=0.15, color=INK)
    for name, spine in axes.spines.items():
        spine.set_color(INK)
        spine.set_visible(name in ("left", "bottom"))
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8, labelcolor=INK)
    return figure


def _timing(record: dict[str, Any], ratios: dict[tuple, dict[str, Any]]) -> dict[str, Any]:
    ratio = ratios.get((record["row"], record["cell"], record["peer"], record["measure"]))
    wall, memory = record["wall_s"], record["memory_bytes"]
    shown = [1e3 * wall[key] for key in ("median", "p25", "p75")]
    return {
        "row": record["row"],
        "cell": record["cell"],
        "peer": record["peer"],
        "ms": {"median": shown[0], "text": "{:.3g} ({:.3g} to {:.3g})".format(*shown)},
        "over recur's": ratio and ratio["ratio"],
        "over one device": ratio and ratio["ratio_one_device"],
        "of the floor": f"{100 * record['floor_s'] / wall['median']:.0f} %",
        "compile (s)": round(record["compile_s"], 2),
        "memory (MiB)": None if memory is None else round(memory / 2**20, 1),
        "memory is": record["memory_source"],
        "error of outputs": record["error_outputs"],
        "error of gradients": record["error_gradients"],
        "turns": record["repeats"],
        "load": round(record["load"], 2),
    }


def _list(goal: dict[str, Any]) -> str:
    return "; ".join(goal["below"]) or "none"
