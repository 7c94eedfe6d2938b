"""Files of lines: whole, or one line at a time out of a file larger than memory."""

import codecs
import os
from collections.abc import Sequence

import numpy as np

from recur._checks import as_path, check_positive
from recur._files import open_regular
from recur.tasks._text import normal_form, read_text


class Lines(Sequence[str]):
    """The lines of a UTF-8 file, each read when it is asked for; memory holds where they begin, 8 bytes a line.

    A line ends as in `text_chunks`: at LF, CR, CR LF or CR CR LF.

    A source for `batches`, through a map from line to item. The file is opened anew for every line, so that threads
    and processes can share the object. Lines come without their ends, in Unicode normal form C.

    Args:
        path: The file; it must not change.
        buffer_bytes: How much is read at once to find the line ends.

    Raises:
        TypeError: `buffer_bytes` is not whole.
        ValueError: A missing, unreadable or empty file; on access, bytes that are no UTF-8 (their offset is named).
        IndexError: On access, no such line.
    """

    def __init__(self, path: str | os.PathLike, *, buffer_bytes: int = 1 << 20):
        self.path = as_path("path", path)
        bounds, size, held, data = [np.zeros(1, np.int64)], 0, b"", b"more"
        check_positive("buffer_bytes", buffer_bytes)
        try:
            with open_regular(self.path) as file:
                while data:
                    data = file.read(buffer_bytes)
                    read = held + data
                    # Of the last two bytes the line end may go on in the next ones.
                    count = len(read) - 2 if data else len(read)
                    bounds.append(_line_ends(read, count) + size)
                    size, held = size + max(count, 0), read[max(count, 0) :]
        except OSError as error:
            raise ValueError(
                f"data: expected a readable text file, got {path}: {error.strerror}; check the path"
            ) from None
        self._bounds = np.concatenate(bounds)
        if self._bounds[-1] != size:  # the last line does not end
            self._bounds = np.append(self._bounds, size)
        if not size or (size == len(codecs.BOM_UTF8) and self._read(0, size) == codecs.BOM_UTF8):
            raise ValueError(f"data: expected text, got the empty file {path}; give one with content")

    def __len__(self) -> int:
        """Returns the number of lines."""
        return len(self._bounds) - 1

    def __getitem__(self, index: int) -> str:
        """Returns a line."""
        index = range(len(self))[index]
        begin, end = self._bounds[index : index + 2].tolist()
        try:
            line = self._read(begin, end).decode("utf-8-sig" if index == 0 else "utf-8")
        except UnicodeDecodeError as error:
            offset = end - len(error.object) + error.start
            raise ValueError(
                f"data: expected UTF-8 text, got byte 0x{error.object[error.start]:02x} at offset {offset} of "
                f"{self.path}, line {index + 1}; convert the file, for example with iconv -t UTF-8"
            ) from None
        return normal_form(line.rstrip("\r\n"), self.path)

    def _read(self, begin: int, end: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(begin)
            return file.read(end - begin)


def _line_ends(data: bytes, count: int) -> np.ndarray:
    """Returns where lines end among the first `count` bytes: after LF, and after CR that no LF, or CR LF, follows."""
    signs = np.frombuffer(data + b"\0\0", np.uint8)
    first, second, third = signs[:-2], signs[1:-1], signs[2:]
    goes_on = (second == ord("\n")) | ((second == ord("\r")) & (third == ord("\n")))
    is_end = (first == ord("\n")) | ((first == ord("\r")) & ~goes_on)
    return np.flatnonzero(is_end[: max(count, 0)]) + 1


def read_lines(path: str | os.PathLike) -> list[str]:
    """Reads the lines of a UTF-8 file, without white space at their ends, and without empty lines at the file's end.

    Raises:
        ValueError: As in `read_text`, or an empty line among the others (its number is named).
    """
    lines = split_lines(path)
    refuse_empty(lines, path)
    return lines


def split_lines(path: str | os.PathLike) -> list[str]:
    """Does what `read_lines` does, and leaves empty lines among the others."""
    return [line.strip() for line in read_text(path).rstrip().split("\n")]


def refuse_empty(lines: Sequence[str], path: str | os.PathLike) -> None:
    """Raises ValueError if a line is empty."""
    if "" in lines:
        raise ValueError(
            f"data: expected text in every line, got the empty line {lines.index('') + 1} in {path}; fill or remove it"
        )
