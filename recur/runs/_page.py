"""What a run leaves to look at: pictures, texts, and one page with all of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recur import report
from recur.runs._config import CellConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write(
    workdir: Path,
    title: str,
    config: CellConfig,
    outline: str,
    summary: Mapping[str, Any],
    sections: Mapping[str, Mapping[str, "Figure | Sequence[str]"]],
) -> None:
    """Writes every figure as NAME.png and every text as NAME.txt, and all of them in ``index.html``.

    Args:
        workdir: Folder of the run.
        title: Heading of the page.
        config: Its options, listed at the end.
        outline: The model in a line.
        summary: What `_folder.write_summary` returned.
        sections: By heading, what stands below it: figures and lines of text by name.
    """
    page = report.Page(title, outline)
    page.heading("Numbers")
    spreads = ("median", "min", "max")
    page.table([{"metric": name, **{key: m[key] for key in spreads}} for name, m in summary["metrics"].items()])
    for heading, entries in sections.items():
        if not entries:
            continue
        page.heading(heading)
        for name, entry in entries.items():
            if is_text(entry):
                report.write_text(workdir / f"{name}.txt", "".join(f"{line}\n" for line in entry))
                page.text(name)
                page.items(entry)
            else:
                report.save_figure(workdir / f"{name}.png", entry)
                page.figure(report.to_svg(entry))
    page.heading("Options")
    page.table([{"option": name, "value": str(value)} for name, value in config.options().items()])
    page.write(workdir / "index.html")


def is_text(entry: Any) -> bool:
    """Returns whether an entry of a page is lines of text, and not a figure."""
    return isinstance(entry, (list, tuple))
