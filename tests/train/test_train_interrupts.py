"""Ctrl-C while a program compiles is held back, and raised when that has ended."""

import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from recur import train

SGD = optax.sgd(0.1)
X = np.linspace(-1, 1, 24).reshape(8, 3).astype(np.float32)


def start():
    return train.init_state(jnp.ones(3), SGD, jax.random.key(0))


def loss_that_is_interrupted(seen):
    def loss(params, batch, key):
        signal.raise_signal(signal.SIGINT)
        seen.append("after the first")
        signal.raise_signal(signal.SIGINT)
        seen.append("after the second")
        return jnp.mean((batch @ params - 1) ** 2), {}

    return loss


def fit(loss):
    return train.fit(start(), loss, SGD, X, steps=2, batch_size=4)


def fit_batches(loss):
    return train.fit_batches(start(), loss, SGD, [X, X], steps=2)


def evaluate(loss):
    return train.evaluate_batches(loss, jnp.ones(3), [X])


@pytest.fixture
def usual_handler():
    """Python's own: a shell lets what it starts in the background ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("usual_handler")
@pytest.mark.parametrize("run", [fit, fit_batches, evaluate])
def test_an_interrupt_while_compiling_is_raised_after_it(run):
    seen, before = [], signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(loss_that_is_interrupted(seen))
    assert seen == ["after the first", "after the second"]
    assert signal.getsignal(signal.SIGINT) is before


@pytest.fixture
def own_handler():
    calls, before = [], signal.getsignal(signal.SIGINT)

    def handler(number, frame):
        calls.append(number)

    signal.signal(signal.SIGINT, handler)
    yield handler, calls
    signal.signal(signal.SIGINT, before)


def test_a_handler_of_the_user_is_called_and_stays(own_handler):
    handler, calls = own_handler
    with train.uninterrupted():
        with train.uninterrupted():
            signal.raise_signal(signal.SIGINT)
        assert calls == []
    assert calls == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is handler
    # Whoever sets another handler meanwhile means it.
    with train.uninterrupted():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    with train.uninterrupted():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_other_threads_are_left_as_they_are(own_handler):
    found = []

    def run():
        with train.uninterrupted():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [own_handler[0]]


SCRIPT = """
import jax, jax.numpy as jnp, numpy as np, optax
from recur import train
X = np.ones((64, 30, 8), np.float32)

def loss(params, batch, key):
    def step(h, x):
        h = jnp.tanh(x @ params["w"] + h @ params["u"])
        return h, h
    hs = jax.lax.scan(step, jnp.zeros((batch.shape[0], 16)), batch.swapaxes(0, 1))[1]
    return jnp.mean((hs.sum(-1) - 1) ** 2), {}

print("begins", flush=True)
for number in range(1000):
    own = lambda *arguments: loss(*arguments)
    optimizer = optax.adam(0.1)
    state = train.init_state({"w": jnp.ones((8, 16)), "u": jnp.ones((16, 16))}, optimizer, jax.random.key(0))
    train.fit(state, own, optimizer, X, steps=4, batch_size=8, validation=X)
"""


@pytest.mark.slow
def test_interrupts_at_random_times_end_in_order():
    """Most of the time is the compiler's; no process ends by a segmentation fault or an abort."""
    root, draw = pathlib.Path(__file__).parents[2], random.Random(0)
    for _ in range(20):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=root, **pipes)
        assert process.stdout.readline() == "begins\n"
        time.sleep(draw.uniform(0, 4))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode in (-signal.SIGINT, 130), errors[-2000:]
        assert "KeyboardInterrupt" in errors
