"""Figures as SVG text that lives in any page, and as files."""

import hashlib
import html
import io
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from recur._files import write_bytes, write_text
from recur.report._scaling import scaled_to
from recur.report._style import INK, drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A file opened by itself has no page around it that sets colours. Inside a page, :root is the page, and the rules
# do nothing.
_ALONE = (
    "<style>svg:root{color:#1b1f25;background:#fff}"
    "@media (prefers-color-scheme:dark){svg:root{color:#e4e7eb;background:#14171a}}</style>"
)
_FONTS = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
_FORMATS = ("pdf", "png", "svg")
_NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


def to_svg(figure: "Figure") -> str:
    """Renders a figure as one `<svg>` element that can stand in a page or a file.

    Text stays text, in the reader's own sans-serif. Axes, ticks and text take the colour of the text around them
    (`currentColor`) on a transparent ground. Ids are unique to the figure's content, so several figures share a page.
    The same figure gives the same bytes. Coordinates are rounded to a hundredth of a point.

    Args:
        figure: a figure of this package.

    Returns:
        The SVG element, without XML prologue.
    """
    buffer = io.StringIO()
    with drawing():
        # An empty entry leaves out the date and the version, which would make equal figures differ.
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    drawn = buffer.getvalue()
    prefix = "f" + hashlib.sha256(drawn.encode()).hexdigest()[:10]
    body = drawn[re.search(r"<svg[^>]*>", drawn).end() :]
    # matplotlib's own style element would set line joins for the whole page around the figure.
    body = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", body, count=1, flags=re.DOTALL)
    # Inside tags only: what stands between them is text from the data. No attribute holds a bare ">".
    body = re.sub(r"<[a-zA-Z][^>]*>", lambda tag: _restyle(tag.group(), prefix), body)
    name = html.escape(" ".join(figure.get_suptitle().split()))
    width, height = (72 * inches for inches in figure.get_size_inches())
    return (
        f'<svg {_NAMESPACES} width="{width:g}pt" height="{height:g}pt" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{name}" font-family="{_FONTS}" stroke-linejoin="round">'
        f"{_ALONE}{body}"
    )


def save_figure(
    path: str | os.PathLike, figure: "Figure", *, width: float | None = None, format: str | None = None
) -> Path:
    """Writes a figure as a PDF, PNG or SVG file, whole or not at all.

    With a `width` the whole figure is scaled, text and lines too, so that nothing is cut and nothing collides that did
    not before. A PDF holds its fonts.

    Args:
        path: the file.
        figure: a figure of this package; it is left as it was.
        width: in inches, such as 3.25 for a column of a paper or 6.75 for a page; by default its own.
        format: "pdf", "png" or "svg"; by default the path's ending.

    Returns:
        The path written.

    Raises:
        ValueError: another format, or a width that is not above zero.
    """
    kind = (format or Path(path).suffix.removeprefix(".")).lower()
    if kind not in _FORMATS:
        named = f"format {format!r}" if format else f"{os.fspath(path)!r}"
        raise ValueError(f"path: expected an ending .pdf, .png or .svg, got {named}; choose one of these")
    if width is not None and not 0 < width < math.inf:
        raise ValueError(f"width: expected inches above zero, got {width}; as 3.25")
    with scaled_to(figure, width):
        if kind == "svg":
            return write_text(path, to_svg(figure))
        buffer = io.BytesIO()
        with drawing():
            # Paper white below, since a file cannot follow the page; no version or date: equal figures are equal.
            told = ("Software",) if kind == "png" else ("Creator", "Producer", "CreationDate")
            figure.savefig(buffer, format=kind, dpi=300, facecolor="white", metadata=dict.fromkeys(told))
    return write_bytes(path, buffer.getvalue())


def _restyle(tag: str, prefix: str) -> str:
    tag = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{prefix}-", tag)
    tag = re.sub(rf"(fill|stroke): {INK}", r"\1: currentColor", tag)
    tag = re.sub(r"font-family: [^;\"]*; ?", "", tag)
    tag = re.sub(r' transform="rotate\(-0 [^"]*\)"', "", tag)
    return re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number.group()):.2f}".rstrip("0").rstrip("."), tag)
