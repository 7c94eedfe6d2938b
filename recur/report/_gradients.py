"""The gradient-flow report: from the records of one run or several to a page, tables and figures."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recur.report._evidence import LITERATURE, check_sentences, check_tables, literature_rows
from recur.report._files import write_text
from recur.report._gradient_figures import lag_figures, length_figures, parameter_figures
from recur.report._gradient_records import Record, by_kind, flat_row, group_by_name, lag_rows, run_facts, series_rows
from recur.report._page import Page
from recur.report._plot_figures import Drawn, Hues, draw_plot, not_measured
from recur.report._plot_table import BESIDE, FIRST, LAGS, LENGTHS, PARAMETERS, PLOTS, SECTIONS
from recur.report._record_checks import VERDICTS
from recur.report._records import normalize, write_csv
from recur.report._series import name_of, naming
from recur.report._tables import escape_markdown, markdown_table
from recur.report._verdicts import masking_sentence, sentence, verdict_rows
from recur.report._words import few

TITLE = "How gradients flow back through time"
LEAD = (
    "The loss looks at the last step T only. Going back step by step from there, its gradient shrinks (vanishes), "
    "grows (explodes) or lasts. A cell can learn from an event k steps back only if the gradient at lag k is neither "
    "lost nor overwhelming."
)
_AXES = (
    "On axes in powers of ten a straight line is exponential decay or growth, and a flat one is lasting memory. Lines "
    "are medians over seeds, bands run from the 10th to the 90th percentile."
)
_LENGTHS = (
    "The gradient at the state once more, one plot a cell, one line a length, shorter lengths thicker. Where the "
    "lines lie on each other, the lag alone decides, not the length of the sequence."
)
_VERDICTS = (
    "Medians over seeds, in brackets 10th and 90th percentile. Rate: slope of the log norm. λ₁: largest Lyapunov "
    "exponent. ln κ: growth of the log condition number."
)
_FIRST = "Three plots first"
_SECTION_OF = {"lag_adjoint": LAGS, "lag_input": LAGS, "lengths": LENGTHS, "parameter_norms": PARAMETERS}
_SECTION_OF |= {"tensors": PARAMETERS} | {key: plot.section for key, plot in PLOTS.items()}


class Contents(NamedTuple):
    """All that a page says, before it is laid out.

    Args:
        title: of the page.
        lead: paragraph below it.
        sentences: one verdict a cell.
        verdicts: rows of the verdict table, each cell at its longest length.
        by_length: the same at every length; none where there is one length.
        differences: rows that say what sets runs apart; None where there is one run.
        drawn: figures.
        literature: rows of that table.
        checks: records of the scorecard.
        facts: caption to rows, of the run.
    """

    title: str
    lead: str
    sentences: Sequence[str]
    verdicts: Sequence[Record]
    by_length: Sequence[Record]
    differences: Sequence[Record] | None
    drawn: Sequence[Drawn]
    literature: Sequence[Record]
    checks: Sequence[Record]
    facts: Mapping[str, Sequence[Record]]


def gradient_page(records: Iterable[Record], out_dir: str | os.PathLike) -> Path:
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

    Returns:
        The path of `index.html`.

    Raises:
        ValueError: there is nothing to show, a record lacks a field or holds another type than it should, or one
            measurement is there twice.
    """
    return write_report(normalize(list(records)), Path(out_dir), TITLE, LEAD)


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
    kinds = by_kind(records)
    fields = naming(kinds["summary"])
    summaries = sorted(kinds["summary"], key=_by_cell(kinds["summary"], fields))
    sentences = [sentence(name, group[-1]) for name, group in group_by_name(summaries, fields).items()]
    skipped = [record for record in kinds["skipped"] if record["plot"] == VERDICTS]
    longest = [group[-1] for group in group_by_name(summaries, fields).values()]
    contents = Contents(
        title=title,
        lead=lead,
        sentences=[*few(sentences), *few(not_measured(skipped))],
        verdicts=verdict_rows(longest, fields),
        by_length=verdict_rows(summaries, fields) if len(summaries) > len(longest) else (),
        differences=differences,
        drawn=_figures(kinds),
        literature=literature_rows(kinds["literature"]),
        checks=kinds["check"],
        facts=run_facts(kinds),
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
    write_text(out_dir / "summary.md", _markdown(contents))
    return _page(contents).write(out_dir / "index.html")


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


def _sections(drawn: Sequence[Drawn]) -> dict[str, list[Drawn]]:
    """Lays the figures out: three plots first, all others under their headings."""
    keys = {figure.key for figure in drawn}
    first = [key for key in FIRST if key in keys][:3]
    first += [BESIDE[key] for key in first if key in BESIDE]
    order = {key: place for place, key in enumerate(sorted(first, key=lambda key: _place(key, first)))}
    chosen = sorted((figure for figure in drawn if figure.key in first), key=lambda figure: order[figure.key])
    sections = {_FIRST: chosen}
    for section in SECTIONS:
        sections[section] = [f for f in drawn if f.key not in first and _SECTION_OF[f.key] == section]
    return {section: figures for section, figures in sections.items() if figures}


def _place(key: str, first: Sequence[str]) -> tuple[int, bool]:
    """What is read beside a plot stands right after it."""
    beside = next((main for main, other in BESIDE.items() if other == key), None)
    return (first.index(beside), True) if beside in first else (first.index(key), False)


def _page(contents: Contents) -> Page:
    page = Page(contents.title, contents.lead)
    if contents.verdicts:
        page.heading("Verdict")
        page.items(contents.sentences)
        page.table(contents.verdicts, _VERDICTS)
    if contents.differences is not None:
        page.heading("What differs between the runs")
        if contents.differences:
            page.table(contents.differences, "Settings, versions and devices that are not the same.")
        else:
            page.text("All settings, versions and devices are the same.")
    for section, figures in _sections(contents.drawn).items():
        page.heading(section)
        if section == _FIRST:
            page.text(_AXES)
        if section == LENGTHS:
            page.text(_LENGTHS)
        for figure in figures:
            page.figure(figure.svg, figure.caption, figure.sentences)
    if contents.literature:
        page.heading("The literature beside our numbers")
        page.table(contents.literature, LITERATURE)
    if contents.checks:
        page.heading("Oracle scorecard")
        page.items(check_sentences(contents.checks))
        for caption, rows in check_tables(contents.checks).items():
            page.table(rows, caption)
    page.heading("The run")
    if contents.by_length:
        page.table(contents.by_length, "Verdicts at every length.")
    for caption, rows in contents.facts.items():
        page.table(rows, caption)
    return page


def _markdown(contents: Contents) -> str:
    blocks = [f"# {escape_markdown(contents.title)}", escape_markdown(contents.lead)]
    if contents.verdicts:
        blocks += [_bullets(contents.sentences), markdown_table(contents.verdicts)]
    if contents.differences:
        blocks += ["## What differs between the runs", markdown_table(contents.differences)]
    for section, figures in _sections(contents.drawn).items():
        blocks.append(f"## {section}")
        for figure in figures:
            blocks.append(f"![{escape_markdown(figure.title)}]({figure.file})")
            if figure.caption:
                blocks.append(escape_markdown(figure.caption))
            if figure.sentences:
                blocks.append(_bullets(figure.sentences))
    if contents.literature:
        blocks += ["## The literature beside our numbers", LITERATURE, markdown_table(contents.literature)]
    if contents.checks:
        blocks += ["## Oracle scorecard", _bullets(check_sentences(contents.checks))]
        for caption, rows in check_tables(contents.checks).items():
            blocks += [f"### {escape_markdown(caption)}", markdown_table(rows)]
    if contents.by_length:
        blocks += ["## Verdicts at every length", markdown_table(contents.by_length)]
    for caption, rows in contents.facts.items():
        blocks += [f"## {escape_markdown(caption)}", markdown_table(rows)]
    return "\n\n".join(block.strip() for block in blocks) + "\n"


def _bullets(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {escape_markdown(text)}" for text in sentences)
