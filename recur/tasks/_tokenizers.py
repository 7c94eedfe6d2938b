"""Tokenizers of other libraries, which stand in for a `Vocabulary` where text becomes numbers."""

import inspect
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from recur._checks import LARGEST, as_numpy, as_whole_numbers, brief


class Tokenizer(Protocol):
    """What turns text in numbers and back: a tokenizer of Hugging Face or sentencepiece, or an object of your own."""

    def encode(self, text: str) -> Any:
        """Returns the numbers of a text: a sequence, or an object that has them as its ``ids``."""

    def decode(self, ids: Any) -> str:
        """Returns the text of numbers."""


def encoder_of(tokenizer: Tokenizer) -> Callable[[str], np.ndarray]:
    """Returns the function from a text to its numbers, int32 ``[T]``, without marks of begin and end.

    Raises:
        TypeError: An object without ``encode`` and ``decode``; later, one that returns no numbers.
        ValueError: Later, numbers below 0 or beyond 32 bits.
    """
    if not (callable(getattr(tokenizer, "encode", None)) and callable(getattr(tokenizer, "decode", None))):
        raise TypeError(
            f"vocabulary: expected a Vocabulary, or a tokenizer with encode and decode, got {brief(tokenizer)}"
        )
    # Hugging Face puts marks around what it encodes, and pieces of a text would have them in its middle.
    options = {"add_special_tokens": False} if _takes(tokenizer.encode, "add_special_tokens") else {}

    def encode(text: str) -> np.ndarray:
        found = tokenizer.encode(text, **options)
        ids = as_whole_numbers("vocabulary", as_numpy("vocabulary", getattr(found, "ids", found)), LARGEST + 1)
        if ids.ndim != 1:
            raise TypeError(f"vocabulary: expected numbers [T] from encode, got shape {list(ids.shape)}")
        return ids.astype(np.int32)

    return encode


def _takes(function: Callable, name: str) -> bool:
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):
        # Of some functions of C nothing is known.
        return False
