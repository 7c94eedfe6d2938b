"""The units of a text: characters, words, bytes."""

from collections.abc import Iterable
from typing import Literal

from recur._checks import as_list, brief, is_one_of
from recur.tasks._words import join_words, split_words

Unit = Literal["characters", "words", "bytes"]
UNITS = ("characters", "words", "bytes")


def split_text(text: str, unit: Unit) -> list[str]:
    r"""Splits a text in its units.

    ``"words"`` are numbers with their inner points and commas, words with their marks, joiners, inner apostrophes and
    hyphens, line ends, and every other sign for itself, an emoji of several signs as one; white space is dropped.
    Scripts without spaces, such as Thai or Chinese, are parted at spaces and signs alone.

    A byte is the character of its number (Latin-1), so that all units are strings, and
    ``Vocabulary(tuple(map(chr, range(256))))`` knows all bytes.

    Raises:
        ImportError: Without the package regex, for words.
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
        return split_words(text)
    try:
        return list(text.encode("utf-8").decode("latin-1"))
    except UnicodeEncodeError as error:
        raise ValueError(f"text: expected what UTF-8 can say, got {text[error.start]!r}; leave it out") from None


def join_text(tokens: Iterable[str], unit: Unit) -> str:
    """Joins units to a text: for characters and bytes the inverse of `split_text`, for words one that reads well.

    Words that were split from a text are split so again from what they are joined to.

    Marks such as ``<unknown>`` stay as they are. Bytes that are no UTF-8 become the replacement character.

    Raises:
        ImportError: Without the package regex, for words.
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
        return join_words(tokens)
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
