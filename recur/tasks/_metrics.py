"""Figures of merit that belong to data, on the host."""

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from recur._checks import as_numpy, as_whole_numbers, brief, check_number, check_sized
from recur.tasks._extras import extra

_LARGEST_LOG = math.log(sys.float_info.max)


def token_accuracy(predictions: np.ndarray, targets: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Returns the share of tokens that are right, of those where `mask` is True; by default of all.

    Raises:
        TypeError: Something else than whole numbers and flags.
        ValueError: Unequal shapes, or nothing to count.

    Example:
        >>> token_accuracy(np.array([[1, 2, 3]]), np.array([[1, 2, 4]]), np.array([[True, False, True]]))
        0.5
    """
    predictions, targets = as_whole_numbers("predictions", predictions), as_whole_numbers("targets", targets)
    mask = np.ones(targets.shape, bool) if mask is None else as_numpy("mask", mask)
    if mask.dtype != bool:
        raise TypeError(f"mask: expected flags, True where a token counts, got dtype {mask.dtype}")
    if not predictions.shape == targets.shape == mask.shape:
        raise ValueError(
            f"predictions: expected the shape of targets and mask, got {predictions.shape}, {targets.shape} and "
            f"{mask.shape}; take the greatest logit first"
        )
    if not predictions.size:
        raise ValueError("predictions: expected at least one token, got none; give data with content")
    if not mask.any():
        raise ValueError("mask: expected a token that counts, got none; give data with content")
    return float((predictions == targets)[mask].mean())


def exact_match(predictions: Sequence[Any], references: Sequence[Any]) -> float:
    """Returns the share of predictions, strings, lists, tuples or arrays, that are wholly right.

    Lists, tuples and arrays of the same entries are equal.

    Raises:
        TypeError: A bare string in place of a list of them, or a string that is compared with a list of tokens.
        ValueError: Unequal numbers, or none.

    Example:
        >>> exact_match(["three", "sevn"], ["three", "seven"])
        0.5
    """
    _check_aligned(predictions, references)
    right = 0
    try:
        for given, wanted in zip(map(_as_plain, predictions), map(_as_plain, references), strict=True):
            if isinstance(given, list) != isinstance(wanted, list):
                raise TypeError(f"{brief(given)} beside {brief(wanted)}; split both, or none")
            right += bool(given == wanted)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise TypeError(
            f"predictions: expected strings or lists of numbers, got {brief(predictions)}: {error}"
        ) from None
    return right / len(predictions)


def bleu(predictions: Sequence[str], references: Sequence[str], *, lower: bool = True) -> float:
    """Returns the BLEU score of a corpus, 0 to 100, by sacrebleu with its own tokenization (13a).

    Args:
        predictions: Sentences as text, not tokenized.
        references: The right ones.
        lower: Whether to ignore case.

    Raises:
        ImportError: Without sacrebleu.
        TypeError: A bare string in place of a list of them, or something else than strings.
        ValueError: Unequal numbers, or none.

    Reference:
        Post (2018), https://aclanthology.org/W18-6319.
    """
    _check_aligned(predictions, references)
    for name, texts in {"predictions": predictions, "references": references}.items():
        if not all(isinstance(text, str) for text in texts):
            raise TypeError(f"{name}: expected sentences as strings, got {brief(texts)}")
    sacrebleu = extra("sacrebleu", "bleu")
    # force: it need not warn that a text looks tokenized.
    return sacrebleu.corpus_bleu(list(predictions), [list(references)], lowercase=lower, force=True).score


def perplexity(nats: float) -> float:
    """Returns e to the mean cross-entropy in nats a token; infinity where that is too large for a float, NaN for NaN.

    Example:
        >>> round(perplexity(math.log(8)), 6)
        8.0
    """
    nats = check_number("nats", nats)
    return math.inf if nats > _LARGEST_LOG else math.exp(nats)


def _as_plain(entry: Any) -> Any:
    """Returns arrays and tuples as lists, which are equal or not as a whole, and all else as it is."""
    entry = entry.tolist() if hasattr(entry, "tolist") else entry
    return [_as_plain(one) for one in entry] if isinstance(entry, list | tuple) else entry


def _check_aligned(predictions: Sequence[Any], references: Sequence[Any]) -> None:
    for name, values in {"predictions": predictions, "references": references}.items():
        check_sized(name, values)
        if isinstance(values, str | bytes):
            raise TypeError(f"{name}: expected a list of sentences, got {brief(values)}; put it in a list")
    if len(predictions) != len(references) or not len(references):
        raise ValueError(
            f"predictions: expected one for each reference, got {len(predictions)} for {len(references)}; align them"
        )
