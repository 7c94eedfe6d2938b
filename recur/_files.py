"""Files replaced whole or not at all, never through a link; regular files opened to be read."""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

NOT_REGULAR = "it is no regular file, but a device or a pipe"


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Opens a new file that takes the name `path` when the block ends, whole, or not at all if it raises.

    The bytes go to a temporary file in the same folder, reach the disk, and take the name at the end, so that a
    reader never meets half a file and a failure leaves the old one. The temporary name is drawn at random and must be
    new, so that no other file and no link is written to. A link at `path` is replaced, not followed.

    Missing parent folders are made.

    Args:
        path: The file.

    Yields:
        The open file, to be written in binary.

    Raises:
        OSError: The folder cannot be written, or `path` is a device, a pipe or a folder; no temporary file stays
            behind.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(Path(folder) / "a.txt") as file:
        ...         _ = file.write(b"whole")
        ...     (Path(folder) / "a.txt").read_bytes()
        b'whole'
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _refuse_to_replace(path)
        # As `tempfile` does it, but with the permissions that the user's other files get.
        temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
        file = temporary.open("xb")
    except OSError as error:
        raise named(error, path) from None
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        # An error of a file that the block itself has read has its own name.
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            raise named(error, path) from None
        raise


def write_bytes(path: str | os.PathLike, data: bytes) -> Path:
    """Replaces a file by new contents, whole or not at all; see `replacing`.

    Args:
        path: The file.
        data: Its new contents.

    Returns:
        The path written.

    Raises:
        OSError: The folder cannot be written; no temporary file stays behind.
    """
    with replacing(path) as file:
        file.write(data)
    return Path(path)


def write_text(path: str | os.PathLike, text: str) -> Path:
    """Replaces a file by new text (UTF-8), whole or not at all; see `replacing`.

    A lone surrogate, which UTF-8 has not, is written as its escape, which in JSON is itself.

    Args:
        path: The file.
        text: Its new contents.

    Returns:
        The path written.

    Raises:
        OSError: The folder cannot be written; no temporary file stays behind.
    """
    return write_bytes(path, text.encode("utf-8", "backslashreplace"))


def open_regular(path: str | os.PathLike) -> BinaryIO:
    """Opens a regular file to be read in binary; a pipe, a device or a socket, which may never end, is refused.

    Args:
        path: The file, or a link to it.

    Returns:
        The open file.

    Raises:
        OSError: It cannot be read, or is no regular file; ``error.strerror`` says so.
    """
    return _open_regular(path, "rb", 0)


def open_to_append(path: str | os.PathLike) -> BinaryIO:
    """Opens a regular file to be read and appended to in binary, and makes it where there is none.

    Raises:
        OSError: It cannot be written, is a link, or no regular file.
    """
    return _open_regular(path, "a+b", getattr(os, "O_NOFOLLOW", 0))


def named(error: OSError, path: Path) -> OSError:
    """Returns an error of the system with the path, which a failed write (a full disk, say) lacks."""
    return error if error.errno is None else OSError(error.errno, error.strerror, str(path))


def _open_regular(path: str | os.PathLike, mode: str, more: int) -> BinaryIO:
    # Without a wait for somebody at the other end of a pipe.
    more |= getattr(os, "O_NONBLOCK", 0)

    def opened(name: str, flags: int) -> int:
        found = os.open(name, flags | more, 0o666)
        if stat.S_ISREG(os.fstat(found).st_mode) or stat.S_ISDIR(os.fstat(found).st_mode):
            return found  # a folder is refused by `open` itself
        os.close(found)
        raise OSError(errno.EINVAL, NOT_REGULAR, str(path))

    return open(path, mode, opener=opened)


def _refuse_to_replace(path: Path) -> None:
    """Raises OSError where something stands at `path` that is neither a regular file nor a link."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise OSError(errno.EINVAL, NOT_REGULAR)
