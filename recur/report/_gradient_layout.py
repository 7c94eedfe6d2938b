"""What a gradient-flow report says, and where: as a page and as Markdown."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from recur.report._evidence import LITERATURE, check_sentences, check_tables
from recur.report._gradient_records import Record
from recur.report._page import Page
from recur.report._plot_figures import Drawn
from recur.report._plot_table import BESIDE, FIRST, LAGS, LENGTHS, PARAMETERS, PLOTS, SECTIONS
from recur.report._tables import escape_markdown, markdown_table

_AXES = (
    "On axes in powers of ten a straight line is exponential decay or growth, and a flat one is lasting memory. Lines "
    "are medians over seeds, bands run from the 10th to the 90th percentile."
)
_LENGTHS = (
    "The gradient at the state once more, one plot a cell, one line a length, shorter lengths thicker. Where the "
    "lines lie on each other, the lag alone decides, not the length of the sequence."
)
_VERDICTS = (
    "Medians over seeds (in a diagnosis over sequences), in brackets 10th and 90th percentile. Rate: slope of the log "
    "norm. λ₁: largest Lyapunov exponent. ln κ: growth of the log condition number."
)
_FIRST = "Plots to see first"
_SECTION_OF = {"lag_adjoint": LAGS, "lag_input": LAGS, "lengths": LENGTHS, "parameter_norms": PARAMETERS}
_SECTION_OF |= {"tensors": PARAMETERS} | {key: plot.section for key, plot in PLOTS.items()}


class Contents(NamedTuple):
    """All that a page says, before it is laid out.

    Args:
        title: of the page.
        lead: paragraph below it.
        measured: what was measured, in one line each.
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
    measured: Sequence[str]
    sentences: Sequence[str]
    verdicts: Sequence[Record]
    by_length: Sequence[Record]
    differences: Sequence[Record] | None
    drawn: Sequence[Drawn]
    literature: Sequence[Record]
    checks: Sequence[Record]
    facts: Mapping[str, Sequence[Record]]


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


def page(contents: Contents) -> Page:
    """Lays a page out.

    Args:
        contents: what it says.

    Returns:
        The page.
    """
    laid = Page(contents.title, contents.lead, measured=contents.measured)
    if contents.verdicts:
        laid.heading("Verdict")
        laid.table(contents.verdicts, _VERDICTS)
        laid.items(contents.sentences, folded="In words")
    if contents.differences is not None:
        laid.heading("What differs between the runs")
        if contents.differences:
            laid.table(contents.differences, "Settings, versions and devices that are not the same.")
        else:
            laid.text("All settings, versions and devices are the same.")
    for section, figures in _sections(contents.drawn).items():
        laid.heading(section, folded=section != _FIRST)
        if section == _FIRST:
            laid.text(_AXES)
        if section == LENGTHS:
            laid.text(_LENGTHS)
        for figure in figures:
            laid.figure(figure.svg, figure.caption, figure.sentences)
    if contents.literature:
        laid.heading("The literature beside our numbers", folded=True)
        laid.table(contents.literature, LITERATURE)
    if contents.checks:
        laid.heading("Oracle scorecard", folded=True)
        laid.items(check_sentences(contents.checks))
        for caption, rows in check_tables(contents.checks).items():
            laid.table(rows, caption)
    laid.heading("The run", folded=True)
    if contents.by_length:
        laid.table(contents.by_length, "Verdicts at every length.")
    for caption, rows in contents.facts.items():
        laid.table(rows, caption)
    return laid


def markdown(contents: Contents) -> str:
    """Writes the same as Markdown, with figures as files.

    Args:
        contents: what the page says.

    Returns:
        The text.
    """
    blocks = [f"# {escape_markdown(contents.title)}", *map(escape_markdown, (*contents.measured, contents.lead))]
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
