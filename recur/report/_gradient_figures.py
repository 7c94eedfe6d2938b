"""The figures of the gradient-norm report."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from recur.report._gradient_records import Record, group_by_name
from recur.report._plot_figures import Drawn, slug
from recur.report._plots import lag_curves, parameter_norms
from recur.report._series import clean, name_of
from recur.report._svg import to_svg
from recur.report._words import factor
from recur.report._words_static import reaches

_ADJOINT = (
    "At the state: how strongly the loss at the end pulls at the whole state k steps earlier. Lag 0 is the last "
    "state, where the norm is 1."
)
_INPUT = (
    "At the input: how strongly the loss at the end depends on what came in k steps earlier, through the input weights."
)
_TOTAL = (
    "The norm over all parameters. This plot alone misleads: it mixes all lags. The parameter gradient is a sum over "
    "every step back, and recent steps dominate it, so it can stay flat with the length of the sequence while long "
    "lags vanish. Read it beside the lag curves."
)
# Shortest sequence first: the line of a long one stays visible on top of the short ones that it covers.
_THICK_TO_THIN = ({"linewidth": 7, "alpha": 0.3}, {"linewidth": 3.5, "alpha": 0.5}, {"linewidth": 1.2})

Styles = Mapping[str, Mapping[str, Any]]


def lag_figures(
    curves: Sequence[Record], closed_forms: Sequence[Record], fields: Sequence[str], styles: Styles
) -> list[Drawn]:
    """Draws the lag curves of all cells, each at its longest length: one figure for the state, one for the input.

    Args:
        curves: records of kind "lag_curve".
        closed_forms: records of kind "closed_form"; without a `quantity` they belong to the state.
        fields: the fields that make up a cell's name.
        styles: name to keyword arguments of its line.

    Returns:
        One figure a quantity that was measured.
    """
    drawn = []
    for quantity, caption in (("adjoint", _ADJOINT), ("input", _INPUT)):
        groups = group_by_name((r for r in curves if r["quantity"] == quantity), fields)
        if groups:
            longest = [group[-1] for group in groups.values()]
            forms = [form for form in closed_forms if form.get("quantity", "adjoint") == quantity]
            figure = lag_curves(longest, closed_forms=forms, styles=[styles[name] for name in groups])
            if forms:
                caption += " Dashed: closed forms."
            words = reaches([(name, group[-1]) for name, group in groups.items()])
            title = f"Gradient by lag, {quantity}"
            drawn.append(Drawn(f"lag_{quantity}", f"lag_{quantity}.svg", title, to_svg(figure), caption, words))
    return drawn


def length_figures(curves: Sequence[Record], fields: Sequence[str], styles: Styles) -> list[Drawn]:
    """Draws, for each cell measured at several lengths, its adjoint lag curves over each other.

    Args:
        curves: records of kind "lag_curve".
        fields: the fields that make up a cell's name.
        styles: name to keyword arguments of its line.

    Returns:
        One figure a cell.
    """
    drawn = []
    groups = group_by_name((r for r in curves if r["quantity"] == "adjoint"), fields)
    for name, group in groups.items():
        if len(group) > 1:
            widths = [_THICK_TO_THIN[max(-len(group) + index, -3)] for index in range(len(group))]
            lines = [styles[name] | {"linestyle": "solid"} | width for width in widths]
            title = f"{name}: gradient at the state"
            figure = lag_curves(group, title=title, x_scale="log", styles=lines)
            file, caption = f"lag_adjoint_{slug(name, groups)}.svg", f"{name}, by length."
            words = reaches([(f"length {record['length']}", record) for record in group])
            drawn.append(Drawn("lengths", file, title, to_svg(figure), caption, words))
    return drawn


def parameter_figures(
    norms: Sequence[Record], fields: Sequence[str], styles: Styles, hidden: Sequence[str]
) -> list[Drawn]:
    """Draws parameter gradients by length: all cells over the whole gradient, then each cell by its tensors.

    Args:
        norms: records of kind "parameter_norm".
        fields: the fields that make up a cell's name.
        styles: name to keyword arguments of its line.
        hidden: sentences that say what the norm over all parameters hides.

    Returns:
        The figures; none without records.
    """
    drawn = []
    if totals := [record for record in norms if record["tensor"] == "all"]:
        figure = parameter_norms(totals, styles=[styles[name_of(record, fields)] for record in totals])
        title = "Gradient of the parameters by sequence length"
        drawn.append(Drawn("parameter_norms", "parameter_norms.svg", title, to_svg(figure), _TOTAL, hidden))
    groups = group_by_name((r for r in norms if r["tensor"] != "all"), fields)
    for name, group in groups.items():
        title = f"{name}: gradient by parameter"
        figure = parameter_norms(group, title=title)
        file, caption = f"parameter_norms_{slug(name, groups)}.svg", f"{name}; a colour is a tensor here."
        drawn.append(Drawn("tensors", file, title, to_svg(figure), caption, _largest(group)))
    return drawn


def _largest(norms: Sequence[Record]) -> list[str]:
    """Says which tensor's gradient is largest at the longest length."""
    last = [record for record in norms if record["length"] == norms[-1]["length"]]
    known = sorted((r for r in last if not math.isnan(r["ln_median"])), key=lambda record: record["ln_median"])
    if len(known) < 2:
        return []
    low, high = known[0], known[-1]
    ratio = factor(high["ln_median"] - low["ln_median"]) if math.isfinite(low["ln_median"]) else "infinitely many"
    tensors = f"largest in {clean(high['tensor'])}, {ratio} times that in {clean(low['tensor'])}"
    return [f"at length {high['length']} the gradient is {tensors}"]
