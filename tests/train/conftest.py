"""Fixtures of the tests of training."""

import gc
import time

import pytest


@pytest.fixture
def settled():
    """Lets TensorStore tell within the test of what it could not read or write, which it does from its own threads."""
    yield
    time.sleep(0.2)
    gc.collect()
