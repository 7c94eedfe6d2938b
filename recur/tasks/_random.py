"""Random numbers for data that are made on the host."""

import jax
import numpy as np

from recur._checks import check_key
from recur._types import Array, Key


def host_generator(key: Key[Array, ""], *numbers: int) -> np.random.Generator:
    """Returns NumPy's generator for a PRNG key and numbers: the same ones, the same draws, on every machine."""
    check_key("key", key)
    words = np.asarray(jax.random.key_data(key)).ravel().tolist()
    return np.random.default_rng([*words, *numbers])
