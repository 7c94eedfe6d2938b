"""Lines of text with a label each: one file a class, or labels before the text."""

import os
import pathlib
from typing import NamedTuple

from recur._checks import as_path
from recur.tasks._lines import read_lines


class Labelled(NamedTuple):
    """Texts and their labels.

    Args:
        texts: The texts.
        labels: One label a text.
    """

    texts: list[str]
    labels: list[str]


def read_labelled(path: str | os.PathLike) -> Labelled:
    r"""Reads labelled lines.

    A folder has one file a class, whose ending is the label: ``rt-polarity.neg`` and ``rt-polarity.pos`` hold a text
    in every line. They come class by class in the order of the labels. Hidden files, README and LICENSE are no class.
    A file has ``label<TAB>text`` in every line.

    Raises:
        ValueError: A path that cannot be read, an empty file or line, a line without a tab, two files of one class,
            or texts of one class only; file and line are named.
    """
    path = as_path("path", path)
    texts, labels = _folder(path) if path.is_dir() else _table(path)
    if len(set(labels)) < 2:
        raise ValueError(
            f"data: expected texts of at least two classes, got only {labels[0]!r} in {path}; add the other classes"
        )
    return Labelled(texts, labels)


def _folder(path: pathlib.Path) -> tuple[list[str], list[str]]:
    files: dict[str, pathlib.Path] = {}
    for file in sorted(path.iterdir()):
        if file.name.startswith((".", "README", "LICENSE")) or not file.is_file():
            continue
        label = file.suffix[1:]
        if not label:
            raise ValueError(f"data: expected files named by their class, as in reviews.pos, got {file.name} in {path}")
        if label in files:
            raise ValueError(
                f"data: expected one file a class, got {files[label].name} and {file.name} in {path}; join them"
            )
        files[label] = file
    if not files:
        raise ValueError(f"data: expected files named by their class, as in reviews.pos, got none in {path}")
    texts, labels = [], []
    for label in sorted(files):
        lines = read_lines(files[label])
        texts += lines
        labels += [label] * len(lines)
    return texts, labels


def _table(path: pathlib.Path) -> tuple[list[str], list[str]]:
    texts, labels = [], []
    for number, line in enumerate(read_lines(path), start=1):
        label, tab, text = line.partition("\t")
        if not (label.strip() and tab and text.strip()):
            raise ValueError(f"data: expected label<TAB>text, got {line[:60]!r} in line {number} of {path}")
        labels.append(label.strip())
        texts.append(text.strip())
    return texts, labels
