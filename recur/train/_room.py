"""Whether a file system takes so many bytes more."""

import errno
import os
import resource
import shutil
from pathlib import Path

SPARE = 2**16
"""Bytes for what is written beside the arrays."""


def check_room(folder: Path, size: int) -> None:
    """Raises before anything is written for which there is no room.

    A write that fails half-way loses nothing, but Orbax tells of it in hundreds of lines.

    Args:
        folder: Where to write.
        size: Bytes of the arrays.

    Raises:
        OSError: ENOSPC where the disk is full, EFBIG where the process may not write files so large.
    """
    free, limit = shutil.disk_usage(folder).free, resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    for code, most in ((errno.ENOSPC, free), (errno.EFBIG, free if limit == resource.RLIM_INFINITY else limit)):
        if most < size + SPARE:
            reason = f"{os.strerror(code)}: a checkpoint takes {size + SPARE:,} bytes, and {most:,} are to be had"
            raise OSError(code, f"{reason}; the checkpoints before are whole", str(folder))
