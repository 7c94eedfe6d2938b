"""Time columns: dates, numbers or numbered labels, in order, and the gaps between them."""

import re
import warnings
from collections.abc import Sequence

import numpy as np

from recur.tasks._extras import extra
from recur.tasks._rows import number

_NUMBERED = re.compile(r"(\D*)(\d{1,15})")
_DAY_AND_MONTH = re.compile(r"\s*\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}")


def parse_times(cells: Sequence[str], decimal: str, time_format: str | None) -> list[np.ndarray]:
    """Returns the times that a column can mean: numbers, what numbers its labels end with, or dates.

    That are none where it is no time; two where each date has two readings, day first or month first, and each is in
    order, or none is.
    """
    if time_format is not None:
        found = [_dates(cells, format=time_format)]
    elif all(number(cell, decimal) is not None for cell in cells):
        return [np.array([number(cell, decimal) for cell in cells])]
    elif (numbered := _numbered(cells)) is not None:
        return [numbered]
    elif all(_DAY_AND_MONTH.match(cell) for cell in cells):
        found = [_dates(cells, dayfirst=is_first) for is_first in (False, True)]
    else:
        found = [_dates(cells)]
    found = [times for times in found if times is not None]
    if len(found) == 2 and (found[0] == found[1]).all():
        found.pop()
    return [times for times in found if is_ordered(times)] or found


def is_ordered(times: np.ndarray) -> bool:
    """Whether no time is before the one in the row above."""
    return bool((times[1:] >= times[:-1]).all())


def gaps_of(times: np.ndarray) -> np.ndarray:
    """Returns the time from the row above to each row: in seconds for dates; 0 for the first."""
    steps = np.diff(times, prepend=times[:1])
    return steps / np.timedelta64(1, "s") if times.dtype.kind == "M" else steps


def _numbered(cells: Sequence[str]) -> np.ndarray | None:
    """Returns the numbers of labels such as d0, d1, d2 or week 1, week 2."""
    matched = [_NUMBERED.fullmatch(cell.strip()) for cell in cells]
    if not all(matched) or len({found[1] for found in matched}) > 1:
        return None
    return np.array([float(found[2]) for found in matched])


def _dates(cells: Sequence[str], **options: str | bool) -> np.ndarray | None:
    pandas = extra("pandas", "read_series")
    # A word alone is no date.
    if not all(any(char.isdigit() for char in cell) for cell in cells):
        return None
    try:
        with warnings.catch_warnings():
            # That it guesses a format, or reads each date for itself.
            warnings.simplefilter("ignore")
            found = pandas.to_datetime(list(cells), utc=True, **options).tz_localize(None)
    except (ValueError, OverflowError):
        return None
    # The time of a day alone, or a day without its year, would be one of today, or of this year.
    years = [f"{year % 100:02}" for year in found.year]
    has_years = "format" in options or all(year in cell for year, cell in zip(years, cells, strict=True))
    return found.to_numpy() if has_years else None
