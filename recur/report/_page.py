"""One self-contained HTML page: works without network, in light and dark, on a telephone and on paper."""

import base64
import hashlib
import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recur._files import write_text
from recur.report._page_script import SCRIPT
from recur.report._tables import html_table

_STYLE = """\
:root { color-scheme: light dark; --ink: #1b1f25; --soft: #59626e; --ground: #fff; --line: #d5d9df; --tint: #f4f6f8;
  --link: #1f66b0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --soft: #a0a9b5; --ground: #14171a; --line: #3a414a; --tint: #1d2126; --link: #7fb4ee; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem clamp(0.75rem, 3vw, 2.5rem) 4rem; max-width: 96rem; color: var(--ink);
  background: var(--ground); font: 1rem/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: clamp(1.4rem, 4vw, 2rem); line-height: 1.2; margin: 0.5rem 0; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 0.5rem; padding-top: 0.75rem; border-top: 1px solid var(--line); }
h1, h2, p, li, td { overflow-wrap: break-word; }
p, ul { max-width: 72ch; margin: 0.6rem 0; }
ul { padding-left: 1.2rem; }
.measured { color: var(--soft); max-width: none; }
nav { color: var(--soft); font-size: 0.9rem; }
nav a { color: var(--link); margin-right: 1rem; display: inline-block; padding: 0.2rem 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 27rem), 1fr)); gap: 1.5rem;
  align-items: start; margin: 1rem 0; }
figure { margin: 0; max-width: 38rem; break-inside: avoid; }
figure svg { display: block; width: 100%; height: auto; }
figcaption, .caption { color: var(--soft); font-size: 0.9rem; }
figcaption { margin-top: 0.4rem; }
figcaption p { margin: 0; }
details > summary { cursor: pointer; color: var(--link); }
details.section > summary h2 { display: inline-block; color: var(--ink); margin: 1rem 0 0.25rem; border: 0; }
details.section { border-top: 1px solid var(--line); }
summary:focus-visible, .save button:focus-visible { outline: 2px solid var(--link); }
.save { margin: 0.2rem 0; }
.save button { all: unset; cursor: pointer; color: var(--link); font-size: 0.8rem; margin-right: 0.8rem; }
figcaption ul { margin: 0.4rem 0 0; color: var(--ink); }
.caption { margin: 1.2rem 0 0.4rem; }
.scroll { overflow-x: auto; margin: 0 0 1rem; }
table { border-collapse: separate; border-spacing: 0; width: max-content; font-size: 0.88rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: 0.35rem 0.6rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
td { max-width: 15rem; }
th:first-child, td:first-child { position: sticky; left: 0; max-width: 10rem; background: var(--ground); }
thead th, thead th:first-child { background: var(--tint); vertical-align: bottom; }
@media (min-width: 60rem) {
  table { max-width: 100%; }
  td { max-width: 22rem; }
  td:last-child:not(.number) { min-width: 16rem; }
}
tbody tr:hover > td { background: var(--tint); }
.number { text-align: right; white-space: nowrap; }
th.number { max-width: 7.5rem; white-space: normal; }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid var(--link); }
th[aria-sort="ascending"] button::after { content: " ▲"; }
th[aria-sort="descending"] button::after { content: " ▼"; }
@media print {
  :root { --ink: #000; --soft: #333; --ground: #fff; --line: #999; --tint: #fff; color-scheme: light; }
  body { padding: 0; max-width: none; font-size: 10pt; }
  nav, .save { display: none; }
  .scroll { overflow: visible; }
  table { width: auto; font-size: 8pt; }
  th, td { padding: 0.2rem 0.4rem; }
  .number { white-space: normal; }
  .figures { grid-template-columns: 1fr 1fr; gap: 1rem; }
  figcaption, .caption { font-size: 8pt; line-height: 1.35; }
  h2 { break-after: avoid; }
  tr { break-inside: avoid; }
}
"""


class Page:
    """Collects headings, sentences, figures and tables, and writes them as one HTML file.

    Text that comes in is escaped, wherever it comes from. The file loads nothing: styles, script and figures are in
    it, and its content policy forbids the rest.
    """

    def __init__(self, title: str, lead: str = "", *, measured: Sequence[str] = ()):
        """Starts a page.

        Args:
            title: heading of the page and name of its window.
            lead: a paragraph below the heading.
            measured: lines that say what was measured, right below the heading.
        """
        self._title = title
        self._measured = [line for line in measured if line]
        self._lead = lead
        self._headings: list[str] = []
        self._parts: list[str] = []
        self._figures: list[str] = []
        self._folded = False

    def heading(self, text: str, *, folded: bool = False) -> None:
        """Starts a section.

        Args:
            text: its heading.
            folded: whether the section is closed until one clicks on its heading, or on a link to it; it is printed
                all the same.
        """
        self._close()
        self._headings.append(text)
        name, head = f"section-{len(self._headings)}", html.escape(text)
        self._folded = folded
        if folded:
            self._add(f'<details class="section" id="{name}">\n<summary><h2>{head}</h2></summary>')
        else:
            self._add(f'<h2 id="{name}">{head}</h2>')

    def _close(self) -> None:
        if self._folded:
            self._add("</details>")
            self._folded = False

    def text(self, text: str) -> None:
        """Adds a paragraph.

        Args:
            text: plain words.
        """
        self._add(f"<p>{html.escape(text)}</p>")

    def items(self, texts: Sequence[str], *, folded: str = "") -> None:
        """Adds a list of sentences.

        Args:
            texts: plain words, one entry each.
            folded: what to click on to see them; without it they stand open.
        """
        listed = "<ul>\n" + "\n".join(f"<li>{html.escape(text)}</li>" for text in texts) + "\n</ul>"
        self._add(f"<details><summary>{html.escape(folded)}</summary>\n{listed}\n</details>" if folded else listed)

    def figure(self, svg: str, caption: str = "", notes: Sequence[str] = ()) -> None:
        """Adds a figure; figures that follow one another stand side by side where the page is wide enough.

        Args:
            svg: what `to_svg` gives. It is put in as it is.
            caption: plain words below it.
            notes: sentences below the caption, one entry each.
        """
        below = f"<p>{html.escape(caption)}</p>" if caption else ""
        if notes:
            listed = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
            below += f"<details><summary>In numbers</summary><ul>{listed}</ul></details>"
        below = below and f"<figcaption>{below}</figcaption>"
        self._figures.append(f"<figure>{svg}{below}</figure>")

    def table(self, rows: Sequence[Mapping[str, Any]], caption: str = "") -> None:
        """Adds a table that sorts by a click on a header.

        Args:
            rows: as in `html_table`.
            caption: plain words above it.
        """
        self._add(html_table(rows, caption))

    def render(self) -> str:
        """Composes the page.

        Returns:
            The whole HTML document.
        """
        self._close()
        self._flush_figures()
        # Only this very script may run, even if something else slipped in.
        digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
        policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
        links = "\n".join(
            f'<a href="#section-{number}">{html.escape(text)}</a>'
            for number, text in enumerate(self._headings, start=1)
        )
        title = html.escape(self._title)
        lead = f"<p>{html.escape(self._lead)}</p>\n" if self._lead else ""
        lines = "".join(f'<p class="measured">{html.escape(line)}</p>\n' for line in self._measured)
        parts = "\n".join(self._parts)
        return (
            f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{title}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n"
            f'<h1>{title}</h1>\n{lines}{lead}<nav aria-label="Sections">{links}</nav>\n<main>\n{parts}\n</main>\n'
            f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
        )

    def write(self, path: str | os.PathLike) -> Path:
        """Writes the page to a file, whole or not at all.

        Args:
            path: the file.

        Returns:
            The path written.

        Raises:
            OSError: the folder cannot be written.
        """
        return write_text(path, self.render())

    def _add(self, part: str) -> None:
        self._flush_figures()
        self._parts.append(part)

    def _flush_figures(self) -> None:
        if self._figures:
            self._parts.append('<div class="figures">\n' + "\n".join(self._figures) + "\n</div>")
            self._figures = []
