"""What a row of the plot table is, and the records of one plot in the form that drawings and words need."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from recur.report._series import FIELDS, clean, differing, name_of

Record = Mapping[str, Any]

LN10 = math.log(10.0)
SHAPES = {"lines": "series", "histogram": "series", "heatmap": "matrix", "scatter": "points"}
# Characters of a label that are kept.
_LABEL = 100


class Line(NamedTuple):
    """One series, with natural logarithms as they were recorded.

    Args:
        label: its name in the legend and in sentences; no other line of the plot has it.
        x: [N] ascending.
        y: [N] medians.
        band: 10th and 90th percentile, [N] each; None where only medians were recorded.
        record: what else is known of it.
    """

    label: str
    x: np.ndarray
    y: np.ndarray
    band: tuple[np.ndarray, np.ndarray] | None
    record: Record


class PlotData(NamedTuple):
    """The records of one plot.

    Args:
        lines: measured series.
        references: series of theory, drawn dashed.
        matrices: heatmaps.
        points: scatters.
        numbers: single values that the words speak of.
    """

    lines: Sequence[Line]
    references: Sequence[Line]
    matrices: Sequence[Record]
    points: Sequence[Record]
    numbers: Sequence[Record]


@dataclass(frozen=True)
class Plot:
    """A row of the plot table: all that is particular to one plot.

    Args:
        title: heading above the plot.
        section: heading of the page that it stands under.
        x_label: axis label with its unit.
        y_label: likewise; of a heatmap, what its colours mean stands in `color_label`.
        caption: what is seen and how to read it.
        words: makes plain sentences from the numbers.
        shape: "lines", "histogram", "heatmap" or "scatter".
        x_scale: "linear" or "log".
        y_scale: "linear"; "log" for plain values on a logarithmic axis; "decades" for recorded natural logarithms,
            shown as powers of ten.
        split: a field of the records; each of its values has a figure of its own.
        hue: fields that choose the colour of a line; by default those that name a cell.
        dash: fields that choose the dash of a line.
        level: where a thin line marks a value of note, in recorded units.
        x_of: turns recorded positions into those drawn.
        unmeasured: what a value that is not a number or -inf means in this plot; by default the line ends with a mark.
        layered: lines cover each other, so that the first ones are drawn broad and pale.
        color_label: of a heatmap.
        x_word: what a position is called where a line ends with a mark.
        spoken: how the names of those numbers begin that `words` speaks of; the others are told as they are.
        mark: finds a position to be marked by a dotted line, and what it is called in the legend.
        lowest: where the y axis ends at the latest, in recorded units; lines go on below it, out of sight.
        y_range: what a linear y axis shows at least.
    """

    title: str
    section: str
    x_label: str
    y_label: str
    caption: str
    words: Callable[[PlotData], list[str]]
    shape: Literal["lines", "histogram", "heatmap", "scatter"] = "lines"
    x_scale: Literal["linear", "log"] = "linear"
    y_scale: Literal["linear", "log", "decades"] = "linear"
    split: str | None = None
    hue: tuple[str, ...] = ()
    dash: tuple[str, ...] = ("run", "state")
    level: float | None = None
    x_of: Callable[[np.ndarray], np.ndarray] | None = None
    unmeasured: str | None = None
    layered: bool = False
    color_label: str = ""
    x_word: str = "lag"
    spoken: tuple[str, ...] = ()
    mark: Callable[[PlotData], tuple[float, str] | None] | None = None
    lowest: float | None = None
    y_range: tuple[float, float] | None = None

    @property
    def kind(self) -> str:
        """Kind of the records that it draws."""
        return SHAPES[self.shape]


def collect(records: Sequence[Record], part: Any = None) -> PlotData:
    """Sorts the records of one figure.

    Args:
        records: of kinds "series", "matrix", "points" and "number", all of one plot.
        part: what the heading of the figure says already, and its labels need not say again.

    Returns:
        The records by kind. A reference that several runs share stands there once.
    """
    kinds: dict[str, list[Record]] = {kind: [] for kind in ("series", "matrix", "points", "number")}
    for record in records:
        if part is not None and "label" in record:
            label = re.sub(rf"^{re.escape(str(part))}(, |: | )", "", str(record["label"]))
            record = {**record, "label": label}
        kinds[record["kind"]].append(record)
    measured = [record for record in kinds["series"] if not record.get("reference")]
    references = {
        repr((record["label"], record.get("cell"), record["x"], record["median"])): record
        for record in kinds["series"]
        if record.get("reference")
    }
    return PlotData(
        _lines(measured),
        _lines(list(references.values())),
        _labelled(kinds["matrix"]),
        _labelled(kinds["points"]),
        kinds["number"],
    )


def _labelled(records: Sequence[Record]) -> list[Record]:
    return [{**record, "label": label} for record, label in zip(records, labels_of(records), strict=True)]


def _lines(records: Sequence[Record]) -> list[Line]:
    lines = []
    for record, label in zip(records, labels_of(records), strict=True):
        x = np.asarray(record["x"], np.float64)
        order = np.argsort(x, kind="stable")
        values = {key: np.asarray(record[key], np.float64)[order] for key in ("median", "p10", "p90") if key in record}
        band = (values["p10"], values["p90"]) if {"p10", "p90"} <= set(values) else None
        lines.append(Line(label, x[order], values["median"], band, record))
    return lines


def labels_of(records: Sequence[Record]) -> list[str]:
    """Gives every record a label that no other one has.

    Args:
        records: each with `label`; several may share one.

    Returns:
        The labels in one printable line each, with the run where there are several, and with what sets look-alikes
        apart.
    """
    runs = len({record.get("run") for record in records}) > 1
    labels = []
    for record in records:
        alike = [other for other in records if str(other["label"]) == str(record["label"])]
        fields = {*(differing(alike) if len(alike) > 1 else ()), *(("run",) if runs else ())}
        more = name_of(record, [f for f in FIELDS if f in fields and name_of(record, [f]) not in str(record["label"])])
        labels.append(", ".join(filter(None, (clean(record["label"], _LABEL), more))))
    return [
        label if labels.count(label) == 1 else f"{label} ({labels[: index + 1].count(label)})"
        for index, label in enumerate(labels)
    ]
