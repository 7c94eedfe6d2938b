"""The units of a text: characters, words, bytes."""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from recur._checks import as_list, brief, is_one_of

Unit = Literal["characters", "words", "bytes"]
UNITS = ("characters", "words", "bytes")

# A number with its inner points and commas, a word with inner apostrophes and hyphens, a line end, any other sign.
_WORD = re.compile(r"\d+(?:[.,:]\d+)+|\w+(?:['’\-]\w+)*|\n|[^\w\s]")
_NO_SPACE_BEFORE = frozenset(".,:;!?%)]}'’”\n")
_NO_SPACE_AFTER = frozenset("([{“\n")


def split_text(text: str, unit: Unit) -> list[str]:
    r"""Splits a text in its units.

    ``"words"`` are numbers, words with their inner apostrophes and hyphens, line ends, and every other sign for
    itself; white space is dropped. A byte is the character of its number (Latin-1), so that all units are strings, and
    ``Vocabulary(tuple(map(chr, range(256))))`` knows all bytes.

    Raises:
        TypeError: `text` is no string.
        ValueError: Unknown `unit`, or a lone surrogate, which has no bytes.

    Example:
        >>> split_text("It's 1,5 m,\n오늘은 well-known!", "words")
        ["It's", '1,5', 'm', ',', '\n', '오늘은', 'well-known', '!']
        >>> split_text("é", "bytes")
        ['Ã', '©']
    """
    _check_unit(unit)
    if not isinstance(text, str):
        raise TypeError(f"text: expected a string, got {brief(text)}")
    if unit == "characters":
        return list(text)
    if unit == "words":
        return _WORD.findall(text)
    try:
        return list(text.encode("utf-8").decode("latin-1"))
    except UnicodeEncodeError as error:
        raise ValueError(f"text: expected what UTF-8 can say, got {text[error.start]!r}; leave it out") from None


def join_text(tokens: Iterable[str], unit: Unit) -> str:
    """Joins units to a text: for characters and bytes the inverse of `split_text`, for words one that reads well.

    Marks such as ``<unknown>`` stay as they are. Bytes that are no UTF-8 become the replacement character.

    Raises:
        TypeError: `tokens` are no strings.
        ValueError: Unknown `unit`, or a character that is no byte.

    Example:
        >>> join_text(["Look", ",", "a", "dog", "(", "brown", ")", "!"], "words")
        'Look, a dog (brown)!'
    """
    _check_unit(unit)
    tokens = as_list("tokens", tokens)
    if not all(isinstance(token, str) for token in tokens):
        raise TypeError(f"tokens: expected strings, got {brief(tokens)}")
    if unit == "words":
        return _spaced(tokens)
    if unit == "characters":
        return "".join(tokens)
    try:
        pieces = [token.encode("latin-1") if len(token) == 1 else token.encode() for token in tokens]
    except UnicodeEncodeError as error:
        raise ValueError(f"tokens: expected bytes as characters up to 255, got {error.object!r}") from None
    return b"".join(pieces).decode("utf-8", errors="replace")


def _check_unit(unit: str) -> None:
    if not is_one_of(unit, UNITS):
        raise ValueError(f"unit: expected one of {list(UNITS)}, got {brief(unit)}")


def _spaced(words: Sequence[str]) -> str:
    parts = list(words[:1])
    for before, word in zip(words, words[1:], strict=False):
        parts.append(word if word in _NO_SPACE_BEFORE or before in _NO_SPACE_AFTER else " " + word)
    return "".join(parts)
