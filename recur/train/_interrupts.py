"""Interrupts that wait until a compilation ends."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Holds Ctrl-C back until the block ends, and lets it act then.

    XLA compiles in threads of its own. An interrupt ends the main thread's wait for them and the interpreter leaves,
    while a thread is still at work on what is being destroyed: the process ends by a segmentation fault. So whatever
    may compile for the first time stands in such a block, as all programs of `fit` do; keep what may wait for something
    else, such as a queue, outside.

    A handler that the program has set is called as always, only later; however often it was asked for, once. In other
    threads than the main one, which is the one that is interrupted, and where interrupts are ignored, nothing happens.

    Example:
        >>> import jax
        >>> with uninterrupted():
        ...     compiled = jax.jit(lambda x: x + 1).lower(1.0).compile()
    """
    before = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not callable(before) or isinstance(before, _Holding):
        yield
        return
    holding = _Holding()
    signal.signal(signal.SIGINT, holding)
    try:
        yield
    finally:
        # Whoever sets another handler within the block means it.
        if signal.getsignal(signal.SIGINT) is holding:
            signal.signal(signal.SIGINT, before)
        if holding.came:
            signal.raise_signal(signal.SIGINT)


class _Holding:
    """A handler that remembers that it was called."""

    def __init__(self) -> None:
        self.came = False

    def __call__(self, number: int, frame: Any) -> None:
        self.came = True
