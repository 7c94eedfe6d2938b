"""Text as characters: a file of the user's, or the source of the running Python's standard library."""

import dataclasses
import functools
import os
import pathlib
import sysconfig

import numpy as np


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


def read_text(path: str | os.PathLike) -> str:
    """Reads a UTF-8 text file.

    Raises:
        ValueError: A missing, unreadable or empty file, or bytes that are no UTF-8 (their place is named).
    """
    path = pathlib.Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"data: expected a readable text file, got {path}: {error.strerror}; check the path") from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"data: expected UTF-8 text, got byte 0x{data[error.start]:02x} at offset {error.start} of {path}; "
            f"convert the file, for example with iconv -t UTF-8"
        ) from None
    if not text:
        raise ValueError(f"data: expected text, got the empty file {path}; give one with content")
    return text


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
