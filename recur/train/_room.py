"""Whether a file system takes so many bytes more."""

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

try:
    import resource
except ModuleNotFoundError:  # Of Unix only; elsewhere a process has no such limit.
    resource = None

SPARE = 2**16
"""Bytes for what is written beside the arrays."""


def check_room(folder: Path, sizes: Sequence[int]) -> None:
    """Raises where there is no room for arrays of so many bytes each, before anything is written.

    A write that fails half-way loses nothing either, but Orbax tells of it in hundreds of lines.

    Raises:
        OSError: ENOSPC where they do not fit the disk, EFBIG where the process may not write a file so large.
    """
    rooms = [(errno.ENOSPC, sum(sizes) + SPARE, shutil.disk_usage(folder).free)]
    if resource is not None and (limit := resource.getrlimit(resource.RLIMIT_FSIZE)[0]) != resource.RLIM_INFINITY:
        rooms.append((errno.EFBIG, max(sizes), limit))
    for code, needed, found in rooms:
        if found < needed:
            raise OSError(
                code,
                f"{os.strerror(code)}: a checkpoint takes {needed:,} bytes, and there is room for {found:,}; make room "
                "and start again: the checkpoints before are whole",
                str(folder),
            )
