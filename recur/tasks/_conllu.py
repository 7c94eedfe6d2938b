"""Words and their universal part-of-speech tags out of CoNLL-U files."""

import os
import re
from typing import NamedTuple

from recur.tasks._text import read_text

UPOS = (
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM"),
    *("PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"),
)
_COLUMNS = 10
# So many digits as any sentence needs: int() refuses thousands of them.
_ID = re.compile(r"([0-9]{1,9})(?:([-.])([0-9]{1,9}))?")


class Sentence(NamedTuple):
    """A sentence whose words have tags.

    Args:
        words: The words, as they are spelled.
        tags: One tag a word, of `UPOS`.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]


def read_conllu(path: str | os.PathLike) -> list[Sentence]:
    """Reads a CoNLL-U file: of every sentence the words (FORM) and their universal tags (UPOS).

    Syntactic words count: the range line of a multiword token ("1-2 didn't") is skipped, its words "did" and "n't" are
    kept; empty nodes ("8.1") are skipped. Comments are skipped.

    Raises:
        ValueError: A file that cannot be read, holds no sentence, or has a line that is no CoNLL-U: other than 10
            columns, an id out of order, a range whose words do not come, an empty column, a tag that is not universal;
            file and line are named.

    Reference:
        https://universaldependencies.org/format.html, https://universaldependencies.org/u/pos/
    """
    sentences, words, tags = [], [], []
    # The last word that a range has promised, and where.
    promised, promise = 0, ""
    for number, line in enumerate([*read_text(path).split("\n"), ""], start=1):
        if not line.strip():
            if len(words) < promised:
                raise ValueError(
                    f"data: expected words up to {promised}, got {len(words)} after the range in {promise}"
                )
            if words:
                sentences.append(Sentence(tuple(words), tuple(tags)))
            words, tags, promised = [], [], 0
        elif not line.startswith("#"):
            where = f"line {number} of {path}; mend the line"
            word, last = _word(line, len(words), where)
            if last:
                if len(words) < promised:
                    raise ValueError(
                        f"data: expected word {len(words) + 1} of the range before, got a range in {where}"
                    )
                promised, promise = last, where
            if word is not None:
                words.append(word[0])
                tags.append(word[1])
    if not sentences:
        raise ValueError(f"data: expected CoNLL-U sentences, got none in {path}; give a file with words")
    return sentences


def _word(line: str, before: int, where: str) -> tuple[tuple[str, str] | None, int]:
    """Returns word and tag of a line, `before` words into the sentence, None for a range or an empty node.

    Also the last word of a range, otherwise 0.
    """
    columns = line.split("\t")
    if len(columns) != _COLUMNS:
        raise ValueError(f"data: expected {_COLUMNS} columns parted by tabs, got {len(columns)} in {where}")
    if not all(column.strip() for column in columns):
        empty = next(place for place, column in enumerate(columns, start=1) if not column.strip())
        raise ValueError(f"data: expected text or _ in every column, got column {empty} empty in {where}")
    matched = _ID.fullmatch(columns[0])
    if not matched:
        raise ValueError(f"data: expected an id such as 1, 1-2 or 1.1, got {columns[0][:60]!r} in {where}")
    first, kind, last = int(matched[1]), matched[2], int(matched[3] or 0)
    # A range stands before its first word, an empty node after the word it counts from.
    due = before if kind == "." else before + 1
    if first != due or (kind == "-" and last < first):
        raise ValueError(f"data: expected id {before + 1} after {before} words, got {columns[0]!r} in {where}")
    if kind:
        return None, last if kind == "-" else 0
    if columns[3] not in UPOS:
        raise ValueError(f"data: expected a universal tag of {', '.join(UPOS)}, got {columns[3]!r} in {where}")
    return (columns[1].strip(), columns[3]), 0
