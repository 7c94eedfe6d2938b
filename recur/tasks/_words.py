"""Words of all scripts: where one begins and ends, and where a space stands between two."""

import functools
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

from recur.tasks._extras import extra

# Signs that hold a word together where letters stand on both sides: apostrophes, hyphens, the point in l·l, maqaf,
# geresh and gershayim; and those that hold a number together where digits do.
_LINKS = "'’\\-‐‑·־׳״"
_POINTS = ".,:"
_MARK_OR_LETTER = r"\w\p{M}"
_NO_SPACE_BEFORE = frozenset("'%·\n")
_NO_SPACE_AFTER = frozenset("¿¡\n")
# What opens a quote in English, and in German ends one that began below.
_LOW_QUOTES = {"“": "„", "‘": "‚"}
# Between words of Khmer, Tibetan and Ethiopic, where no space stands.
_IN_PLACE_OF_SPACE = frozenset("\u200b\u0f0b\u1361")


class _Patterns(NamedTuple):
    run: Any
    linked: Any
    apart: Any
    closing: Any


@functools.cache
def _patterns() -> _Patterns:
    compiled = extra("regex", "words").compile
    # Single signs are repeated, not groups: a group costs memory for every letter of a long word.
    run = rf"[{_MARK_OR_LETTER}][{_MARK_OR_LETTER}\p{{WB=Extend}}\p{{WB=Format}}\u200c\u200d{_LINKS}{_POINTS}]*+"
    return _Patterns(
        # A word, or what may be several; a line end; any other sign with all that joins it, as in flags and families.
        run=compiled(rf"{run}|\n|(?!\s)\X"),
        linked=compiled(rf"[{_MARK_OR_LETTER}].*[{_LINKS}{_POINTS}]", extra("regex", "words").DOTALL),
        # The signs that hold nothing together: no letter or digit stands on both of their sides.
        apart=compiled(
            rf"([{_LINKS}](?![{_MARK_OR_LETTER}])|(?<=[{_LINKS}{_POINTS}])[{_LINKS}]"
            rf"|[{_POINTS}](?!\d)|(?<!\d)[{_POINTS}])"
        ),
        closing=compiled(r"[\p{Terminal_Punctuation}\p{Pe}\p{Pf}]"),
    )


def split_words(text: str) -> list[str]:
    """Returns the words, line ends and other signs of a text.

    Raises:
        ImportError: Without the package regex.
    """
    patterns, words = _patterns(), []
    for word in patterns.run.findall(text):
        if len(word) > 1 and patterns.linked.match(word):
            words += filter(None, patterns.apart.splititer(word))
        else:
            words.append(word)
    return words


def join_words(words: Sequence[str]) -> str:
    """Returns words with spaces between them, but before closing signs, after opening ones, and in East Asian text.

    Raises:
        ImportError: Without the package regex.
    """
    parts, is_glued, low = [], True, set()
    for word in words:
        ends = _LOW_QUOTES.get(word) in low
        parts.append(word if is_glued or ends or _closes(word[:1]) else " " + word)
        is_glued = _opens(word[-1:]) and not ends
        low = (low | {word}) & set(_LOW_QUOTES.values()) - ({_LOW_QUOTES[word]} if ends else set())
    return "".join(parts)


@functools.lru_cache(maxsize=4096)
def _closes(sign: str) -> bool:
    """Whether no space stands before a word that begins with this sign."""
    is_alone = sign in _NO_SPACE_BEFORE | _IN_PLACE_OF_SPACE or _is_wide(sign)
    return is_alone or _patterns().closing.match(sign) is not None


@functools.lru_cache(maxsize=4096)
def _opens(sign: str) -> bool:
    """Whether no space stands after a word that ends with this sign, such as an opening bracket or quote."""
    is_alone = sign in _NO_SPACE_AFTER | _IN_PLACE_OF_SPACE or _is_wide(sign)
    return is_alone or (sign != "" and unicodedata.category(sign) in ("Ps", "Pi"))


def _is_wide(sign: str) -> bool:
    """Whether a sign is one of Chinese or Japanese, which has its own space around it."""
    return sign != "" and unicodedata.category(sign)[0] == "P" and unicodedata.east_asian_width(sign) in "WF"
