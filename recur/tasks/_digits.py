"""Handwritten digits that come with scikit-learn."""

from typing import NamedTuple

import numpy as np


class Digits(NamedTuple):
    """1,797 handwritten digits.

    Args:
        images: Grey values in [0, 1], float32 ``[1797, 8, 8]``.
        labels: The digit, int32 ``[1797]``.
    """

    images: np.ndarray
    labels: np.ndarray


def load_digits() -> Digits:
    """Loads the digits of the scikit-learn package, from disk, without a download.

    Raises:
        ImportError: Without scikit-learn.

    Reference:
        Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, https://doi.org/10.24432/C50P49.
    """
    try:
        from sklearn import datasets
    except ImportError:
        raise ImportError("digits: expected scikit-learn, got none; pip install 'recur[data]'") from None
    bunch = datasets.load_digits()
    return Digits((bunch.images / 16.0).astype(np.float32), bunch.target.astype(np.int32))
