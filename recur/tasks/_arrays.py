"""A reader of NumPy archives."""

import os
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from recur._checks import as_path, brief
from recur._files import open_regular

# RuntimeError: an encrypted file. MemoryError: a header that claims more than there is.
_DAMAGED = (ValueError, KeyError, EOFError, OSError, RuntimeError, MemoryError, OverflowError, SyntaxError)


def read_arrays(path: str | os.PathLike, shapes: Mapping[str, tuple[int | str, ...]]) -> dict[str, np.ndarray]:
    """Reads named arrays of numbers from a NumPy archive (``numpy.savez``), and checks them.

    Nothing in the file is run: an array that would need pickle is refused.

    Args:
        path: A ``.npz`` file.
        shapes: For every array its shape: a number is the size of that axis, a letter any size of at least 1, the
            same wherever the letter stands. ``{"x": ("N", "T", 2), "y": ("N", 1)}``.

    Returns:
        The arrays by name, as float32.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is empty, no archive, damaged, lacks an array, or one has another shape, is no array of
            numbers, holds a NaN or an infinity, a number too large for float32, or a whole number that float32 rounds,
            or does not fit in memory; the message names file and array.
    """
    path = as_path("path", path)
    wanted = ", ".join(f"{name} [{', '.join(map(str, shape))}]" for name, shape in shapes.items())
    expected = f"expected a NumPy archive with the arrays {wanted} (numpy.savez)"
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; {expected}")
    if not path.is_file():
        raise ValueError(f"{path}: is no file; {expected}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty; {expected}")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: no NumPy archive, or damaged; {expected}")
    try:
        with open_regular(path) as file, np.load(file, allow_pickle=False) as archive:
            missing = sorted(set(shapes) - set(archive.files))
            if missing:
                raise ValueError(f"no array {missing[0]!r}, only {brief(sorted(archive.files))}")
            sizes: dict[str, int] = {}
            return {name: _checked(f"array {name!r}", _read(archive, name), shapes[name], sizes) for name in shapes}
    # What a damaged archive raises depends on where the damage is: header, directory or compressed bytes.
    except (*_DAMAGED, zipfile.BadZipFile, zipfile.zlib.error) as error:
        raise ValueError(f"{path}: {error}; {expected}") from None


def _read(archive: Any, name: str) -> Any:
    """Returns a member; the error of one that memory does not hold, or that ends too early, names it."""
    try:
        return archive[name]
    except MemoryError:
        raise ValueError(f"array {name!r}: expected one that fits in memory, got a larger one") from None


def _checked(where: str, array: Any, shape: tuple[int | str, ...], sizes: dict[str, int]) -> np.ndarray:
    """Returns one array as float32, or raises ValueError; `sizes` collects what each letter stands for."""
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{where}: expected an array, got a member of the archive that is none")
    outline = "[" + ", ".join(f"{a}={sizes[a]}" if a in sizes else str(a) for a in shape) + "]"
    fits = array.ndim == len(shape) and all(
        got >= 1 and got == (sizes.setdefault(axis, got) if isinstance(axis, str) else axis)
        for axis, got in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{where}: expected shape {outline}, no axis empty, got {list(array.shape)}")
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{where}: expected real numbers, got dtype {array.dtype}")
    with np.errstate(over="ignore"):
        cast = array.astype(np.float32)
    _refuse(~np.isfinite(array), array, f"{where}: expected finite numbers")
    _refuse(~np.isfinite(cast), array, f"{where}: expected numbers that float32 holds")
    if array.dtype.kind in "iu":
        # Class numbers and ids, which are others when they are rounded. Beyond 53 bits float64 rounds them alike.
        is_rounded = (cast.astype(np.float64) != array) | (np.abs(array.astype(np.float64)) > 2**53)
        _refuse(is_rounded, array, f"{where}: expected whole numbers that float32 does not round")
    return cast


def _refuse(is_wrong: np.ndarray, array: np.ndarray, message: str) -> None:
    if is_wrong.any():
        at = tuple(int(i) for i in np.argwhere(is_wrong)[0])
        raise ValueError(f"{message}, got {array[at]} at index {at}; remove or mend that row")
