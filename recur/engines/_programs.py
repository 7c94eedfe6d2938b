"""Compiled programs of cells: so many are remembered, those that were used last."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax

PROGRAMS = 64
"""Programs of one function at most. One takes about 2 MB."""


def compiled(*static: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns a decorator like `jax.jit` with static arguments, which forgets the programs of old ones.

    `jax.jit` keeps every value of a static argument with its program for ever, so that a loop over cells that are
    declared and dropped would fill the memory.

    Args:
        *static: Names of the arguments that are compiled in; they are hashable, and have no default.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        names = tuple(inspect.signature(function).parameters)

        @functools.lru_cache(maxsize=PROGRAMS)
        def program(*values: Any) -> Callable[..., Any]:
            of_these = functools.partial(function, **dict(zip(static, values, strict=True)))
            of_these.__name__ = function.__name__
            return jax.jit(of_these)

        @functools.wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            arguments = dict(zip(names, args, strict=False)) | options
            return program(*(arguments.pop(name) for name in static))(**arguments)

        return call

    return decorate
