"""Compiled programs die with the loss and the optimiser that they were made from, and serve as long as these live."""

import functools
import gc
import pathlib
import subprocess
import sys
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from recur import train
from recur.train import _programs

X = np.linspace(-1, 1, 24).reshape(8, 3).astype(np.float32)
traces = []


def loss(params, batch, key):
    traces.append(1)
    return jnp.mean((batch @ params - 1) ** 2), {}


def start(optimizer):
    return train.init_state(jnp.ones(3), optimizer, jax.random.key(0))


def on_device(loss, optimizer):
    hooks = train.Hooks(probe=lambda params: params.sum(), probe_every=1)
    train.fit(start(optimizer), loss, optimizer, X, steps=2, batch_size=4, validation=X, hooks=hooks)


def from_host(loss, optimizer):
    train.fit_batches(start(optimizer), loss, optimizer, [X, X], steps=2, validation=[X])


def drawn(loss, optimizer):
    train.fit(start(optimizer), loss, optimizer, draw=lambda key: jax.random.normal(key, (4, 3)), steps=2)


def evaluated(loss, optimizer):
    train.evaluate_batches(loss, jnp.ones(3), [X])


class Problem:
    def loss(self, params, batch, key):
        return loss(params, batch, key)


@pytest.mark.parametrize("run", [on_device, from_host, drawn, evaluated])
def test_programs_die_with_what_they_were_made_for(run):
    gc.collect()
    before, optimizer = len(_programs._programs), optax.sgd(0.1)
    # A fresh loss, by three ways to write one, and a fresh optimiser.
    own, problem = functools.partial(loss), Problem()
    run(own, optimizer)
    run(problem.loss, optimizer)
    dead = [weakref.ref(own), weakref.ref(problem)]
    if run is not evaluated:
        fresh = optax.sgd(0.1)
        run(loss, fresh)
        dead += [weakref.ref(fresh.update)]
        del fresh
    del own, problem
    gc.collect()
    assert [reference() for reference in dead] == [None] * len(dead)
    # Of the loss that lives, evaluation's own.
    assert len(_programs._programs) == before


class Optimizer:
    """Makes what updates anew at every look."""

    init = staticmethod(optax.sgd(0.1).init)

    @property
    def update(self):
        return lambda *arguments: optax.sgd(0.1).update(*arguments)


def test_an_optimizer_of_ones_own_lives_as_long_as_the_fit():
    wanted = train.fit(start(optax.sgd(0.1)), loss, optax.sgd(0.1), X, steps=3, batch_size=4).state.params
    own = Optimizer()
    found = train.fit(start(own), loss, own, X, steps=3, batch_size=4).state.params
    np.testing.assert_array_equal(found, wanted)
    from_host = train.fit_batches(start(own), loss, own, [X] * 3, steps=3)
    assert from_host.finished


def test_a_sweep_with_the_rate_in_the_state_compiles_once():
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=0.1)
    ends, counts = [], set()
    for rate in (0.0, 0.01, 0.1):
        state = start(optimizer)
        state.opt_state.hyperparams["learning_rate"] = jnp.asarray(rate)
        ends.append(train.fit(state, loss, optimizer, X, steps=3, batch_size=4).state.params)
        counts.add(len(traces))
    assert len(counts) == 1
    for rate, end in zip((0.0, 0.01, 0.1), ends, strict=True):
        plain = train.fit(start(optax.sgd(rate)), loss, optax.sgd(rate), X, steps=3, batch_size=4).state.params
        np.testing.assert_allclose(end, plain, rtol=1e-6)
    assert not np.allclose(ends[0], ends[2])


SWEEP = """
import ctypes, gc, platform, sys
import jax, jax.numpy as jnp, numpy as np, optax
from recur import train

X = np.ones((8, 3), np.float32)

def resident():
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        # What is free, but kept by the C library for later, is no leak.
        ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

for number in range(200):
    def loss(params, batch, key):
        return jnp.mean((jnp.tanh(batch @ params) - 1) ** 2), {}

    optimizer = optax.adam(0.1)
    state = train.init_state(jnp.ones(3), optimizer, jax.random.key(0))
    if sys.argv[1] == "fit":
        train.fit(state, loss, optimizer, X, steps=2, batch_size=4, validation=X)
    else:
        train.fit_batches(state, loss, optimizer, [X, X], steps=2, validation=[X])
        train.evaluate_batches(loss, state.params, [X])
    if number == 4:
        fifth = resident()
print(resident() - fifth)
"""


@pytest.mark.slow
@pytest.mark.parametrize("run", ["fit", "fit_batches"])
def test_two_hundred_fits_take_the_memory_of_five(run):
    root = pathlib.Path(__file__).parents[2]
    command = [sys.executable, "-c", SWEEP, run]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 40
