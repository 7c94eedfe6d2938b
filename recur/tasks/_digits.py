"""Handwritten digits that come with scikit-learn: as images, pixel by pixel, by name, and as videos."""

from typing import NamedTuple

import numpy as np

from recur._checks import as_numbers, brief, check_number, check_positive
from recur._types import Array, Key
from recur.tasks._extras import extra
from recur.tasks._random import host_generator

DIGIT_NAMES = {
    "en": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "ko": ("영", "일", "이", "삼", "사", "오", "육", "칠", "팔", "구"),
}
_SIDE = 8


class Digits(NamedTuple):
    """Handwritten digits; there are 1,797.

    Args:
        images: Grey values in [0, 1], float32 ``[N, 8, 8]``.
        labels: The digit, int32 ``[N]``. ``DIGIT_NAMES["ko"][label]`` is its name.
    """

    images: np.ndarray
    labels: np.ndarray


class Videos(NamedTuple):
    """Moving digits.

    Args:
        frames: Grey values, float32 ``[N, T, S, S]``: 0 to 1 before noise.
        labels: The digit in each frame, covered or not, int32 ``[N, T]``.
        covered: Whether a block hides the digit, bool ``[N, T]``.
    """

    frames: np.ndarray
    labels: np.ndarray
    covered: np.ndarray


def load_digits() -> Digits:
    """Loads the digits of the scikit-learn package, from disk, without a download.

    Raises:
        ImportError: Without scikit-learn.

    Reference:
        Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, https://doi.org/10.24432/C50P49.
    """
    bunch = extra("sklearn.datasets", "load_digits").load_digits()
    return Digits((bunch.images / 16.0).astype(np.float32), bunch.target.astype(np.int32))


def pixel_sequences(images: np.ndarray, *, key: Key[Array, ""] | None = None) -> np.ndarray:
    """Returns images pixel by pixel, float32 ``[N, T, 1]``: row by row, or in one order that `key` draws for all.

    Args:
        images: Grey values ``[N, ...]``; T is the number of pixels of one.
        key: PRNG key of the order; None keeps it.

    Raises:
        TypeError: `key` is no key.

    Reference:
        Le, Jaitly and Hinton (2015), https://arxiv.org/abs/1504.00941, section 4.2.
    """
    images = as_numbers("images", images)
    if images.ndim < 2 or not images.size:
        raise ValueError(f"images: expected images [N, ...] with pixels, got shape {images.shape}")
    pixels = images.reshape(len(images), -1, 1).astype(np.float32)
    return pixels if key is None else pixels[:, host_generator(key).permutation(pixels.shape[1])]


def digit_videos(
    key: Key[Array, ""],
    digits: Digits,
    count: int,
    frames: int = 16,
    *,
    size: int = 16,
    noise: float = 0.3,
    cover: float = 0.4,
    change: float = 0.05,
) -> Videos:
    """Draws videos of digits that move, are hidden for a while, and now and then become another digit.

    A digit moves on a dark square by one pixel a frame at most in each direction, and bounces off the sides. In each
    frame, independently: with probability `cover` a grey block hides it; with probability `change` another image, of
    any digit, has taken its place and goes on moving; every pixel has noise of its own. Who sees single frames only
    can but guess the hidden digits.

    Args:
        key: PRNG key; the same key draws the same videos.
        digits: The images to show. Give training and held-out ones of `hold_out` apart.
        count: Videos N.
        frames: Frames T of each.
        size: Width and height S in pixels, at least 8.
        noise: Standard deviation of the Gaussian noise.
        cover: Probability that a frame's digit is covered.
        change: Probability that the digit changes before a frame.

    Raises:
        TypeError: `key` is no key, or a number is not one.
        ValueError: A number below 1, a `size` below 8, negative noise, or a probability outside [0, 1].
    """
    sizes = {"count": count, "frames": frames, "size": size}
    count, frames, size = (check_positive(name, value) for name, value in sizes.items())
    if size < _SIDE:
        raise ValueError(f"size: expected at least {_SIDE}, the width of a digit, got {size}")
    if check_number("noise", noise) < 0:
        raise ValueError(f"noise: expected a standard deviation >= 0, got {noise}")
    for name, value in {"cover": cover, "change": change}.items():
        if not 0 <= check_number(name, value) <= 1:
            raise ValueError(f"{name}: expected a probability from 0 to 1, got {value}")
    if not isinstance(digits, Digits) or digits.images.shape[1:] != (_SIDE, _SIDE) or not len(digits.images):
        raise TypeError(f"digits: expected recur.tasks.Digits with images [N, 8, 8], got {brief(digits)}")
    rng = host_generator(key)
    changed = rng.random((count, frames)) < change
    changed[:, 0] = True
    # The last frame at or before this one in which the image changed says which image it is.
    since = np.maximum.accumulate(np.where(changed, np.arange(frames), 0), axis=1)
    shown = np.take_along_axis(rng.integers(len(digits.images), size=(count, frames)), since, axis=1)
    covered = rng.random((count, frames)) < cover
    patches = np.where(covered[..., None, None], np.float32(0.5), digits.images[shown])
    places = _bouncing(rng, count, frames, size - _SIDE)
    canvas = np.zeros((count, frames, size, size), np.float32)
    rows, columns = (places[axis][..., None] + np.arange(_SIDE) for axis in range(2))
    video, frame = np.ogrid[:count, :frames]
    canvas[video[..., None, None], frame[..., None, None], rows[..., None], columns[:, :, None]] = patches
    canvas += noise * rng.standard_normal(canvas.shape, np.float32)
    return Videos(canvas, digits.labels[shown], covered)


def _bouncing(rng: np.random.Generator, count: int, frames: int, room: int) -> np.ndarray:
    """Returns places ``[2, N, T]`` from 0 to `room`, that go back and forth at speeds -1, 0 or 1."""
    start = rng.integers(room + 1, size=(2, count, 1))
    speed = rng.integers(-1, 2, size=(2, count, 1))
    # A triangle wave: there and back is one turn around a circle of 2 room places.
    turn = (start + speed * np.arange(frames)) % max(2 * room, 1)
    return np.minimum(turn, 2 * room - turn)
