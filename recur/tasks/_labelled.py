"""Texts with a label each: files or folders named by their class, or lines that hold both."""

import collections
import fnmatch
import os
import pathlib
from typing import NamedTuple

from recur._checks import as_path, check_positive
from recur.tasks._lines import read_lines
from recur.tasks._text import read_text

_FASTTEXT = "__label__"
# What people and systems leave in folders of data.
_NO_DATA = (
    *(".*", "*~", "#*#", "*.bak", "*.orig", "*.old", "*.swp", "*.tmp", "*.ini", "*.db", "*.log", "*.md", "*.rst"),
    *("readme*", "licen[sc]e*", "copying*", "notice*", "changelog*", "citation*", "authors*", "__macosx", "icon\r"),
)
# Texts that have no label, in data sets such as aclImdb.
_UNLABELLED = ("unsup", "unsupervised", "unlabeled", "unlabelled")
_LABEL_HEADS = frozenset(("label", "labels", "class", "category", "sentiment", "target", "polarity", "tag"))
_TEXT_HEADS = frozenset(
    ("text", "texts", "sentence", "review", "content", "document", "message", "comment", "phrase", "tweet", "body")
)


class Labelled(NamedTuple):
    """Texts and their labels.

    Args:
        texts: The texts.
        labels: One label a text.
    """

    texts: list[str]
    labels: list[str]


def read_labelled(path: str | os.PathLike, *, least_classes: int = 2) -> Labelled:
    r"""Reads labelled texts.

    - A folder with one file a class, whose ending is the label: ``rt-polarity.neg`` and ``rt-polarity.pos`` hold a
      text in every line.
    - A folder with one folder a class, which holds a text in every file: ``aclImdb/train/pos/0_9.txt``. What lies
      beside these folders is no text, and neither is a folder ``unsup`` of texts without labels.
    - A file with ``label<TAB>text`` in every line. A first line such as ``label<TAB>text``, or ``text<TAB>label``, is
      a header, which says the order.
    - A file with ``__label__NAME text`` in every line, as fastText reads it.

    From folders texts come class by class in the order of the labels. What people and systems leave there is no
    class: hidden files, README and LICENSE, backups (``~``, ``.bak``), ``.md``, ``desktop.ini``, ``Thumbs.db``.

    Args:
        path: The folder or file.
        least_classes: How many classes there must be; 1 for data to evaluate on.

    Raises:
        TypeError: `least_classes` is not whole.
        ValueError: A path that cannot be read, an empty file or line, a line without a tab, two files of one class,
            files whose names differ by more than their class, columns that are swapped, several labels in a line, or
            too few classes; file and line are named.
    """
    path = as_path("path", path)
    check_positive("least_classes", least_classes)
    texts, labels = _folder(path) if path.is_dir() else _file(path)
    if len(set(labels)) < least_classes:
        wanted = "two" if least_classes == 2 else least_classes
        raise ValueError(
            f"data: expected texts of at least {wanted} classes, got only {', '.join(map(repr, sorted(set(labels))))} "
            f"in {path}; add the other classes, or say least_classes="
        )
    return Labelled(texts, labels)


def _folder(path: pathlib.Path) -> tuple[list[str], list[str]]:
    found = [file for file in sorted(path.iterdir()) if not _is_no_data(file.name)]
    folders = [folder for folder in found if folder.is_dir() and folder.name.lower() not in _UNLABELLED]
    if folders:
        pairs = [(read_text(file).strip(), folder.name) for folder in folders for file in _texts(folder)]
        empty = next((n for n, (text, _) in enumerate(pairs) if not text), None)
        if empty is not None:
            raise ValueError(f"data: expected text in every file, got one of white space in {path}/{pairs[empty][1]}")
    else:
        files = _files_of_classes(path, [file for file in found if not file.is_dir()])
        pairs = [(line, label) for label in sorted(files) for line in read_lines(files[label])]
    return [text for text, _ in pairs], [label for _, label in pairs]


def _texts(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files of a folder of one class."""
    files = [file for file in sorted(folder.iterdir()) if not _is_no_data(file.name)]
    inner = next((file.name for file in files if file.is_dir()), None)
    if inner is not None or not files:
        found = "none" if inner is None else f"the folder {inner}; give the folder that holds the classes"
        raise ValueError(f"data: expected files of one text each in {folder}, got {found}")
    return files


def _files_of_classes(path: pathlib.Path, found: list[pathlib.Path]) -> dict[str, pathlib.Path]:
    files: dict[str, pathlib.Path] = {}
    for file in found:
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
    other = next((file for file in found if file.stem != found[0].stem), None)
    if other is not None:
        raise ValueError(
            f"data: expected files that differ by their class alone, as reviews.pos and reviews.neg, got "
            f"{found[0].name} and {other.name} in {path}; rename them, or move out what is no class"
        )
    return files


def _file(path: pathlib.Path) -> tuple[list[str], list[str]]:
    lines = read_lines(path)
    if lines[0].startswith(_FASTTEXT):
        pairs = [_fasttext(line, f"line {number} of {path}") for number, line in enumerate(lines, start=1)]
        return [text for text, _ in pairs], [label for _, label in pairs]
    labels, texts = [], []
    for number, line in enumerate(lines, start=1):
        label, tab, text = line.partition("\t")
        if not (label.strip() and tab and text.strip()):
            raise ValueError(f"data: expected label<TAB>text, got {line[:60]!r} in line {number} of {path}")
        labels.append(label.strip())
        texts.append(text.strip())
    heads = labels[0].lower(), texts[0].lower()
    if heads[0] in _TEXT_HEADS and heads[1] in _LABEL_HEADS:
        labels, texts = texts, labels
    elif not (heads[0] in _LABEL_HEADS and heads[1] in _TEXT_HEADS):
        _check_columns(labels, texts, path)
        return texts, labels
    if len(texts) == 1:
        raise ValueError(f"data: expected texts after the header, got none in {path}")
    return texts[1:], labels[1:]


def _check_columns(labels: list[str], texts: list[str], path: pathlib.Path) -> None:
    """Raises ValueError where the first line looks like a header, or the columns seem to be swapped."""
    counts = collections.Counter(labels)
    if counts[labels[0]] == 1 and (labels[0].lower() in _LABEL_HEADS or texts[0].lower() in _TEXT_HEADS):
        raise ValueError(
            f"data: expected label<TAB>text, got the header {labels[0]!r} and {texts[0][:60]!r} in line 1 of {path}; "
            "remove it, or name the columns label and text"
        )
    if (len(labels) > 2 and len(counts) > len(set(texts))) or (len(labels) >= 10 and len(counts) > len(labels) / 2):
        raise ValueError(
            f"data: expected few labels for many texts, got {len(counts)} labels in {len(labels)} lines of {path}; "
            "the label comes first, then a tab and the text"
        )


def _fasttext(line: str, where: str) -> tuple[str, str]:
    """Returns text and label of a line of fastText's format."""
    label, _, text = line.partition(" ") if "\t" not in line.split(" ")[0] else line.partition("\t")
    text = text.strip()
    if not label.startswith(_FASTTEXT) or label == _FASTTEXT or not text or text.startswith(_FASTTEXT):
        raise ValueError(f"data: expected {_FASTTEXT}NAME and a text, one label a line, got {line[:60]!r} in {where}")
    return text, label.removeprefix(_FASTTEXT)


def _is_no_data(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name.lower(), pattern) for pattern in _NO_DATA)
