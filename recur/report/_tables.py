"""Rows as a Markdown table and as an HTML table that sorts."""

import html
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from recur.report._decades import power_of_ten

NOTHING = "—"

# Turns the headers of every table into buttons. Without it the tables read the same, unsorted.
SORT_SCRIPT = """\
document.querySelectorAll("table").forEach(table => {
  table.querySelectorAll("thead th").forEach((header, column) => {
    const button = document.createElement("button");
    button.textContent = header.textContent;
    header.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = header.getAttribute("aria-sort") === "ascending";
      table.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const compare = (a, b) => {
        if (a === "" || b === "") return (a === "") - (b === "");
        const order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : (Number(a) > Number(b)) - (Number(a) < Number(b));
        return down ? -order : order;
      };
      [...body.rows].sort((a, b) => compare(key(a), key(b))).forEach(row => body.append(row));
    });
  });
});"""


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Writes rows as a Markdown table.

    Args:
        rows: one mapping a row; the columns are all their keys in the order first seen. A value is a string, a
            number, None (shown as a dash), or a spread {"median", "p10", "p90"}, shown as 2.2 (2.1 to 2.4), or
            as its entry "text" if it has one.

    Returns:
        The table, ending in a line break. Columns of numbers are aligned right; every Markdown sign is escaped.
    """
    columns = _columns(rows)
    ruler = ["---:" if numeric else "---" for numeric in columns.values()]
    body = [[escape_markdown(show(row.get(name))) for name in columns] for row in rows]
    lines = [[escape_markdown(name) for name in columns], ruler, *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def text_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Writes rows as a table for a terminal.

    Args:
        rows: as in `markdown_table`.

    Returns:
        Lines with columns two spaces apart, numbers aligned right.
    """
    columns = _columns(rows)
    lines = [list(columns), *([printable(show(row.get(name))) for name in columns] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    numeric = list(columns.values())
    aligned = (
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )
    return "\n".join(aligned)


def html_table(rows: Sequence[Mapping[str, Any]], caption: str = "") -> str:
    """Writes rows as an HTML table inside a box that scrolls sideways.

    Args:
        rows: as in `markdown_table`.
        caption: a line above the table.

    Returns:
        The element. Numbers are aligned right and carry their full value for sorting; all text is escaped.
    """
    columns = _columns(rows)
    head = "".join(
        f'<th scope="col"{_NUMERIC if numeric else ""}>{html.escape(str(name))}</th>'
        for name, numeric in columns.items()
    )
    body = "\n".join(
        f"<tr>{''.join(_html_cell(row.get(name), numeric) for name, numeric in columns.items())}</tr>" for row in rows
    )
    above = f'<p class="caption">{html.escape(caption)}</p>\n' if caption else ""
    name = html.escape(caption or "Table")
    # The box scrolls, and so can be reached and has a name; the caption stays in place above it.
    return (
        f'{above}<div class="scroll" role="region" tabindex="0" aria-label="{name}">\n<table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def show(value: Any) -> str:
    """Writes one value for people: four significant digits, a dash for what is missing.

    Args:
        value: as in a row of `markdown_table`.

    Returns:
        The text, not escaped.
    """
    if value is None:
        return NOTHING
    if isinstance(value, Mapping):
        if "text" in value:
            return str(value["text"])
        if value.get("median") is None:
            return NOTHING
        middle, low, high = (_show_number(value.get(key), 3) for key in ("median", "p10", "p90"))
        return f"{middle} ({low} to {high})" if {"p10", "p90"} & set(value) else middle
    if isinstance(value, int) and not -(10**300) < value < 10**300:
        value = _number(value)
    return _show_number(value, 4) if isinstance(value, float) else str(value)


def printable(text: Any) -> str:
    r"""Shows what would steer a terminal or turn the direction of writing as an escape, as \x1b and \u202e.

    Args:
        text: any value.

    Returns:
        Its text; line breaks and tabs stay.
    """
    return "".join(char if char.isprintable() or char in "\n\t\u00a0" else _escaped(char) for char in str(text))


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "backslashreplace").decode("ascii")


def escape_markdown(text: Any) -> str:
    """Escapes text for one line of Markdown.

    Args:
        text: any value; its white space becomes single spaces.

    Returns:
        Markdown that shows the text as it is.
    """
    line = printable(" ".join(str(text).split()))
    line = re.sub(r"([\\`*\[\]|~#$])", r"\\\1", line)
    # An underscore inside a word is harmless, and names such as layer_norm stay readable.
    line = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", line)
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_NUMERIC = ' class="number"'


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """Names every column, and tells whether it holds numbers."""
    columns = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row[name] for row in rows if row.get(name) is not None]
        columns[name] = bool(values) and all(_number(value) is not None for value in values)
    return columns


def _number(value: Any) -> float | None:
    if isinstance(value, Mapping):
        value = value.get("median")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _show_number(value: float | None, digits: int) -> str:
    if value is None:
        return NOTHING
    if (number := _number(value)) is None:
        return str(value)
    value = number
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    if digits <= int(exponent) < 7:
        text = f"{value:.0f}"
    elif -4 <= int(exponent) < digits:
        text = f"{value:.{digits}g}"
    else:
        text = f"{float(mantissa):g}×{power_of_ten(int(exponent))}"
    return text.replace("-", "−")


def _html_cell(value: Any, numeric: bool) -> str:
    number = _number(value)
    key = ""
    if number is not None or value is None or isinstance(value, Mapping):
        known = number is not None and not math.isnan(number)
        # The spelling that JavaScript's Number() reads.
        key = f' data-value="{repr(number).replace("inf", "Infinity") if known else ""}"'
    return f"<td{_NUMERIC if numeric else ''}{key}>{html.escape(printable(show(value)))}</td>"
