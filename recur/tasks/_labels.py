"""Names of classes and their numbers."""

import collections
import dataclasses
import os
from collections.abc import Iterable, Sequence

import numpy as np

from recur._checks import as_list, as_whole_numbers, brief
from recur.tasks._files import read_json, write_json


@dataclasses.dataclass(frozen=True)
class Labels:
    """Names of classes, numbered from 0: no marks, and a name that is not among them is an error.

    Args:
        names: The distinct names; their number is the number of classes.

    Raises:
        TypeError: Something that is no tuple of strings.
        ValueError: No name, or one twice.

    Example:
        >>> labels = Labels.build(["pos", "neg", "pos"])
        >>> labels.names, labels.encode(["pos", "neg"]).tolist(), labels.decode([1])
        (('neg', 'pos'), [1, 0], ['pos'])
    """

    names: tuple[str, ...]

    def __post_init__(self):
        check_distinct("names", self.names)

    @classmethod
    def build(cls, labels: Iterable[str]) -> "Labels":
        """Numbers the distinct labels of training data by their code points."""
        labels = as_list("labels", labels)
        check_strings("labels", labels)
        return cls(tuple(sorted(set(labels))))

    def __len__(self) -> int:
        """Returns the number of classes."""
        return len(self.names)

    def encode(self, labels: Iterable[str]) -> np.ndarray:
        """Returns the numbers of labels, int32 ``[N]``.

        Raises:
            ValueError: A label that is not among the names.
        """
        numbers = {name: number for number, name in enumerate(self.names)}
        labels = as_list("labels", labels)
        check_strings("labels", labels)
        for index, label in enumerate(labels):
            if label not in numbers:
                raise ValueError(
                    f"data: expected a label of {list(self.names)}, got {label!r} at item {index}; "
                    "rename it, or train on data that has it"
                )
        return np.array([numbers[label] for label in labels], np.int32)

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Returns the names of numbers.

        Raises:
            TypeError: Something that is no whole number.
            ValueError: A number without a name.
        """
        return [self.names[number] for number in as_whole_numbers("ids", ids, len(self)).ravel().tolist()]

    def save(self, path: str | os.PathLike) -> None:
        """Writes the labels as JSON."""
        write_json(path, {"kind": "labels", "names": self.names})

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Labels":
        """Reads what `save` wrote.

        Raises:
            ValueError: No such file, or it holds no labels.
        """
        return cls(read_json(path, "labels", "names"))


def check_distinct(name: str, strings: Sequence[str]) -> None:
    """Raises unless these are strings, at least one, and each once."""
    check_strings(name, strings)
    if not strings:
        raise ValueError(f"{name}: expected at least one, got none; give data with content")
    repeated = next((string for string, count in collections.Counter(strings).items() if count > 1), None)
    if repeated is not None:
        raise ValueError(f"{name}: expected each once, got {repeated!r} twice; leave one out")


def check_strings(name: str, strings: Sequence[str]) -> None:
    """Raises TypeError unless this is a tuple or list of strings."""
    if not isinstance(strings, (tuple, list)) or not all(isinstance(string, str) for string in strings):
        raise TypeError(f"{name}: expected a list of strings, got {brief(strings)}")
