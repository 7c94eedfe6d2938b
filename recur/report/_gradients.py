"""The gradient-flow report: from the records of one run or several to a page, tables and figures."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recur._files import write_text
from recur.report._evidence import literature_rows
from recur.report._gradient_figures import lag_figures, length_figures, parameter_figures
from recur.report._gradient_layout import Contents, markdown, page
from recur.report._gradient_records import Record, by_kind, flat_row, group_by_name, lag_rows, run_facts, series_rows
from recur.report._measured import measured_line
from recur.report._not_measured import REASONS, not_measured, reasons
from recur.report._plot_figures import Drawn, Hues, draw_plot
from recur.report._plot_table import PLOTS
from recur.report._record_checks import VERDICTS
from recur.report._records import normalize, write_csv
from recur.report._series import distinct, name_of, naming
from recur.report._verdicts import masking_sentence, sentence, verdict_rows
from recur.report._words import few

TITLE = "How gradients flow back through time"
LEAD = (
    "The loss looks at the last step T only. Going back step by step from there, its gradient shrinks (vanishes), "
    "grows (explodes) or lasts. A cell can learn from an event k steps back only if the gradient at lag k is neither "
    "lost nor overwhelming."
)


def gradient_page(
    records: Iterable[Record], out_dir: str | os.PathLike, *, title: str = TITLE, lead: str = LEAD
) -> Path:
    """Writes the gradient-flow report of one run, from its records alone.

    Leaves in the folder `index.html` (self-contained), `summary.md`, `summary.csv`, `lag_curves.csv`,
    `parameter_norms.csv`, `series.csv` and every figure as an SVG file, each replaced whole or not at all; a table
    without rows is not written. The same records give the same bytes. The page is written last, so a page that is
    there has its files beside it.

    Args:
        records: the records of a run, of kinds "run", "lag_curve", "parameter_norm", "summary", "closed_form",
            "series", "matrix", "points", "number", "skipped", "literature" and "check"; norms are natural logarithms.
            Other kinds, and plots that the report does not know, are counted on the page and not shown.
        out_dir: the folder; made if it is missing.
        title: heading of the page.
        lead: paragraph below it.

    Returns:
        The path of `index.html`.

    Raises:
        ValueError: there is nothing to show, a record lacks a field or holds another type than it should, or one
            measurement is there twice.
    """
    return write_report(normalize(list(records)), Path(out_dir), title, lead)


def write_report(
    records: Sequence[Record], out_dir: Path, title: str, lead: str, differences: Sequence[Record] | None = None
) -> Path:
    """Writes page, tables and figures of records; those of several runs carry a field `run`.

    Args:
        records: normalised records.
        out_dir: the folder.
        title: heading of the page.
        lead: paragraph below it.
        differences: rows that say what sets the runs apart; None for one run.

    Returns:
        The path of `index.html`.

    Raises:
        ValueError: as `gradient_page`.
    """
    kinds = by_kind(_short_names(records))
    fields = naming(kinds["summary"])
    summaries = sorted(kinds["summary"], key=_by_cell(kinds["summary"], fields))
    longest = {name: group[-1] for name, group in group_by_name(summaries, fields).items()}
    # Of other initialisers than the first of each run the table tells.
    first: dict[Any, Any] = {}
    for record in kinds["summary"]:
        first.setdefault(record.get("run"), record.get("initializer"))
    main = {name: last for name, last in longest.items() if last.get("initializer") == first[last.get("run")]}
    sentences = [sentence(name, last) for name, last in main.items()]
    skipped = [record for record in kinds["skipped"] if record["plot"] == VERDICTS]
    why = reasons([*kinds["failed"], *kinds["skipped"]])
    contents = Contents(
        title=title,
        lead=lead,
        measured=[measured_line(run) for run in kinds["run"]],
        sentences=[*few(sentences), *few(not_measured(skipped))],
        verdicts=verdict_rows([*longest.values()], fields),
        by_length=verdict_rows(summaries, fields) if len(summaries) > len(longest) else (),
        differences=differences,
        drawn=_figures(kinds),
        literature=literature_rows(kinds["literature"]),
        checks=kinds["check"],
        facts={**({REASONS: why} if why else {}), **run_facts(kinds)},
    )
    tables: dict[str, list[dict[str, Any]]] = {
        "summary": [flat_row(record) for record in kinds["summary"]],
        "lag_curves": [row for record in kinds["lag_curve"] for row in lag_rows(record)],
        "parameter_norms": [flat_row(record) for record in kinds["parameter_norm"]],
        "series": [row for kind in ("series", "points", "matrix") for rec in kinds[kind] for row in series_rows(rec)],
    }
    for name, rows in tables.items():
        if rows:
            write_csv(out_dir / f"{name}.csv", rows)
    for figure in contents.drawn:
        write_text(out_dir / figure.file, figure.svg)
    write_text(out_dir / "summary.md", markdown(contents))
    return page(contents).write(out_dir / "index.html")


def _short_names(records: Sequence[Record]) -> list[Record]:
    """Shortens long names of cells, and keeps apart what was apart."""
    known = list(dict.fromkeys(r["cell"] for r in records if isinstance(r, Mapping) and isinstance(r.get("cell"), str)))
    short = dict(zip(known, distinct(known), strict=True))
    return [
        {**record, "cell": short[record["cell"]]}
        if isinstance(record, Mapping) and isinstance(record.get("cell"), str)
        else record
        for record in records
    ]


def _by_cell(summaries: Sequence[Record], fields: Sequence[str]):
    """Orders by cell as first seen, then by length: runs that are compared stand below one another."""
    names = [name_of(record, [field for field in fields if field != "run"]) for record in summaries]
    order = {name: index for index, name in enumerate(dict.fromkeys(names))}
    return lambda record: (order[name_of(record, [f for f in fields if f != "run"])], record["length"])


def _figures(kinds: Mapping[str, Sequence[Record]]) -> list[Drawn]:
    curves, norms = kinds["lag_curve"], kinds["parameter_norm"]
    measured = [*curves, *norms]
    fields = naming(measured)
    plotted: dict[str, list[Record]] = {}
    for kind in ("series", "matrix", "points", "number", "skipped"):
        for record in kinds[kind]:
            plotted.setdefault(record["plot"], []).append(record)
    # One colour a cell in every plot of the page.
    hues = Hues(measured, [record for records in plotted.values() for record in records])
    styles = hues.styles(measured, fields)
    drawn = [
        *lag_figures(curves, _once(kinds["closed_form"]), fields, styles),
        *length_figures(curves, fields, styles),
        *parameter_figures(norms, fields, styles, _hidden(norms, curves, fields)),
    ]
    for key in PLOTS:
        drawn += draw_plot(key, plotted.get(key, []), hues)
    return drawn


def _once(forms: Sequence[Record]) -> list[Record]:
    """Leaves out closed forms that several runs share."""
    return list({repr((form["label"], form.get("quantity"), form["lag_steps"])): form for form in forms}.values())


def _hidden(norms: Sequence[Record], curves: Sequence[Record], fields: Sequence[str]) -> list[str]:
    """Collects the sentences that show, for this run, what the norm of the parameter gradient hides."""
    adjoints = group_by_name((r for r in curves if r["quantity"] == "adjoint"), fields)
    totals = group_by_name((r for r in norms if r["tensor"] == "all"), fields)
    found = (masking_sentence(name, totals[name], adjoints[name][-1]) for name in totals if name in adjoints)
    return [text for text in found if text]
