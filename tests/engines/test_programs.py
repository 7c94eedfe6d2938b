"""Programs of cells that are declared, run and dropped do not fill the memory."""

import gc
import weakref

import jax.numpy as jnp
import pytest

import recur
from recur.cells import pointwise
from recur.engines._programs import PROGRAMS, compiled


class Value:
    """A static argument that is equal to itself alone."""


def test_old_values_go_with_their_programs():
    traced = []

    @compiled("of")
    def add(of, x, *, y=0.0):
        traced.append(id(of))
        return x + y

    values = [Value() for _ in range(PROGRAMS + 20)]
    alive = [weakref.ref(value) for value in values]
    for value in values:
        assert add(value, jnp.ones(()), y=jnp.ones(())) == 2
    newest = values[-1]
    del values, value
    gc.collect()
    assert [reference() is not None for reference in alive] == [False] * 20 + [True] * PROGRAMS
    count = len(traced)
    assert add(of=newest, x=jnp.zeros(())) == 0  # another set of arguments, of the same program
    assert add(newest, jnp.ones(()), y=jnp.ones(())) == 2
    assert len(traced) == count + 1


def resident_mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


@pytest.mark.slow
def test_1000_cells_leave_the_memory_where_it_was():
    """From the point on from which as many programs are remembered as ever will be."""

    def declare_and_run():
        cell = pointwise(state=("h",), gates={"n": jnp.tanh})(lambda gate, state: {"h": gate.n})(2)
        params = {"kernel": jnp.ones((1, 1, 2)), "recurrent_kernel": jnp.ones((2, 1, 2)), "bias": jnp.zeros((1, 2))}
        recur.unroll(cell, params, jnp.ones((2, 1)), engine=recur.engines.Scan())
        return weakref.ref(cell.declaration)

    for _ in range(300):
        declare_and_run()
    before = resident_mib()
    alive = [declare_and_run() for _ in range(700)]
    gc.collect()
    # Facts of some cells are kept, a few numbers each.
    assert sum(reference() is not None for reference in alive) <= 256
    assert resident_mib() - before < 40
