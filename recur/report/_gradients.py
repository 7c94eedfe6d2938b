"""The gradient-norm report: from the records of one run to a page, tables and figures."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from recur.report._files import write_text
from recur.report._gradient_figures import Drawn, lag_figures, length_figures, parameter_figures
from recur.report._gradient_records import Record, by_kind, flat_row, group_by_name, lag_rows, run_facts
from recur.report._page import Page
from recur.report._records import normalize, write_csv
from recur.report._series import differing, name_of
from recur.report._style import line_styles
from recur.report._tables import escape_markdown, markdown_table
from recur.report._verdicts import masking_sentence, sentence, verdict_rows

_TITLE = "How gradients flow back through time"
_LEAD = (
    "The loss looks at the last step T only. Going back step by step from there, its gradient shrinks (vanishes), "
    "grows (explodes) or lasts. A cell can learn from an event k steps back only if the gradient at lag k is neither "
    "lost nor overwhelming."
)
_LAGS = (
    "On these log axes a straight line is exponential decay or growth, and a flat one is lasting memory. Lines are "
    "medians over seeds, bands run from the 10th to the 90th percentile."
)
_LENGTHS = (
    "The gradient at the state once more, one plot a cell, one line a length, shorter lengths thicker. Where the "
    "lines lie on each other, the lag alone decides, not the length of the sequence."
)
_MISLEADS = (
    "This plot alone misleads: it mixes all lags. The parameter gradient is a sum over every step back, and recent "
    "steps dominate it, so it can stay flat with the length of the sequence while long lags vanish. Read it beside "
    "the lag curves."
)


def gradient_page(records: Iterable[Record], out_dir: str | os.PathLike) -> Path:
    """Writes the gradient-norm report of one run, from its records alone.

    Leaves in the folder `index.html` (self-contained), `summary.md`, `summary.csv`, `lag_curves.csv`,
    `parameter_norms.csv` and every figure as an SVG file, each replaced whole or not at all. The same records give
    the same bytes. The page is written last, so a page that is there has its files beside it.

    Args:
        records: the records of a run, of kinds "run", "lag_curve", "parameter_norm", "summary" and "closed_form";
            norms are natural logarithms. Other kinds are counted on the page and not shown.
        out_dir: the folder; made if it is missing.

    Returns:
        The path of `index.html`.

    Raises:
        ValueError: there is nothing to show, a record lacks a field, or one measurement is there twice.
    """
    out_dir = Path(out_dir)
    kinds = by_kind(normalize(list(records)))
    summaries, curves, norms = kinds["summary"], kinds["lag_curve"], kinds["parameter_norm"]
    measured = [*summaries, *curves, *norms]
    fields = differing(measured, leave_out=("length", "tensor"))
    # One colour a cell in every plot of the page.
    styles = line_styles(name_of(record, fields) for record in measured)
    sentences = [sentence(name, group[-1]) for name, group in group_by_name(summaries, fields).items()]
    rows = verdict_rows(summaries, fields)
    facts = run_facts(kinds)
    by_lag = lag_figures(curves, kinds["closed_form"], fields, styles)
    by_length = length_figures(curves, fields, styles)
    of_parameters = parameter_figures(norms, fields, styles)

    page = Page(_TITLE, _LEAD)
    page.heading("Verdict")
    page.items(sentences)
    page.table(rows, "Medians over seeds, in brackets 10th and 90th percentile. Rate: slope of the log norm.")
    page.heading("Gradient by lag")
    page.text(_LAGS)
    _add(page, by_lag)
    if by_length:
        page.heading("Does the length of the sequence matter?")
        page.text(_LENGTHS)
        _add(page, by_length)
    if norms:
        page.heading("Gradient of the parameters by sequence length")
        page.text(_MISLEADS)
        if hidden := _hidden(norms, curves, fields):
            page.items(hidden)
        _add(page, of_parameters)
    page.heading("The run")
    for caption, table in facts.items():
        page.table(table, caption)

    drawn = [*by_lag, *by_length, *of_parameters]
    write_csv(out_dir / "summary.csv", map(flat_row, summaries))
    write_csv(out_dir / "lag_curves.csv", (row for curve in curves for row in lag_rows(curve)))
    write_csv(out_dir / "parameter_norms.csv", map(flat_row, norms))
    for figure in drawn:
        write_text(out_dir / figure.file, figure.svg)
    write_text(out_dir / "summary.md", _markdown(sentences, rows, drawn, facts))
    return page.write(out_dir / "index.html")


def _add(page: Page, figures: Sequence[Drawn]) -> None:
    for figure in figures:
        page.figure(figure.svg, figure.caption)


def _hidden(norms: Sequence[Record], curves: Sequence[Record], fields: Sequence[str]) -> list[str]:
    """Collects the sentences that show, for this run, what the norm of the parameter gradient hides."""
    adjoints = group_by_name((r for r in curves if r["quantity"] == "adjoint"), fields)
    totals = group_by_name((r for r in norms if r["tensor"] == "all"), fields)
    found = (masking_sentence(name, totals[name], adjoints[name][-1]) for name in totals if name in adjoints)
    return [text for text in found if text]


def _markdown(
    sentences: Sequence[str], rows: Sequence[Record], drawn: Sequence[Drawn], facts: Mapping[str, Sequence[Record]]
) -> str:
    blocks = [f"# {_TITLE}", _LEAD, "\n".join(f"- {escape_markdown(text)}" for text in sentences), markdown_table(rows)]
    for figure in drawn:
        blocks.append(f"![{escape_markdown(figure.caption)}]({figure.file})")
    for caption, table in facts.items():
        blocks += [f"## {caption}", markdown_table(table)]
    return "\n\n".join(block.strip() for block in blocks) + "\n"
