"""Fuzzed tests that are counted, and what counts as a good answer to bad input."""

import contextlib
import functools
import re
import signal
import traceback
import warnings
from pathlib import Path

import hypothesis
import pytest

import recur

NIGHTLY = 20
"""How many times the cases of the default suite `make fuzz` tries."""

COUNTS = {}
"""Cases of every fuzzed test that was imported, those of its examples not among them."""

WITHIN_S = 900
HOMES = [
    Path(recur.__file__).parent,
    Path(__file__).parents[2] / "experiments",
    Path(__file__).parents[2] / "benchmarks",
]


def cases(count, /, **strategies):
    """Runs a test on so many drawn cases, `NIGHTLY` times as many in `make fuzz`; it fails if it ran on fewer."""
    wanted = count * (NIGHTLY if hypothesis.settings.get_current_profile_name() == "nightly" else 1)

    def decorate(test):
        COUNTS[f"{test.__module__}.{test.__name__}"] = wanted
        ran = 0

        @hypothesis.settings(max_examples=wanted)
        @hypothesis.given(**strategies)
        @functools.wraps(test)
        def counted(*args, **kwargs):
            nonlocal ran
            ran += 1
            with time_limit(WITHIN_S):
                test(*args, **kwargs)

        @functools.wraps(counted)
        def whole(*args, **kwargs):
            nonlocal ran
            ran = 0
            counted(*args, **kwargs)
            assert ran >= wanted, f"{ran} cases of {wanted}: the strategies have no more"

        return whole

    return decorate


@contextlib.contextmanager
def time_limit(seconds):
    """Fails instead of hanging."""

    def stop(number, frame):
        pytest.fail(f"still running after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def answer(names, call, /, *args, **kwargs):
    """Returns ``(result, None)`` or ``(None, error)``, an error being one that says which argument is wrong.

    That is a ValueError or TypeError, raised by code of this project itself, whose words before the first colon hold
    one of `names`. Whatever else is raised goes on.
    """
    try:
        with warnings.catch_warnings():
            # JAX and NumPy say what they round: no failure.
            warnings.filterwarnings("ignore", "overflow encountered in cast|Explicitly requested dtype")
            return call(*args, **kwargs), None
    except (ValueError, TypeError) as error:
        check_refusal(error, names)
        return None, error


def check_refusal(error, names):
    """Fails unless an error was raised on purpose, and names an argument."""
    assert type(error) in (ValueError, TypeError), f"not one of the two: {type(error)}"
    last = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    assert any(last.is_relative_to(home) for home in HOMES), f"raised in {last}: {error}"
    head = str(error).partition(": ")[0]
    assert ": " in str(error), f"no argument named: {error}"
    assert any(re.search(rf"(?<!\w){re.escape(str(name))}(?!\w)", head) for name in names), (
        f"names no argument: {error}"
    )
