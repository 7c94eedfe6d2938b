"""The page, the Markdown and the pictures of a run on long sequences."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._long_cases import MEASURES
from benchmarks._long_crossovers import BASE, WORDS
from benchmarks._speed_page import COLORS, INK, MARKERS
from recur import report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = list[dict[str, Any]]

TITLE = "Engines on long sequences"
LEAD = (
    "One sequence (B = 1). Times of calls in turn on one machine, median and quartiles over the turns; a ratio is "
    f"{BASE}'s time over an engine's, above 1 where the engine is faster. Absolute times mean nothing elsewhere."
)
UNSOLVED = "A cross marks a length where Newton's iterations did not converge and the steps were taken one by one."


def write(out: Path, records: Sequence[dict[str, Any]], compared: Rows) -> None:
    """Writes long_sequences.md, index.html, and the pictures as SVG and PNG."""
    run = next(record for record in records if record["kind"] == "run")
    config = run["config"]
    lead = (
        f"{LEAD} H = {config['hidden_size']}, X = {config['input_size']}, float32; {run['device']}; "
        f"load average {run['load']:.2f} at the start."
    )
    page, lines = report.Page(TITLE, lead), [f"# {TITLE}\n", f"{lead}\n"]
    words = [c["words"] for c in compared]
    if words:
        page.heading("Crossovers")
        page.items(words)
        lines += ["## Crossovers\n", *(f"- {sentence}" for sentence in words), ""]
    timings = [record for record in records if record["kind"] == "long"]
    for name, figure, caption in pictures(timings):
        page.figure(report.to_svg(figure), caption)
        for ending in ("svg", "png"):
            report.save_figure(out / f"{name}.{ending}", figure)
    for title, rows in tabulate(records, compared).items():
        if rows:
            page.heading(title)
            page.table(rows)
            lines += [f"## {title}\n", report.markdown_table(rows)]
    report.write_text(out / "long_sequences.md", "\n".join(lines))
    page.write(out / "index.html")


def tabulate(records: Sequence[dict[str, Any]], compared: Rows) -> dict[str, Rows]:
    """Returns the tables by heading."""
    over = {(c["cell"], c["measure"], c["engine"], n): ratio for c in compared for n, ratio in c["ratios"].items()}
    tables = {
        WORDS[measure].capitalize(): [
            _timing(r, over) for r in records if r["kind"] == "long" and r["measure"] == measure
        ]
        for measure in MEASURES
    }
    tables["Not timed"] = [
        {"cell": r["cell"], "T": r["steps"], "engine": r["engine"], "measure": WORDS[r["measure"]], "why": r["reason"]}
        for r in records
        if r["kind"] == "not_timed"
    ]
    return tables


def pictures(timings: Sequence[dict[str, Any]]) -> "list[tuple[str, Figure, str]]":
    """Returns file names, figures and captions: times of each measure, and the memory of the gradients."""
    drawn = []
    for measure in MEASURES:
        mine = [t for t in timings if t["measure"] == measure]
        if mine:
            figure = curves(mine, lambda t: 1e3 * t["wall_s"]["median"], f"Time, {WORDS[measure]}", "ms")
            drawn.append((f"time_{measure}", figure, f"{WORDS[measure].capitalize()}, medians. {UNSOLVED}"))
    planned = [t for t in timings if t["measure"] == "gradients" and t["memory_bytes"]]
    if planned:
        figure = curves(planned, lambda t: t["memory_bytes"] / 2**20, f"Memory, {WORDS['gradients']}", "MiB")
        drawn.append(("memory", figure, "What the compiled program plans to hold at its peak."))
    return drawn


def curves(timings: Sequence[dict[str, Any]], value: Callable[[dict], float], title: str, unit: str) -> "Figure":
    """Draws a panel a cell: a value against T, both logarithmic, one line an engine."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, FuncFormatter, NullFormatter

    cells = list(dict.fromkeys(t["cell"] for t in timings))
    engines = list(dict.fromkeys(t["engine"] for t in timings))
    figure = Figure(figsize=(0.8 + 2.7 * len(cells), 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, color=INK, fontsize=10.5)
    panels = figure.subplots(1, len(cells), sharey=True, squeeze=False)[0]
    for axes, cell in zip(panels, cells, strict=True):
        for index, engine in enumerate(engines):
            mine = sorted((t for t in timings if (t["cell"], t["engine"]) == (cell, engine)), key=lambda t: t["steps"])
            if not mine:
                continue
            color, mark = COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]
            line = {"color": color, "linewidth": 1.4, "marker": mark, "markersize": 4.5, "label": engine}
            axes.plot([t["steps"] for t in mine], [value(t) for t in mine], **line)
            failed = [t for t in mine if t["converged"] is False]
            axes.plot([t["steps"] for t in failed], [value(t) for t in failed], "x", color=INK, markersize=9)
        axes.set(xscale="log", yscale="log")
        # Plain text: formulas are not drawn when a figure is written.
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_formatter(NullFormatter())
        axes.set_title(cell, color=INK, fontsize=9.5)
        axes.set_xlabel("T (steps)", color=INK, fontsize=9)
        axes.tick_params(colors=INK, labelsize=9, which="both")
        axes.grid(alpha=0.15, color=INK)
        for name, spine in axes.spines.items():
            spine.set_color(INK)
            spine.set_visible(name in ("left", "bottom"))
    panels[0].set_ylabel(unit, color=INK, fontsize=9)
    shown = {label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(shown.values(), shown, loc="outside lower center", ncols=4, frameon=False, fontsize=8, labelcolor=INK)
    return figure


def _timing(record: Mapping[str, Any], over: Mapping[tuple, Mapping[str, float]]) -> dict[str, Any]:
    wall, memory = record["wall_s"], record["memory_bytes"]
    shown = [1e3 * wall[key] for key in ("median", "p25", "p75")]
    ratio = over.get((record["cell"], record["measure"], record["engine"], record["steps"]))
    converged = {True: "yes", False: f"NO: {BASE} ran instead", None: None}[record["converged"]]
    return {
        "cell": record["cell"],
        "T": record["steps"],
        "engine": record["engine"],
        "ms": {"median": shown[0], "text": "{} ({} to {})".format(*map(_number, shown))},
        f"{BASE}'s over its": ratio and {**ratio, "text": "{median:.2f} ({p25:.2f} to {p75:.2f})".format(**ratio)},
        "us a step": 1e6 * wall["median"] / record["steps"],
        "planned memory (MiB)": None if memory is None else round(memory / 2**20, 2),
        "iterations": record["iterations"],
        "residual": record["residual"],
        "converged": converged,
        "error": record["error"],
        "compile (s)": round(record["compile_s"], 2),
        "turns": record["repeats"],
        "load": round(record["load"], 2),
    }


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
