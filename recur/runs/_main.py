"""How a script starts and ends: flags, exit codes, Ctrl-C. Shared by experiments and benchmarks."""

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

import jax
from absl import app, flags, logging

from recur.runs import _cluster, _machine

BAD_INPUT, WENT_WRONG, INTERRUPTED = 2, 1, 130


class StoppedError(KeyboardInterrupt):
    """A signal asked for an end, and everything is saved.

    Args:
        text: What was done, and how it goes on.
        number: Of the signal; None if it came to another process of the run.
    """

    def __init__(self, text: str, number: int | None):
        super().__init__(text)
        self.exit_code = 128 + (signal.SIGTERM if number is None else number)


def run(main: Callable[[Sequence[str]], Any]) -> NoReturn:
    """Parses absl flags, calls ``main(argv)``, and ends the process; call it under ``if __name__ == "__main__"``.

    Exit codes: 0, also for ``--help``. 2 with one line on standard error for a wrong flag, value or file, that is
    for `absl.flags.Error`, `ValueError` and `OSError`; ``--traceback`` shows where it came from. 1 with one line for
    numbers that went wrong (`FloatingPointError`). 130 with one line for Ctrl-C, 143 for SIGTERM, and for a process of
    several that ends because another one was asked to. Anything else is a bug and ends with its traceback.
    """
    _machine.keep_memory()
    _machine.collect_seldom()
    flags.DEFINE_bool("traceback", False, "Show the whole traceback of a wrong value.", module_name="Run")
    if "host_devices" not in flags.FLAGS:
        flags.DEFINE_integer(
            "host_devices",
            os.cpu_count() or 1,
            "Devices that a CPU is split into, for seeds or parts of a batch; 1 leaves it whole.",
            lower_bound=1,
            module_name="Run",
        )

    def guarded(argv: Sequence[str]) -> None:
        logging.set_verbosity(
            logging.WARNING if flags.FLAGS["verbosity"].using_default_value else flags.FLAGS.verbosity
        )
        _machine.say_errors_once()
        try:
            if len(argv) > 1:
                raise ValueError(f"{argv[1]!r}: expected flags only, as --name=value")
            _machine.split_cpu(flags.FLAGS.host_devices)
            if "coordinator" in flags.FLAGS:
                _cluster.connect(flags.FLAGS)
            main(argv)
        except KeyboardInterrupt as error:
            together = isinstance(error, StoppedError)
            _end(getattr(error, "exit_code", INTERRUPTED), str(error) or "interrupted", together=together)
        except (ValueError, OSError, FloatingPointError) as error:
            if not _is_refusal(error):
                raise
            _show(error)
            if _cluster.is_of_lost(error):
                _end(WENT_WRONG, f"{_cluster.LOST} ({describe(error)})")
            is_number = isinstance(error, FloatingPointError)
            _end(WENT_WRONG if is_number else BAD_INPUT, describe(error), together=is_number)

        except jax.errors.JaxRuntimeError as error:
            if not _cluster.is_shared():
                raise
            _show(error)
            _end(WENT_WRONG, f"{_cluster.LOST} ({describe(error)})")

    app.run(guarded, flags_parser=_parse)
    sys.exit(0)


def _is_refusal(error: BaseException) -> bool:
    """Whether recur or one of its scripts raised an error: one of a stranger's script keeps its traceback."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if isinstance(error, OSError | FloatingPointError) or place is None:
        return True
    module = place.tb_frame.f_globals.get("__name__", "")
    if module == "__main__":
        module = getattr(sys.modules["__main__"].__spec__, "name", "")
    return module.partition(".")[0] in ("recur", "experiments", "benchmarks")


def whole_numbers(name: str, values: Sequence[str]) -> tuple[int, ...]:
    """Returns the values of a list flag as whole numbers of at least 1.

    Raises:
        ValueError: The list is empty, or an entry is something else.
    """
    if not values or not all(value.strip().isdecimal() and int(value) for value in values):
        raise ValueError(f"{name}: expected whole numbers >= 1 with commas between, got {','.join(values)!r}")
    return tuple(int(value) for value in values)


def describe(error: BaseException) -> str:
    """Returns an error as one line."""
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())


class Stop:
    """Whether to stop, for a loop to ask where stopping loses nothing; `number` is that of the signal, if one came."""

    number: int | None = None

    def __call__(self) -> bool:
        """Returns whether a signal came."""
        return self.number is not None


@contextlib.contextmanager
def stop_on_interrupt(notice: str) -> Iterator[Stop]:
    """Within it, the first Ctrl-C or SIGTERM only prints `notice`; the second acts as usual.

    Yields:
        What says whether to stop. Outside the main thread, which alone gets signals, it always says no.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(number: int, frame: FrameType | None) -> None:
        del frame
        stop.number = number
        restore()
        print(f"\n{notice}", file=sys.stderr, flush=True)

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        restore()


def _help() -> str:
    """Returns what the script is for, and its flags under their headings."""
    own = [module for module in flags.FLAGS.flags_by_module_dict() if module == sys.argv[0] or "." not in module]
    return "\n".join([sys.modules["__main__"].__doc__ or "", *map(flags.FLAGS.module_help, sorted(own))])


def _parse(argv: Sequence[str]) -> list[str]:
    if {"--help", "-help", "-h", "-?"} & set(argv[1:]):
        print(_help())
        sys.exit(0)
    try:
        rest = flags.FLAGS(list(argv))
        if flags.FLAGS["verbosity"].using_default_value:
            # Set here, because absl goes from warnings up to infos right after parsing.
            logging.set_verbosity(logging.WARNING)
        return rest
    except flags.Error as error:
        _end(BAD_INPUT, f"{describe(error)} (--help lists the flags)")
    except SystemExit:
        # absl ends --helpfull and its like with code 1, as if they were errors.
        sys.exit(0)


def _show(error: BaseException) -> None:
    """Shows where an error came from, where that is asked for: by raising it.

    One of several processes prints it, as it would wait for the others when it ends.
    """
    if not flags.FLAGS.traceback:
        return
    if not _cluster.is_shared():
        raise error
    traceback.print_exception(error)


def _end(code: int, line: str, *, together: bool = False) -> NoReturn:
    """Ends with a line; of several processes at once, unless all come to this end `together` and part in order."""
    print(f"{_cluster.name()}{line}", file=sys.stderr, flush=True)
    if _cluster.is_shared() and not together:
        _cluster.leave(code)
    sys.exit(code)
