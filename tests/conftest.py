"""Settings that every test runs under, and the fixtures that all share."""

import os

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


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield
