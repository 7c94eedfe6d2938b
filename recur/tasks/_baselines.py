"""What simple counting achieves: the least that a network must beat."""

import collections
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from recur._checks import as_numpy, as_whole_numbers, brief, check_bool, check_positive, check_sized
from recur.tasks._conllu import Sentence


def unigram_perplexity(train: np.ndarray, held_out: np.ndarray, size: int) -> float:
    """Returns the perplexity of held-out tokens by their frequency in training, smoothed by adding one.

        P(w) = (c(w) + 1) / (N + V)

    All held-out tokens but the first count, those that a language model predicts.

    Args:
        train: Numbers of the training tokens, ``[N]``.
        held_out: Numbers to predict, at least 2.
        size: Size V of the vocabulary, which all numbers are below.

    Raises:
        TypeError: `size` is not whole.
        ValueError: Too few tokens, or a number outside of the vocabulary.

    Example:
        >>> unigram_perplexity(np.array([0, 0, 1]), np.array([0, 0]), 3)  # P = 3 / 6
        2.0
    """
    train, held_out, size = _read_tokens(train, held_out, size)
    return _perplexity(_unigram(train, size)[held_out[1:]])


def bigram_perplexity(train: np.ndarray, held_out: np.ndarray, size: int) -> float:
    """Returns the perplexity of held-out tokens by the token before, with Witten-Bell smoothing.

        P(w | v) = (c(v, w) + D(v) P(w)) / (c(v) + D(v))

    c(v, w): how often w follows v in training; c(v): how often anything does; D(v): how many different tokens do;
    P(w): as in `unigram_perplexity`, and all of it where v was never followed.

    Args:
        train: Numbers of the training tokens, ``[N]``.
        held_out: Numbers to predict, all but the first.
        size: Size V of the vocabulary.

    Raises:
        TypeError: `size` is not whole.
        ValueError: Too few tokens, or a number outside of the vocabulary.

    Reference:
        Witten and Bell (1991), https://doi.org/10.1109/18.87000; interpolated as in Chen and Goodman (1998),
        https://nrs.harvard.edu/urn-3:HUL.InstRepos:25104739, section 2.6.
    """
    train, held_out, size = _read_tokens(train, held_out, size)
    pairs, counts = np.unique(train[:-1] * size + train[1:], return_counts=True)
    followed = np.bincount(train[:-1], minlength=size)
    distinct = np.bincount(pairs // size, minlength=size)
    before, token = held_out[:-1], held_out[1:]
    place = np.minimum(np.searchsorted(pairs, before * size + token), len(pairs) - 1)
    count = np.where(pairs[place] == before * size + token, counts[place], 0)
    unigram, total = _unigram(train, size)[token], followed[before] + distinct[before]
    return _perplexity(np.where(total > 0, (count + distinct[before] * unigram) / np.maximum(total, 1), unigram))


def majority_tag_accuracy(train: Sequence[Sentence], held_out: Sequence[Sentence]) -> float:
    """Returns the accuracy of giving every word its most frequent tag in training, and new words the most frequent.

    Of equally frequent tags the one that came first is taken.

    Raises:
        ValueError: No sentences in one of them.
    """
    for name, part in {"train": train, "held_out": held_out}.items():
        check_sized(name, part)
        if not all(isinstance(sentence, Sentence) for sentence in part):
            raise TypeError(f"{name}: expected recur.tasks.Sentence, got {brief(part)}")
    if not len(train) or not len(held_out):
        raise ValueError(f"train: expected sentences in both parts, got {len(train)} and {len(held_out)}")
    by_word: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    overall = collections.Counter()
    for words, tags in train:
        overall.update(tags)
        for word, tag in zip(words, tags, strict=True):
            by_word[word][tag] += 1
    best, default = {word: _most_frequent(counts) for word, counts in by_word.items()}, _most_frequent(overall)
    right = [
        best.get(word, default) == tag
        for sentence in held_out
        for word, tag in zip(sentence.words, sentence.tags, strict=True)
    ]
    return sum(right) / len(right)


def majority_accuracy(train: Sequence[Hashable], held_out: Sequence[Hashable]) -> float:
    """Returns the accuracy of the most frequent training label, of equally frequent ones that which came first.

    Raises:
        TypeError: No sequence of labels.
        ValueError: No labels in one of them.

    Example:
        >>> majority_accuracy(["a", "b", "b"], ["b", "a", "b", "b"])
        0.75
    """
    for name, labels in {"train": train, "held_out": held_out}.items():
        check_sized(name, labels)
        if not len(labels):
            raise ValueError(f"{name}: expected at least one label, got none; give data with content")
    try:
        guess = _most_frequent(collections.Counter(train))
    except TypeError:
        raise TypeError(f"train: expected labels that can be counted, such as strings, got {brief(train)}") from None
    return sum(label == guess for label in held_out) / len(held_out)


def naive_forecast(values: np.ndarray, start: int, *, period_steps: int = 1, free_running: bool = False) -> np.ndarray:
    """Forecasts a series from `start` on by what was a period ago: persistence, or seasonal with a period above 1.

        one step ahead:  y_t = v_{t - P}          free-running:  y_t = v_{t - P n}, the latest before `start`

    Args:
        values: The series v, ``[N, ...]``.
        start: The first step to forecast, 1 to N - 1 and at least `period_steps`.
        period_steps: P; 1 is persistence.
        free_running: Whether nothing from `start` on is known.

    Returns:
        Forecasts of ``values[start:]``.

    Raises:
        TypeError: A number that is not whole.
        ValueError: `period_steps` below 1, or a `start` out of range.

    Example:
        >>> naive_forecast(np.array([1, 2, 3, 4, 5, 6]), 3, period_steps=2)
        array([2, 3, 4])
        >>> naive_forecast(np.array([1, 2, 3, 4, 5, 6]), 3, period_steps=2, free_running=True)
        array([2, 3, 2])
    """
    values = as_numpy("values", values)
    check_sized("values", values)
    period_steps, start = check_positive("period_steps", period_steps), check_positive("start", start)
    if not period_steps <= start < len(values):
        raise ValueError(
            f"start: expected {period_steps} to {len(values) - 1}, a period after the beginning and before the end, "
            f"got {start}"
        )
    if check_bool("free_running", free_running):
        return values[start - period_steps + np.arange(len(values) - start) % period_steps]
    return values[start - period_steps : len(values) - period_steps]


def _unigram(train: np.ndarray, size: int) -> np.ndarray:
    return (np.bincount(train, minlength=size) + 1) / (len(train) + size)


def _perplexity(probabilities: np.ndarray) -> float:
    return float(np.exp(-np.log(probabilities).mean()))


def _most_frequent(counts: collections.Counter) -> Hashable:
    return counts.most_common(1)[0][0]


def _read_tokens(train: Any, held_out: Any, size: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns both sequences as arrays ``[N]``, and the size, checked."""
    size, read = check_positive("size", size), []
    for name, ids in {"train": train, "held_out": held_out}.items():
        ids = as_whole_numbers(name, ids)
        if ids.ndim != 1 or len(ids) < 2:
            raise ValueError(
                f"{name}: expected at least 2 tokens, got {len(ids) if ids.ndim == 1 else ids.shape}; give more data"
            )
        if ids.min() < 0 or ids.max() >= size:
            raise ValueError(f"{name}: expected numbers 0 to {size - 1}, got {ids.min()} to {ids.max()}; raise size")
        # Narrow integers would overflow in the number of a pair, and counting takes no unsigned ones of 64 bits.
        read.append(ids.astype(np.int64))
    return *read, size
