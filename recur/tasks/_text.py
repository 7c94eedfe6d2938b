"""Text files as characters, whole or piece by piece, and the source of the running Python's standard library."""

import codecs
import dataclasses
import functools
import itertools
import os
import pathlib
import re
import sys
import sysconfig
import unicodedata
from collections.abc import Iterator

import numpy as np

from recur._checks import as_path, as_whole_numbers, brief, check_positive
from recur._files import open_regular

MOST_MARKS = 255
"""Combining marks that may follow each other; the Unicode standard's own limit for streams is 30."""

_LINE_END = re.compile(r"\r\r?\n|\r")


@dataclasses.dataclass(frozen=True)
class Characters:
    """A text over its own alphabet.

    Args:
        codes: Index of each character in `alphabet`, int32 ``[N]``.
        alphabet: The distinct characters, sorted by code point; its length is V.
        source: Where the text is from.
    """

    codes: np.ndarray
    alphabet: str
    source: str

    def decode(self, codes: np.ndarray) -> str:
        """Returns the text of these codes.

        Raises:
            TypeError: Something that is no whole number.
            ValueError: A number that is none of the alphabet's.
        """
        codes = as_whole_numbers("codes", codes, len(self.alphabet)).ravel().tolist()
        return "".join(self.alphabet[code] for code in codes)


def characters(text: str, source: str = "given text") -> Characters:
    """Numbers the characters of a text.

    Raises:
        TypeError: Something that is no string.
        ValueError: Empty text.

    Example:
        >>> characters("hihello").alphabet
        'ehilo'
    """
    if not isinstance(text, str):
        raise TypeError(f"text: expected a string, got {brief(text)}")
    if not text:
        raise ValueError(f"text: expected at least one character, got none from {source}; give a text with content")
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    distinct, codes = np.unique(points, return_inverse=True)
    return Characters(codes.astype(np.int32), "".join(map(chr, distinct)), source)


def text_chunks(path: str | os.PathLike, *, buffer_bytes: int = 1 << 20, nfc: bool = True) -> Iterator[str]:
    r"""Reads a UTF-8 text file piece by piece, so that a file larger than memory can be read.

    Joined, the pieces are the text: without a byte order mark, every line end (LF, CR, CR LF, and CR CR LF, which
    is left by converting twice) as ``\n``, and, unless `nfc` is off, in
    Unicode normal form C, so that letters typed as base and accent, or Korean syllables as their jamo, are the same
    characters as their one-point forms. Pieces end before white space; only words longer than the buffer are torn.

    Args:
        path: The file.
        buffer_bytes: How much is read at once.
        nfc: Whether to normalise.

    Raises:
        TypeError: `buffer_bytes` is not whole.
        ValueError: A missing, unreadable or empty file, bytes that are no UTF-8 (their offset is named), or more than
            255 combining marks in a row, which no text has and which take for ever to put in order.
    """
    path, buffer_bytes = as_path("path", path), check_positive("buffer_bytes", buffer_bytes)
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    held, returns, done, is_empty = "", "", 0, True
    try:
        with open_regular(path) as file:
            while True:
                data = file.read(buffer_bytes)
                done += len(data)
                text = returns + decoder.decode(data, final=not data)
                # What these end may go on in the next piece.
                returns = "\r" * min(len(text) - len(text.rstrip("\r")), 2) if data else ""
                held += _LINE_END.sub("\n", text[: len(text) - len(returns)])
                cut = _safe_cut(held, buffer_bytes) if data else len(held)
                piece, held = held[:cut], held[cut:]
                if piece:
                    is_empty = False
                    yield normal_form(piece, path) if nfc else piece
                if not data:
                    break
    except OSError as error:
        raise ValueError(f"data: expected a readable text file, got {path}: {error.strerror}; check the path") from None
    except UnicodeDecodeError as error:
        # The decoder looked at what it had kept and what it was given last, which ends where reading stands.
        offset = done - len(error.object) + error.start
        raise ValueError(
            f"data: expected UTF-8 text, got byte 0x{error.object[error.start]:02x} at offset {offset} of {path}; "
            f"convert the file, for example with iconv -t UTF-8"
        ) from None
    if is_empty:
        raise ValueError(f"data: expected text, got the empty file {path}; give one with content")


def _safe_cut(text: str, most: int) -> int:
    """Returns a place to cut: before the last white space, or in text longer than `most` before what stands alone.

    What begins with such a character never melts with what is before it in normal form C. Where none comes for long,
    which no text has, the cut is anywhere, so that memory and time stay bounded.
    """
    cut = max(text.rfind(space) for space in " \n\t")
    if cut <= 0 and len(text) > most:
        last, looked_at = len(text) - 1, 2 * MOST_MARKS
        places = range(last, max(last - looked_at, 0), -1)
        cut = next((place for place in places if _begins(text[place])), last if last > looked_at else 0)
    return max(cut, 0)


def _begins(character: str) -> bool:
    """Whether a character is no mark and no vowel or final consonant of a Korean syllable, which join those before."""
    return not (unicodedata.category(character).startswith("M") or "\u1160" <= character <= "\u11ff")


def normal_form(text: str, path: str | os.PathLike) -> str:
    """Returns a text in Unicode normal form C.

    Raises:
        ValueError: Too many combining marks in a row: the time to sort them grows with their square.
    """
    if _may_hold_a_run(text) and _marks().search(text):
        raise ValueError(f"data: expected text, got more than {MOST_MARKS} combining marks in a row in {path}; mend it")
    return unicodedata.normalize("NFC", text)


def _may_hold_a_run(text: str) -> bool:
    """Whether a quick look at one character in 128 finds two neighbours that are marks, as in every run too long."""
    are_marks = [unicodedata.combining(char) > 0 for char in text[:: (MOST_MARKS + 1) // 2]]
    return not text.isascii() and any(a and b for a, b in itertools.pairwise(are_marks))


@functools.cache
def _marks() -> re.Pattern:
    """Finds runs of combining marks that are too long."""
    marks = "".join(char for char in map(chr, range(sys.maxunicode + 1)) if unicodedata.combining(char))
    return re.compile(f"[{marks}]{{{MOST_MARKS + 1}}}")


def read_text(path: str | os.PathLike, *, nfc: bool = True) -> str:
    """Reads a UTF-8 text file, whole; see `text_chunks`, which says what happens to line ends and accents.

    Raises:
        ValueError: A missing, unreadable or empty file, or bytes that are no UTF-8 (their offset is named).
    """
    return "".join(text_chunks(path, nfc=nfc))


def standard_library_source(least_characters: int = 1_000_000) -> str:
    """Returns the source text of the running Python's standard library: real text on every machine.

    Modules of the top folder are joined in the order of their names until there are `least_characters`.

    Raises:
        ValueError: An installation without library source.
    """
    return _library_source(check_positive("least_characters", least_characters))


@functools.cache
def _library_source(least_characters: int) -> str:
    folder = pathlib.Path(sysconfig.get_path("stdlib"))
    parts, count = [], 0
    for path in sorted(folder.glob("*.py")):
        parts.append(path.read_text(encoding="utf-8"))
        count += len(parts[-1])
        if count >= least_characters:
            return "".join(parts)
    raise ValueError(
        f"data: expected {least_characters} characters of library source, got {count} in {folder}; "
        f"give a text file of your own"
    )
