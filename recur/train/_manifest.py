"""What the files of a checkpoint must be: their sizes and SHA-256, in a file beside them."""

import hashlib
import json
import os
from pathlib import Path, PurePosixPath

from recur._files import open_regular, write_text

NAME = "manifest.json"


def write_manifest(folder: Path) -> None:
    """Writes ``manifest.json``, of all files in the folders in a folder, and hands it to the disk.

    Raises:
        OSError: A file cannot be read, or this one not be written.
    """
    files = {
        name: {"bytes": path.stat().st_size, "sha256": _digest(path)} for name, path in sorted(_files(folder).items())
    }
    write_json(folder / NAME, {"files": files}, indent=1)


def write_json(path: Path, values: dict, indent: int | None = None) -> None:
    """Writes a file, and hands it to the disk."""
    write_text(path, json.dumps(values, indent=indent))


def find_difference(folder: Path) -> str | None:
    """Returns the first file that is not as the manifest says, with its path and how it differs; None if all are.

    A file that is not in there is one too, unless its name begins with a dot, as what systems leave behind does.
    Nothing is read but regular files in the folder.
    """
    manifest = folder / NAME
    try:
        files = read_json(manifest)["files"]
        wanted = {name: (_size(entry["bytes"]), str(entry["sha256"])) for name, entry in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"{manifest}: not the list of files that was written ({type(error).__name__})"
    except OSError as error:
        return f"{manifest}: {error.strerror}"
    for name, (size, digest) in wanted.items():
        path = folder / name
        if not name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\0" in name:
            return f"{manifest}: names a file outside of its folder, {name!r}"
        try:
            with open_regular(path) as file:
                if (found := os.fstat(file.fileno()).st_size) != size:
                    return f"{path}: {found:,} bytes, where {size:,} were written"
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    return f"{path}: not the bytes that were written"
        except OSError as error:
            return f"{path}: {error.strerror}"
    others = sorted(name for name, path in _files(folder).items() if name not in wanted and path.name[0] != ".")
    return f"{folder / others[0]}: not among the files that were written" if others else None


def read_json(path: Path) -> dict:
    """Returns what a regular file of JSON holds.

    Raises:
        OSError: It cannot be read, or is no regular file.
        ValueError: It is no JSON.
    """
    with open_regular(path) as file:
        return json.loads(file.read().decode("utf-8"))


def _size(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError
    return value


def _files(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.glob("*/**/*") if not path.is_dir()}


def _digest(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
