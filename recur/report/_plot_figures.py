"""The figures and sentences of the plot table, drawn from records."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from recur.report._heatmap import heatmap_figure
from recur.report._not_measured import not_measured
from recur.report._numbers import told
from recur.report._plot_data import Line, Plot, PlotData, Record, collect
from recur.report._plot_table import PLOTS
from recur.report._scatter import scatter_figure
from recur.report._series import FIELDS, clean, differing, name_of
from recur.report._shapes import Styled, histogram_figure, line_figure
from recur.report._style import COLORS, line_style, reference_style
from recur.report._svg import to_svg
from recur.report._words import few

# Fields that tell one curve of a cell from another, and are no part of the cell's name.
_NOT_THE_CELL = ("length", "tensor", "run", "state", "task")
# A theory for each of more lines than this shares one entry of the legend.
_MOST_REFERENCES = 3


class Drawn(NamedTuple):
    """A figure of the report."""

    key: str
    file: str
    title: str
    svg: str
    caption: str
    sentences: Sequence[str] = ()


class Hues:
    """The colour of every cell, the same in all plots of a page."""

    def __init__(self, measured: Sequence[Record], others: Sequence[Record] = ()):
        """Gives colours in the order of the records.

        Args:
            measured: lag curves, norms and verdicts; what sets their cells apart makes up the names of cells.
            others: records that may be of further cells.
        """
        # What sets two runs apart is told by the dash; what sets cells of one run apart, by the colour.
        runs: dict[Any, list[Record]] = {}
        for record in measured:
            runs.setdefault(record.get("run"), []).append(record)
        fields = [field for own in runs.values() for field in differing(own, leave_out=_NOT_THE_CELL)]
        self._fields = tuple(field for field in FIELDS if field in fields) or ("cell",)
        self._order: dict[str, int] = {}
        for record in measured:
            self._order.setdefault(name_of(record, self._fields), len(self._order))
        for record in others:
            if record.get("cell") is not None and self.index(record) is None:
                self._order[name_of(record, self._fields)] = len(self._order)

    def index(self, record: Record) -> int | None:
        """Finds the place of a record's cell.

        Args:
            record: any record.

        Returns:
            Its number, None where it is of no known cell.
        """
        name = name_of(record, self._fields)
        if name in self._order:
            return self._order[name]
        # Other circumstances than those that name cells here; the first of that cell lends its colour.
        cell = clean(record.get("cell"))
        return next((index for known, index in self._order.items() if known.split(", ")[0] == cell), None)

    def styles(self, records: Sequence[Record], fields: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Gives the line of every name: colours tell cells apart, dashes tell runs apart.

        Args:
            records: measured ones.
            fields: the fields that make up a name.

        Returns:
            Name to keyword arguments of a line.
        """
        runs = list(dict.fromkeys(record.get("run") for record in records))
        return {name_of(r, fields): line_style(self.index(r) or 0, runs.index(r.get("run"))) for r in records}


def draw_plot(key: str, records: Sequence[Record], hues: Hues) -> list[Drawn]:
    """Draws one plot of the table.

    Args:
        key: of `PLOTS`.
        records: all of that plot, of kinds "series", "matrix", "points", "number" and "skipped".
        hues: colours of the cells.

    Returns:
        Its figures; several where it is split. The caption stands below the first one.
    """
    plot = PLOTS[key]
    groups: dict[Any, list[Record]] = {}
    skipped = [record for record in records if record["kind"] == "skipped"]
    numbers = [record for record in records if record["kind"] == "number"]
    own_kind = [record for record in records if record["kind"] == plot.kind]
    for record in sorted(own_kind, key=lambda record: bool(record.get("reference"))):
        part = _part(plot, record)
        # A theory of no part in particular stands in every figure.
        everywhere = record.get("reference") and groups and part not in groups
        for chosen in list(groups) if everywhere else [part]:
            groups.setdefault(chosen, []).append(record)
    drawn = []
    for part, group in groups.items():
        own = [number for number in numbers if _part(plot, number) == part]
        if part == next(iter(groups)):
            own += [number for number in numbers if _part(plot, number) not in groups]
        data = collect([*group, *own], part)
        title = f"{clean(part)}: {_lower(plot.title)}" if part is not None else plot.title
        name = key if len(groups) == 1 or part is None else f"{key}_{slug(part, list(groups))}"
        sentences = few(plot.words(data))
        rest = [number for number in data.numbers if not str(number["name"]).startswith(plot.spoken)]
        tasks = {number.get("task") for number in data.numbers}
        sentences += few(told(rest, ("label", "cell", *(("task",) if len(tasks) > 1 else ()), "run")))
        if part == next(iter(groups)):
            sentences += few(not_measured(skipped))
        for index, figure in enumerate(_figures(plot, data, hues, title)):
            file = f"{name}.svg" if not index else f"{name}_{index + 1}.svg"
            caption = "" if drawn else _caption(plot, data)
            drawn.append(Drawn(key, file, title, to_svg(figure), caption, sentences if not index else ()))
    return drawn


def _part(plot: Plot, record: Record) -> Any:
    return record.get(plot.split) if plot.split else None


def _figures(plot: Plot, data: PlotData, hues: Hues, title: str):
    if plot.shape == "heatmap":
        for record in data.matrices:
            own = title if len(data.matrices) == 1 else f"{record['label']}: {_lower(plot.title)}"
            yield heatmap_figure(plot, record, title=own, subtitle=_shared([record], plot))
    elif plot.shape == "scatter":
        yield scatter_figure(plot, data.points, title=title, subtitle=_shared(data.points, plot))
    else:
        subtitle = _shared([line.record for line in data.lines or data.references], plot)
        measured = _styled(plot, data.lines, hues)
        if plot.shape == "histogram":
            yield histogram_figure(plot, measured, title=title, subtitle=subtitle)
        else:
            references = _styled_references(data, measured)
            mark = plot.mark(data) if plot.mark else None
            yield line_figure(plot, measured, references, mark=mark, title=title, subtitle=subtitle)


def _styled(plot: Plot, lines: Sequence[Line], hues: Hues) -> list[Styled]:
    """Gives each line a colour by its cell and a dash by its run and state, or a colour of its own if that is not
    enough to keep lines apart.
    """
    dashes = list(dict.fromkeys(_values(line, plot.dash) for line in lines))
    # After training is what one looks for: it gets the solid line.
    dashes.sort(key=lambda values: "init" in values)
    if plot.hue and all(set(plot.hue) <= set(line.record) for line in lines):
        chosen = [_values(line, plot.hue) for line in lines]
        order = list(dict.fromkeys(chosen))
        places: list[int | None] = [order.index(values) for values in chosen]
    else:
        places = [hues.index(line.record) for line in lines]
    looks = list(zip(places, (_values(line, plot.dash) for line in lines), strict=True))
    if None in places or len(set(looks)) < len(looks):
        names = list(dict.fromkeys(line.record["label"] for line in lines))
        places = [names.index(line.record["label"]) for line in lines]
    styled = []
    for line, place in zip(lines, places, strict=True):
        styled.append(Styled(line, line_style(place, dashes.index(_values(line, plot.dash)))))
    return styled


def _styled_references(data: PlotData, measured: Sequence[Styled]) -> list[Styled]:
    """Draws theory in the colour of the text, or in that of the one line that it is the theory of."""
    styled = []
    for index, form in enumerate(data.references):
        keys = [key for key in FIELDS if form.record.get(key) is not None]
        own = [entry for entry in measured if all(form.record[key] == entry.line.record.get(key) for key in keys)]
        style = dict(reference_style(index))
        if "cell" in keys and len(own) == 1 and len(data.references) > 1:
            style |= {"color": own[0].style["color"], "linestyle": reference_style(0)["linestyle"]}
        styled.append(Styled(form, style))
    coloured = [entry for entry in styled if entry.style["color"] in COLORS]
    if len(coloured) > _MOST_REFERENCES:
        for index, entry in enumerate(styled):
            if entry in coloured:
                label = "theory, same colour" if entry is coloured[0] else "_nolegend_"
                styled[index] = Styled(entry.line._replace(label=label), entry.style)
    return styled


def _values(line: Line, fields: Sequence[str]) -> tuple[Any, ...]:
    return tuple(line.record.get(field) for field in fields)


def _shared(records: Sequence[Record], plot: Plot) -> str:
    """Tells the circumstances that all records share."""
    fields = [
        field for field in FIELDS if field != plot.split and len({repr(record.get(field)) for record in records}) == 1
    ]
    return " · ".join(filter(None, (name_of(records[0], [field]) for field in fields)))


def _caption(plot: Plot, data: PlotData) -> str:
    records = [*(line.record for line in data.lines), *data.matrices, *data.points]
    budgets = {str(record["budget"]) for record in records if "budget" in record}
    more = ["Dashed: closed form or theory."] if data.references else []
    more += [f"Budget: {clean(budgets.pop(), most=200)}."] if len(budgets) == 1 else []
    return " ".join([plot.caption, *more])


def _lower(title: str) -> str:
    return title[0].lower() + title[1:]


def slug(name: Any, names: Sequence[Any]) -> str:
    """Makes a part of a file name.

    Args:
        name: what the file is of.
        names: all such names of its kind, this one among them; its place keeps look-alikes apart.

    Returns:
        Lower-case letters, digits and underscores.
    """
    plain = [re.sub(r"[^a-z0-9]+", "_", str(other).lower()).strip("_")[:60] for other in names]
    index = list(names).index(name)
    return plain[index] if plain[index] and plain.count(plain[index]) == 1 else f"{plain[index]}_{index + 1}".strip("_")
