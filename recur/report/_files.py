"""Files replaced whole or not at all."""

import os
from pathlib import Path


def write_bytes(path: str | os.PathLike, data: bytes) -> Path:
    """Replaces a file by new contents, whole or not at all.

    The bytes go to a temporary file in the same folder, reach the disk, and take the name at the end, so that
    a reader never meets half a file and a failure leaves the old one. Missing parent folders are made.

    Args:
        path: the file.
        data: its new contents.

    Returns:
        The path written.

    Raises:
        OSError: the folder cannot be written; no temporary file stays behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise named(error, path) from None
        raise
    return path


def write_text(path: str | os.PathLike, text: str) -> Path:
    """Replaces a file by new text (UTF-8), whole or not at all; see `write_bytes`.

    A lone surrogate, which UTF-8 has not, is written as its escape, which in JSON is itself.

    Args:
        path: the file.
        text: its new contents.

    Returns:
        The path written.

    Raises:
        OSError: the folder cannot be written; no temporary file stays behind.
    """
    return write_bytes(path, text.encode("utf-8", "backslashreplace"))


def named(error: OSError, path: Path) -> OSError:
    """Returns an error of the system with the path, which a failed write (a full disk, say) lacks."""
    return error if error.errno is None else OSError(error.errno, error.strerror, str(path))
