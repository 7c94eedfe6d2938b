"""One run a folder: a lock that a process loses only with its life."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from recur.runs import _machine

try:
    import fcntl
except ModuleNotFoundError:  # Of Unix only.
    fcntl = None

NAME = "run.lock"


@contextlib.contextmanager
def alone_in(workdir: str | os.PathLike) -> Iterator[Path]:
    """Makes a folder, and holds it against every other run within the block.

    The lock is the system's (`flock`) on ``run.lock``, which says who has it. However a process ends, its lock ends
    too; the file stays, empty of a name after an orderly end. On network file systems it reaches other machines where
    the system passes locks on, as NFS does. On Windows, which has no `flock`, nothing is held.

    Yields:
        The folder.

    Raises:
        ValueError: Another run is alive in it, or it cannot be made or written.
    """
    folder = _machine.writable_folder("workdir", workdir)
    with (folder / NAME).open("a+", encoding="utf-8") as file:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read().strip() or "another process"
            raise ValueError(
                f"workdir: {folder} is in use by {who}; wait for its end, stop it, or give another --workdir"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield folder
        file.truncate(0)
