"""A reader of NumPy archives."""

import os
import zipfile
from collections.abc import Mapping

import numpy as np

from recur._checks import as_path, brief

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
            numbers, or holds a NaN or an infinity; the message names file and array.
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
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            missing = sorted(set(shapes) - set(archive.files))
            if missing:
                raise ValueError(f"no array {missing[0]!r}, only {brief(sorted(archive.files))}")
            arrays = {name: archive[name] for name in shapes}
    # What a damaged archive raises depends on where the damage is: header, directory or compressed bytes.
    except (*_DAMAGED, zipfile.BadZipFile, zipfile.zlib.error) as error:
        raise ValueError(f"{path}: {error}; {expected}") from None
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        arrays[name] = _checked(f"{path}, array {name!r}", arrays[name], shape, sizes)
    return arrays


def _checked(where: str, array: np.ndarray, shape: tuple[int | str, ...], sizes: dict[str, int]) -> np.ndarray:
    """Checks one array; `sizes` collects what each letter stands for."""
    outline = "[" + ", ".join(f"{a}={sizes[a]}" if a in sizes else str(a) for a in shape) + "]"
    fits = array.ndim == len(shape) and all(
        got >= 1 and got == (sizes.setdefault(axis, got) if isinstance(axis, str) else axis)
        for axis, got in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{where}: expected shape {outline}, no axis empty, got {list(array.shape)}")
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{where}: expected real numbers, got dtype {array.dtype}")
    finite = np.isfinite(array)
    if not finite.all():
        at = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise ValueError(f"{where}: expected finite numbers, got {array[at]} at index {at}; remove or mend that row")
    return array.astype(np.float32)
