"""Lets somebody else run the recurrent layers of a module, to see what they read or to put something in their place."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

# Called by every `RNN` in place of its own run, with the layer and the arguments of `RNN.run`.
_handler: contextvars.ContextVar[Callable[..., Any] | None] = contextvars.ContextVar("recur_nn_handler", default=None)


@contextlib.contextmanager
def watching(handler: Callable[..., Any]) -> Iterator[None]:
    """Hands every run of a recurrent layer to `handler` for the length of a ``with`` block."""
    token = _handler.set(handler)
    try:
        yield
    finally:
        _handler.reset(token)


def watcher() -> Callable[..., Any] | None:
    """Returns the handler of the block that one is in, None outside of any."""
    return _handler.get()
