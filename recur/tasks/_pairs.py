"""Aligned sentences: line n of one file says what line n of the other says."""

import os
from typing import NamedTuple

from recur._checks import as_path, brief
from recur.tasks._lines import refuse_empty, split_lines


class Pairs(NamedTuple):
    """Sentences and their translations.

    Args:
        sources: The sentences.
        targets: Their translations, in the same order.
    """

    sources: list[str]
    targets: list[str]


def read_pairs(folder: str | os.PathLike, source: str, target: str, *, name: str | None = None) -> Pairs:
    """Reads aligned sentences from a folder with files ``NAME.SOURCE`` and ``NAME.TARGET``, one sentence a line.

    Args:
        folder: The folder.
        source: Ending of the files to translate from, ``"de"``.
        target: Ending of the files to translate to, ``"en"``.
        name: Which pair: ``"train"``, ``"val"``; by default the only one there is.

    Raises:
        ValueError: No such folder or pair, several pairs without a `name`, files of unequal line counts (both are
            named), an empty file or line.
    """
    folder = as_path("folder", folder)
    for argument, value in {"source": source, "target": target, "name": name}.items():
        if value is not None and (not isinstance(value, str) or not value or set(value) & set("/\\\0*?[]")):
            raise ValueError(f"{argument}: expected a part of a file's name, got {brief(value)}")
    if not folder.is_dir():
        raise ValueError(f"data: expected a folder of aligned files, got {folder}, which is none; check the path")
    # By the end of the name: a pair may be called test.2016, or have an ending of two parts.
    names = sorted(
        file.name.removesuffix(f".{source}")
        for file in folder.glob(f"*.{source}")
        # macOS leaves ._NAME beside NAME on foreign disks.
        if not file.name.startswith(".") and (folder / f"{file.name.removesuffix(f'.{source}')}.{target}").is_file()
    )
    wanted = f"{name or 'NAME'}.{source} and {name or 'NAME'}.{target}"
    if name is None and len(names) == 1:
        name = names[0]
    if name not in names:
        raise ValueError(
            f"data: expected {'one pair ' if name is None else ''}{wanted} in {folder}, got the pairs "
            f"{names or 'none'}; {'name one of them' if names else 'add the files'}"
        )
    files = [folder / f"{name}.{ending}" for ending in (source, target)]
    sources, targets = (split_lines(file) for file in files)
    if len(sources) != len(targets):
        raise ValueError(
            f"data: expected as many lines in both files, got {len(sources)} in {files[0]} and {len(targets)} in "
            f"{files[1]}; line n of one must be line n of the other"
        )
    refuse_empty(sources, files[0])
    refuse_empty(targets, files[1])
    return Pairs(sources, targets)
