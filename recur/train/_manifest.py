"""What the files of a checkpoint must be: their sizes and SHA-256, in a file beside them."""

import hashlib
import json
import os
from pathlib import Path

NAME = "manifest.json"


def write_manifest(folder: Path) -> None:
    """Writes ``manifest.json``, of all files in the folders in a folder, and hands it to the disk.

    Raises:
        OSError: A file cannot be read, or this one not be written.
    """
    files = {
        name: {"bytes": path.stat().st_size, "sha256": _digest(path)} for name, path in sorted(_files(folder).items())
    }
    with (folder / NAME).open("w", encoding="utf-8") as file:
        json.dump({"files": files}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def find_difference(folder: Path) -> str | None:
    """Returns the first file that is not as the manifest says, with its path and how it differs; None if all are.

    A file that is not in there is one too, unless its name begins with a dot, as what systems leave behind does.
    """
    manifest = folder / NAME
    try:
        files = json.loads(manifest.read_text(encoding="utf-8"))["files"]
        wanted = {name: (int(entry["bytes"]), str(entry["sha256"])) for name, entry in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{manifest}: not the list of files that was written ({type(error).__name__})"
    except OSError as error:
        return f"{manifest}: {error.strerror}"
    for name, (size, digest) in wanted.items():
        path = folder / name
        try:
            found = path.stat().st_size
            if found != size:
                return f"{path}: {found:,} bytes, where {size:,} were written"
            if _digest(path) != digest:
                return f"{path}: not the bytes that were written"
        except OSError as error:
            return f"{path}: {error.strerror}"
    others = sorted(name for name, path in _files(folder).items() if name not in wanted and path.name[0] != ".")
    return f"{folder / others[0]}: not among the files that were written" if others else None


def _files(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.glob("*/**/*") if path.is_file()}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
