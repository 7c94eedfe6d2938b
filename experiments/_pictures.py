"""Pictures of what was said, of what each word of a translation looked at, and of condition numbers by lag."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from recur import report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 8
EAST_ASIA = "\u2e80"


def captioned(images: Float[np.ndarray, "N H W"], captions: Sequence[str], title: str) -> "Figure":
    """Draws images in rows of eight, each above its caption."""
    figure, rows = _figure(), -(-len(images) // COLUMNS)
    figure.set_size_inches(0.95 * COLUMNS, 1.15 * rows + 0.4)
    figure.suptitle(title, fontsize=9)
    for panel in figure.subplots(rows, COLUMNS, squeeze=False).ravel():
        panel.set_axis_off()
    for panel, image, caption in zip(figure.axes, images, captions, strict=False):
        panel.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        panel.set_title(caption, fontsize=8, y=-0.25)
    return figure


def attention(
    weights: Sequence[Float[np.ndarray, "T S"]], sources: Sequence[Sequence[str]], targets: Sequence[Sequence[str]]
) -> "Figure":
    """Draws the attention of translations, one below the other: a row a target word, a column a source word."""
    figure = _figure()
    heights = [len(target) for target in targets]
    widest = max(len(source) for source in sources)
    figure.set_size_inches(max(4.5, 0.32 * widest + 1.6), 0.24 * sum(heights) + 1.1 * len(heights) + 0.4)
    figure.suptitle("Where each word of the translation looks", fontsize=9)
    panels = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights).ravel()
    for panel, seen, source, target in zip(panels, weights, sources, targets, strict=True):
        source, target = ([_legible(word) for word in words] for words in (source, target))
        panel.imshow(seen, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        panel.set_xticks(range(seen.shape[1]), source, rotation=60, ha="right", rotation_mode="anchor", fontsize=7)
        panel.set_yticks(range(seen.shape[0]), target, fontsize=7)
        panel.grid(False)
        panel.set_ylabel("translation", fontsize=8)
    panels[-1].set_xlabel("words of the source", fontsize=8)
    bar = figure.colorbar(panels[0].images[0], ax=panels, fraction=0.03, pad=0.02, aspect=40)
    bar.set_label("weight", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def condition_number(
    before: Float[np.ndarray, "S L"], after: Float[np.ndarray, "S L"], lags: Sequence[int], cell: str, subtitle: str
) -> "Figure":
    """Draws the logarithm of a condition number by lag, before and after training."""
    return report.loss_curves(
        {"before": (lags, before), "after": (lags, after)},
        title=f"flossing: condition number of the long-term Jacobian of {cell}",
        subtitle=subtitle,
        x_label="lag, steps",
        y_label="ln (largest / smallest singular value)",
        y_scale="linear",
    )


def _legible(word: str) -> str:
    """Returns a word with squares for what matplotlib's own font has not: it ends before the scripts of East Asia."""
    return "".join(character if character < EAST_ASIA else "\N{WHITE SQUARE}" for character in word)


def _figure() -> "Figure":
    from matplotlib.figure import Figure

    return Figure(layout="constrained")
