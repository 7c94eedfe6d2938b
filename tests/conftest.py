"""Settings that every test runs under, and the fixtures that all share."""

import os
import pathlib

# Before JAX or torch start: two test processes share two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("KERAS_BACKEND", "jax")
# Tests are many small programs: nearly all their time is the compiler's, a quarter of it spent on faster code.
os.environ["XLA_FLAGS"] = f"--xla_backend_optimization_level=0 {os.environ.get('XLA_FLAGS', '')}"

import hypothesis
import jax
import pytest

# The same cases in every run; `make fuzz` draws new ones, and more of them (tests/fuzz/_cases.py).
_COMMON = {"deadline": None, "suppress_health_check": list(hypothesis.HealthCheck)}
hypothesis.settings.register_profile("default-suite", derandomize=True, database=None, **_COMMON)
hypothesis.settings.register_profile("nightly", print_blob=True, **_COMMON)
hypothesis.settings.load_profile("default-suite")

jax.config.update("jax_numpy_rank_promotion", "raise")


MANY_MAPS = 20_000
"""Of the 65,530 areas of memory that Linux lets a process have: each compiled program takes some."""


@pytest.fixture(scope="module", autouse=True)
def _few_programs():
    """Drops compiled programs where a process has gathered so many that the next one may not find room."""
    yield
    maps = pathlib.Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MANY_MAPS:
        jax.clear_caches()


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield
