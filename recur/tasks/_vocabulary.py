"""Tokens and their numbers, with marks for what is no token."""

import collections
import dataclasses
import functools
import os
from collections.abc import Iterable, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from recur._checks import as_list, as_whole_numbers, brief, check_bool, check_positive
from recur.tasks._files import read_json, write_json
from recur.tasks._labels import check_distinct

MARKS = ("<pad>", "<unknown>", "<begin>", "<end>")


class Unknown(NamedTuple):
    """How much of some data a vocabulary does not know; its text is a one-line report.

    Args:
        count: Tokens that are unknown.
        total: Tokens in all.
        first: The first of them, None if there is none.
    """

    count: int
    total: int
    first: str | None

    def __str__(self) -> str:
        """Returns the report."""
        if not self.count:
            return f"0 of {self.total} tokens unknown"
        share = 100 * self.count / self.total
        return (
            f"{self.count} of {self.total} tokens unknown ({share:.2f} %), first {self.first!r}; "
            f"each replaced by {MARKS[Vocabulary.unknown]}"
        )


class Encoded(NamedTuple):
    """Sequences as numbers.

    Args:
        ids: One int32 array ``[T]`` a sequence.
        unknown: What of them was unknown.
    """

    ids: list[np.ndarray]
    unknown: Unknown


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Tokens, numbered after four marks: 0 padding, 1 unknown, 2 begin, 3 end.

    Marks are numbers, not spellings: a text that holds the word ``<pad>`` has it as a token of its own.

    Args:
        tokens: The distinct tokens; token n has number n + 4.

    Raises:
        TypeError: Something that is no tuple of strings.
        ValueError: No token, or one twice.

    Example:
        >>> vocabulary = Vocabulary.build([["나는", "집에", "간다"], ["나는", "온다"]])
        >>> vocabulary.tokens, len(vocabulary)
        (('나는', '간다', '온다', '집에'), 8)
        >>> vocabulary.encode(["나는", "학교에", "간다"], end=True).tolist()
        [4, 1, 5, 3]
        >>> vocabulary.decode([2, 4, 1, 5, 3, 0, 0])
        ['나는', '<unknown>', '간다']
    """

    tokens: tuple[str, ...]

    pad: ClassVar[int] = 0
    unknown: ClassVar[int] = 1
    begin: ClassVar[int] = 2
    end: ClassVar[int] = 3

    def __post_init__(self):
        check_distinct("tokens", self.tokens)

    @classmethod
    def build(
        cls, sequences: Iterable[Iterable[str]], *, least_count: int = 1, most: int | None = None
    ) -> "Vocabulary":
        """Builds a vocabulary of training data: frequent tokens first, equally frequent ones by code point.

        A string is a sequence of its characters, so ``Vocabulary.build(text_chunks(path))`` is the alphabet of a file.

        Args:
            sequences: Sequences of tokens, read once.
            least_count: How often a token must occur; leave rare ones out, and the unknown mark is trained.
            most: How many tokens at most, by default all.

        Raises:
            TypeError: A number that is not whole.
            ValueError: A number below 1, or no token that occurs often enough.
        """
        check_positive("least_count", least_count)
        if most is not None:
            check_positive("most", most)
        counts = collections.Counter()
        try:
            for sequence in sequences:
                counts.update(sequence)
        except TypeError as error:
            raise TypeError(f"sequences: expected sequences of strings, got {error}; put it in a list") from None
        if not all(isinstance(token, str) for token in counts):
            wrong = next(token for token in counts if not isinstance(token, str))
            raise TypeError(f"sequences: expected sequences of strings, got {brief(wrong)} in one")
        ranked = sorted((-count, token) for token, count in counts.items() if count >= least_count)[:most]
        if not ranked:
            raise ValueError(
                f"sequences: expected a token that occurs at least {least_count} times, got none among "
                f"{counts.total()}; give more data, or a smaller least_count"
            )
        return cls(tuple(token for _, token in ranked))

    def __len__(self) -> int:
        """Returns V, marks included."""
        return len(MARKS) + len(self.tokens)

    @functools.cached_property
    def _numbers(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens, len(MARKS))}

    def encode(
        self, tokens: Iterable[str], *, begin: bool = False, end: bool = False, strict: bool = False
    ) -> np.ndarray:
        """Returns the numbers of tokens, int32 ``[T]``; an unknown one gets number 1.

        Args:
            tokens: The tokens; a string is its characters.
            begin: Whether to put the begin mark before them.
            end: Whether to put the end mark after them.
            strict: Whether to refuse what is unknown.

        Raises:
            ValueError: An unknown token, if `strict`; it is named.
        """
        return self.encode_all([tokens], begin=begin, end=end, strict=strict).ids[0]

    def encode_all(
        self, sequences: Iterable[Iterable[str]], *, begin: bool = False, end: bool = False, strict: bool = False
    ) -> Encoded:
        """Returns the numbers of many sequences, and what of them was unknown; see `encode`."""
        numbers, unknown = self._numbers, self.unknown
        for name, value in {"begin": begin, "end": end, "strict": strict}.items():
            check_bool(name, value)
        head, tail = [self.begin] * begin, [self.end] * end
        ids, count, total, first = [], 0, 0, None
        for index, sequence in enumerate(sequences):
            tokens = as_list("tokens", sequence)
            total += len(tokens)
            try:
                found = [numbers.get(token, unknown) for token in tokens]
            except TypeError:
                raise TypeError(f"tokens: expected strings, got {brief(tokens)}") from None
            if unknown in found:
                place = found.index(unknown)
                if strict:
                    raise ValueError(
                        f"data: expected tokens of the vocabulary, got {tokens[place]!r} at place {place} of "
                        f"sequence {index}; leave out strict, and it is replaced by {MARKS[unknown]}"
                    )
                count += found.count(unknown)
                first = tokens[place] if first is None else first
            ids.append(np.array(head + found + tail, np.int32))
        return Encoded(ids, Unknown(count, total, first))

    def encode_spelling(self, words: Sequence[str], length: int = 16) -> np.ndarray:
        """Returns the characters of words, int32 ``[T, length]``: cut or padded to `length`.

        Raises:
            TypeError: `length` is not whole.
            ValueError: `length` below 1.
        """
        words = as_list("words", words)
        if not all(isinstance(word, str) for word in words):
            raise TypeError(f"words: expected strings, got {brief(words)}")
        spelled = np.full((len(words), check_positive("length", length)), self.pad, np.int32)
        for row, ids in zip(spelled, self.encode_all(word[:length] for word in words).ids, strict=True):
            row[: len(ids)] = ids
        return spelled

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Returns the tokens of numbers, up to the first end mark, without padding and begin marks.

        Raises:
            TypeError: Something that is no whole number.
            ValueError: A number that is none of the vocabulary's.
        """
        found = []
        for number in as_whole_numbers("ids", ids, len(self)).ravel().tolist():
            if number == self.end:
                break
            if number not in (self.pad, self.begin):
                found.append(MARKS[number] if number < len(MARKS) else self.tokens[number - len(MARKS)])
        return found

    def save(self, path: str | os.PathLike) -> None:
        """Writes the vocabulary as JSON."""
        write_json(path, {"kind": "vocabulary", "tokens": self.tokens})

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Vocabulary":
        """Reads what `save` wrote.

        Raises:
            ValueError: No such file, or it holds no vocabulary.
        """
        return cls(read_json(path, "vocabulary", "tokens"))
