"""Sequences to measure on: real text, numbers, digits, or noise; one for every seed."""

import jax
import jax.numpy as jnp
import numpy as np

from recur import tasks

INPUTS = ("text", "noise", "series", "digits")
NOISE_FEATURES = 32


def draw_inputs(kind: str, data: str | None, key: jax.Array, seeds: int, length: int) -> np.ndarray:
    """Draws a stretch of the data at a random place for every seed.

    - text: characters of the file `data`, or of the running Python's standard library, one-hot, X = V.
    - noise: independent N(0, 1), X = 32.
    - series: number columns of the CSV file `data`, each to mean 0 and variance 1.
    - digits: scikit-learn's digits pixel by pixel, one image after the other, X = 1.

    Returns:
        float32 ``[T, S, X]``.

    Raises:
        ValueError: A file that cannot be read, or data shorter than `length`.
    """
    if data is not None and kind not in ("text", "series"):
        raise ValueError(f"data: expected no file for --input={kind}, got {data}; use --input=text or --input=series")
    if kind == "noise":
        return np.asarray(jax.random.normal(key, (length, seeds, NOISE_FEATURES)))
    if kind == "text":
        text = tasks.read_text(data) if data else tasks.standard_library_source()
        numbered = tasks.characters(text, source=data or "the standard library")
        codes = _stretches(numbered.codes, key, seeds, length)
        return np.asarray(jax.nn.one_hot(codes, len(numbered.alphabet), dtype=jnp.float32))
    if kind == "series":
        if data is None:
            raise ValueError("data: expected a CSV file for --input=series, got none; give --data=FILE.csv")
        values = tasks.read_series(data)
        # Not by a spread of zero, which rounding hides: 1000 times 0.1 has one of 1e-17.
        if (values == values[0]).all(axis=0).any():
            raise ValueError(f"data: expected columns that vary, got a constant column in {data}; leave it out")
        return _stretches((values - values.mean(axis=0)) / values.std(axis=0), key, seeds, length).astype(np.float32)
    if kind == "digits":
        try:
            images = tasks.load_digits().images
        except ImportError as error:
            raise ValueError(str(error)) from None
        for_order, for_place = jax.random.split(key)
        order = np.asarray(jax.random.permutation(for_order, len(images)))
        return _stretches(images[order].reshape(-1, 1), for_place, seeds, length)
    raise ValueError(f"input: expected one of {INPUTS}, got {kind!r}")


def _stretches(values: np.ndarray, key: jax.Array, seeds: int, length: int) -> np.ndarray:
    """Cuts one stretch a seed out of ``values [N, ...]``: ``[T, S, ...]``."""
    room = len(values) - length
    if room < 0:
        raise ValueError(f"lengths: expected at most {len(values)} steps, as the data has, got {length}")
    starts = np.asarray(jax.random.randint(key, (seeds,), 0, room + 1))
    return values[starts[None, :] + np.arange(length)[:, None]]
