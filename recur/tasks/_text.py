"""Text files as characters, whole or piece by piece, and the source of the running Python's standard library."""

import codecs
import dataclasses
import functools
import io
import os
import pathlib
import sysconfig
import unicodedata
from collections.abc import Iterator

import numpy as np

from recur._checks import check_positive


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
        """Returns the text of these codes."""
        return "".join(self.alphabet[code] for code in np.asarray(codes).ravel())


def characters(text: str, source: str = "given text") -> Characters:
    """Numbers the characters of a text.

    Raises:
        ValueError: Empty text.

    Example:
        >>> characters("hihello").alphabet
        'ehilo'
    """
    if not text:
        raise ValueError(f"text: expected at least one character, got none from {source}; give a text with content")
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    distinct, codes = np.unique(points, return_inverse=True)
    return Characters(codes.astype(np.int32), "".join(map(chr, distinct)), source)


def text_chunks(path: str | os.PathLike, *, buffer_bytes: int = 1 << 20, nfc: bool = True) -> Iterator[str]:
    r"""Reads a UTF-8 text file piece by piece, so that a file larger than memory can be read.

    Joined, the pieces are the text: without a byte order mark, every line end as ``\n``, and, unless `nfc` is off, in
    Unicode normal form C, so that letters typed as base and accent, or Korean syllables as their jamo, are the same
    characters as their one-point forms. Pieces end before white space; only words longer than the buffer are torn.

    Args:
        path: The file.
        buffer_bytes: How much is read at once.
        nfc: Whether to normalise.

    Raises:
        TypeError: `buffer_bytes` is not whole.
        ValueError: A missing, unreadable or empty file, or bytes that are no UTF-8 (their offset is named).
    """
    path, buffer_bytes = pathlib.Path(path), check_positive("buffer_bytes", buffer_bytes)
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8-sig")(), translate=True)
    held, done, is_empty = "", 0, True
    try:
        with path.open("rb") as file:
            while True:
                data = file.read(buffer_bytes)
                done += len(data)
                held += decoder.decode(data, final=not data)
                cut = _safe_cut(held, buffer_bytes) if data else len(held)
                piece, held = held[:cut], held[cut:]
                if piece:
                    is_empty = False
                    yield unicodedata.normalize("NFC", piece) if nfc else piece
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
    """Returns a place to cut: before the last white space or, in text longer than `most`, any ASCII character.

    ASCII characters never melt with what stands before them in normal form C.
    """
    cut = max(text.rfind(space) for space in " \n\t")
    if cut <= 0 and len(text) > most:
        cut = next((place for place in range(len(text) - 1, 0, -1) if text[place].isascii()), 0)
    return max(cut, 0)


def read_text(path: str | os.PathLike, *, nfc: bool = True) -> str:
    """Reads a UTF-8 text file, whole; see `text_chunks`, which says what happens to line ends and accents.

    Raises:
        ValueError: A missing, unreadable or empty file, or bytes that are no UTF-8 (their offset is named).
    """
    return "".join(text_chunks(path, nfc=nfc))


@functools.cache
def standard_library_source(least_characters: int = 1_000_000) -> str:
    """Returns the source text of the running Python's standard library: real text on every machine.

    Modules of the top folder are joined in the order of their names until there are `least_characters`.

    Raises:
        ValueError: An installation without library source.
    """
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
