"""How a script starts and ends: flags, exit codes, Ctrl-C. Shared by experiments and benchmarks."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

from absl import app, flags, logging

from experiments import _machine

BAD_INPUT, WENT_WRONG, INTERRUPTED = 2, 1, 130


def run(main: Callable[[Sequence[str]], Any]) -> NoReturn:
    """Parses absl flags, calls ``main(argv)``, and ends the process; call it under ``if __name__ == "__main__"``.

    Exit codes: 0, also for ``--help``. 2 with one line on standard error for a wrong flag, value or file, that is
    for `absl.flags.Error`, `ValueError` and `OSError`; ``--traceback`` shows where it came from. 1 with one line for
    numbers that went wrong (`FloatingPointError`). 130 with one line for Ctrl-C. Anything else is a bug and ends
    with its traceback.
    """
    _machine.keep_memory()
    flags.DEFINE_bool("traceback", False, "Show the whole traceback of a wrong value.", module_name=sys.argv[0])
    if "host_devices" not in flags.FLAGS:
        flags.DEFINE_integer(
            "host_devices",
            os.cpu_count() or 1,
            "Devices that a CPU is split into, for seeds or parts of a batch; 1 leaves it whole.",
            lower_bound=1,
            module_name=sys.argv[0],
        )

    def guarded(argv: Sequence[str]) -> None:
        logging.set_verbosity(
            logging.WARNING if flags.FLAGS["verbosity"].using_default_value else flags.FLAGS.verbosity
        )
        try:
            if len(argv) > 1:
                raise ValueError(f"{argv[1]!r}: expected flags only, as --name=value")
            _machine.split_cpu(flags.FLAGS.host_devices)
            main(argv)
        except KeyboardInterrupt as error:
            _end(INTERRUPTED, str(error) or "interrupted")
        except (ValueError, OSError, FloatingPointError) as error:
            if flags.FLAGS.traceback:
                raise
            _end(WENT_WRONG if isinstance(error, FloatingPointError) else BAD_INPUT, describe(error))

    app.run(guarded, flags_parser=_parse)
    sys.exit(0)


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


@contextlib.contextmanager
def stop_on_interrupt(notice: str) -> Iterator[Callable[[], bool]]:
    """Within it, the first Ctrl-C only prints `notice`; the second interrupts as usual.

    Yields:
        A function that says whether to stop, for the loop to ask where stopping loses nothing. Outside the main
        thread, which alone gets signals, it always says no.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: FrameType | None) -> None:
        del number, frame
        asked.set()
        signal.signal(signal.SIGINT, before)
        print(f"\n{notice}", file=sys.stderr, flush=True)

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _parse(argv: Sequence[str]) -> list[str]:
    try:
        rest = flags.FLAGS(list(argv))
        if flags.FLAGS["verbosity"].using_default_value:
            # Set here, because absl goes from warnings up to infos right after parsing.
            logging.set_verbosity(logging.WARNING)
        return rest
    except flags.Error as error:
        _end(BAD_INPUT, f"{describe(error)} (--help lists the flags)")
    except SystemExit:
        # absl ends --help with code 1, as if it were an error.
        sys.exit(0)


def _end(code: int, line: str) -> NoReturn:
    print(line, file=sys.stderr, flush=True)
    sys.exit(code)
