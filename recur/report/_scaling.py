"""A figure at another width: everything grows or shrinks with it, so that its layout stays."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextlib.contextmanager
def scaled_to(figure: "Figure", width: float | None) -> Iterator[None]:
    """Scales a figure that is laid out for the length of a ``with`` block.

    Args:
        figure: a figure of this package, whose layout is fixed.
        width: in inches; None leaves it as it is.
    """
    own = figure.get_figwidth()
    if width is None or width == own:
        yield
        return
    _scale(figure, width / own)
    try:
        yield
    finally:
        _scale(figure, own / width)


def _scale(figure: "Figure", factor: float) -> None:
    from matplotlib.collections import Collection
    from matplotlib.legend import Legend
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.text import Text

    figure.set_size_inches(*(factor * figure.get_size_inches()))
    for text in figure.findobj(Text):
        text.set_fontsize(text.get_fontsize() * factor)
    for line in figure.findobj(Line2D):
        line.set_linewidth(line.get_linewidth() * factor)
        line.set_markersize(line.get_markersize() * factor)
    for patch in figure.findobj(Patch):
        patch.set_linewidth(patch.get_linewidth() * factor)
    for collection in figure.findobj(Collection):
        collection.set_linewidth([width * factor for width in collection.get_linewidths()])
    for legend in figure.findobj(Legend):
        # Its paddings are counted in this size.
        legend._fontsize *= factor
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            axis.labelpad *= factor
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                tick.set_pad(tick.get_pad() * factor)
