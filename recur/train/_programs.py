"""Compiled programs that live as long as the functions they were made from, and no longer."""

import functools
import threading
import types
import weakref
from collections.abc import Callable, Hashable
from typing import Any

import jax

from recur.train._interrupts import uninterrupted

_programs: dict[Hashable, Callable] = {}
_changing = threading.RLock()


class Held:
    """A function of the caller's that programs are made from, without keeping it alive.

    Two are equal while their functions are: so the same loss, or an equal one, finds the same program.
    """

    def __init__(self, function: Callable):
        try:
            self._hash = hash(function)
        except TypeError:
            self._hash = id(function)
        self._is_hashable = self._hash != id(function)
        try:
            # The bound method of an object is made anew by every look at it.
            kind = weakref.WeakMethod if isinstance(function, types.MethodType) else weakref.ref
            self._reference = kind(function, _forget)
        except TypeError:
            self._reference = lambda: function

    @property
    def function(self) -> Callable:
        """The function; whoever runs a program of it has it."""
        function = self._reference()
        if function is None:
            raise ReferenceError("the function that this program was made from is gone")
        return function

    @property
    def is_gone(self) -> bool:
        """Whether the function is no more."""
        return self._reference() is None

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Held) or self._hash != other._hash or self.is_gone or other.is_gone:
            return False
        one, another = self._reference(), other._reference()
        return one is another or (self._is_hashable and one == another)


def program(function: Callable, *, donate: tuple[str, ...] = (), **static: Hashable) -> Callable:
    """Returns a function compiled for these values: the same one as before, while all `Held` among them live.

    Args:
        function: At the top level of a module, with `static` as keyword arguments.
        donate: Names of the arguments whose memory is given up.
        **static: Values that are compiled in; those that hold functions tell so by ``held``, a tuple of `Held`.
    """
    key = (function, donate, *sorted(static.items()))
    with _changing:
        if key not in _programs:
            _programs[key] = _compiling(jax.jit(functools.partial(function, **static), donate_argnames=donate))
        return _programs[key]


def _compiling(jitted: Callable) -> Callable:
    """Returns a jitted function whose calls, of which some compile, are not interrupted."""

    @functools.wraps(jitted)
    def call(*arguments: Any) -> Any:
        with uninterrupted():
            return jitted(*arguments)

    return call


def _forget(reference: Any) -> None:
    del reference
    with _changing:
        # A list, as more may be collected meanwhile.
        for key in [key for key in list(_programs) if any(held.is_gone for held in _held(key))]:
            _programs.pop(key, None)


def _held(key: Any) -> list[Held]:
    values = [value for _, value in key[2:]]
    return [held for value in values for held in ([value] if isinstance(value, Held) else getattr(value, "held", ()))]
