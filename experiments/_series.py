"""Series to forecast: read, parted in time, scaled; how far forecasts are off, beside those of who only repeats."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from recur import tasks

Samples = tuple[Float[np.ndarray, "M T 1"], Float[np.ndarray, "M 1"]]


class Series(NamedTuple):
    """A series and its parts: training, validation and test follow each other in time, 8, 1 and 1 tenths of it.

    Args:
        values: ``[N]``, in the unit of the file.
        validation: First step of the part by which the best parameters are chosen.
        test: First step of the part that is forecast.
        mean: Of the training part.
        scale: Standard deviation of the training part.
        period_steps: Of the season.
    """

    values: np.ndarray
    validation: int
    test: int
    mean: float
    scale: float
    period_steps: int

    @property
    def scaled(self) -> np.ndarray:
        """The series as the network sees it, ``[N, 1]``: the training part has mean 0 and deviation 1."""
        return ((self.values - self.mean) / self.scale)[:, None].astype(np.float32)


def read(pattern: str, window: int, period_steps: int, **options: Any) -> dict[str, Series]:
    """Reads number columns of a CSV file, or of the files of a pattern; see `part`, `tasks.read_series` for options."""
    return {name: part(name, column, window, period_steps) for name, column in _columns(pattern, options).items()}


def read_other(pattern: str, known: Mapping[str, Series], window: int, **options: Any) -> dict[str, tuple[Series, int]]:
    """Reads series to be forecast as wholes, each with the first step that has a window and a season before it.

    They are scaled, and have a season, as the training series of their name; as the only one, whatever their names.

    Returns:
        Series and first step by the prefix of their metrics.

    Raises:
        ValueError: As `read`; a series that is too short; a name that none of several training series has.
    """
    found, columns = {}, _columns(pattern, options)
    for name, values in columns.items():
        if len(known) > 1 and name not in known:
            raise ValueError(f"eval_data: expected series named as one of {sorted(known)}, got {name}; rename the file")
        if len(values) <= window:
            raise ValueError(
                f"eval_data: expected more than the {window} values of a window, got {len(values)} in {name}"
            )
        like = known.get(name) or next(iter(known.values()))
        start = like.period_steps if window < like.period_steps < len(values) else window
        prefix = "eval_" + (f"{name}." if len(columns) > 1 else "")
        found[prefix] = like._replace(values=values, validation=start, test=start), start
    return found


def _columns(pattern: str, options: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns each column by the name of its file, with the folders that tell files of one name apart."""
    paths = [Path(path) for path in sorted(glob.glob(pattern)) or [pattern]]
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        top = os.path.commonpath([path.parent for path in paths])
        names = ["_".join(path.relative_to(top).with_suffix("").parts) for path in paths]
    found = []
    for name, path in zip(names, paths, strict=True):
        columns = tasks.read_series(path, **options).T
        found += [(f"{name}_{n}" if len(columns) > 1 else name, column) for n, column in enumerate(columns)]
    twice = next((name for name, count in Counter(name for name, _ in found).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"data: expected series of distinct names, got {twice!r} twice in {pattern}; rename a file")
    return dict(found)


def part(name: str, values: np.ndarray, window: int, period_steps: int) -> Series:
    """Parts a series in time, and finds its season in the training part where `period_steps` is 0.

    Raises:
        ValueError: Too short a series, one that never changes, or a period that is too long for it.
    """
    validation, test = len(values) * 8 // 10, len(values) * 9 // 10
    if validation <= window or test == validation:
        raise ValueError(
            f"data: expected more than {window * 10 // 8 + 10} values for a window of {window}, got "
            f"{len(values)} in {name}; give a longer series, or a smaller window"
        )
    training = values[:validation]
    scale = float(training.std())
    if not scale > 0:
        raise ValueError(f"data: expected a series that changes, got {training[0]:g} throughout in {name}")
    if period_steps > validation:
        raise ValueError(
            f"period_steps: expected at most the {validation} steps of the training part of {name}, got {period_steps}"
        )
    return Series(values, validation, test, float(training.mean()), scale, period_steps or season(training))


def season(values: np.ndarray) -> int:
    """Returns the period of a series in steps: the lag of its greatest autocorrelation, beyond where that is negative.

    1 where it is nowhere negative within half of the series, so that there is no season in it.

    Example:
        >>> season(np.sin(np.arange(100) * 2 * np.pi / 12))
        12
    """
    centred = values - values.mean()
    # Divided by N at every lag, so that of all multiples of a period the first one wins.
    spectrum = np.abs(np.fft.rfft(centred, 2 * len(values))) ** 2
    correlation = np.fft.irfft(spectrum)[: len(values) // 2]
    negative = np.flatnonzero(correlation < 0)
    return int(negative[0] + correlation[negative[0] :].argmax()) if len(negative) else 1


def samples(series: Iterable[Series], window: int) -> tuple[Samples, Samples]:
    """Returns windows of the scaled series with what follows them, where that is for training and for validation."""
    parts = [], []
    for one in series:
        x, y = tasks.sliding_windows(one.scaled, window)
        for found, (begin, end) in zip(parts, ((window, one.validation), (one.validation, one.test)), strict=True):
            found.append((x[begin - window : end - window], y[begin - window : end - window]))
    return tuple(tuple(np.concatenate(leaves) for leaves in zip(*found, strict=True)) for found in parts)


def errors(one: Series, start: int, one_step: np.ndarray, free_running: np.ndarray) -> dict[str, float]:
    """Returns root mean squared errors of forecasts from `start` on, and those of repeating a value or a season.

    Without a season's length before `start` nothing seasonal is compared.
    """
    forecasts = {"one_step": one_step, "free_running": free_running}
    for name, period in {"persistence": 1, "seasonal": one.period_steps}.items():
        if period <= start:
            forecasts[name] = tasks.naive_forecast(one.values, start, period_steps=period)
            free = tasks.naive_forecast(one.values, start, period_steps=period, free_running=True)
            forecasts[f"free_{name}"] = free
    wanted = one.values[start:]
    return {f"{name}_rmse": float(np.sqrt(np.mean((found - wanted) ** 2))) for name, found in forecasts.items()}
