"""Blocks that are computed anew backwards: the same results and gradients, in less memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _oracles import assert_close, random_problem, weighted_sum

import recur
from recur import cells, engines


@pytest.mark.parametrize(("name", "remat"), [("lstm", 3), ("lstm", "sqrt"), ("gru_reset_before", 7)])
def test_gradients_do_not_depend_on_blocks(name, remat, x64):
    cell = cells.CELLS[name](3)
    problem = random_problem(cell, 7, (3,), mask=True, reset=True, reverse=remat != 3, dtype=np.float64)

    def loss(engine):
        def value(params, xs, start):
            return weighted_sum(recur.unroll(cell, params, xs, start, **problem.options, engine=engine)[:3])

        return jax.value_and_grad(value, argnums=(0, 1, 2))(*problem[:3])

    assert_close(loss(engines.Scan(remat=remat)), loss(engines.Scan()))


def test_no_steps_and_one_step():
    cell = cells.lstm(3)
    for length in (0, 1):
        problem = random_problem(cell, length, (2,))
        run = recur.unroll(cell, *problem[:3], engine=engines.Scan(remat="sqrt"))
        assert_close(run[:3], recur.unroll(cell, *problem[:3])[:3])


@pytest.mark.parametrize("length", [100_000, 99_991])
def test_a_long_lstm_trains_within_a_gigabyte(length):
    cell = cells.lstm(128)

    def loss(params, xs):
        return jnp.mean(recur.unroll(cell, params, xs, engine=engines.Scan(remat="sqrt")).outputs ** 2)

    xs = jax.ShapeDtypeStruct((length, 8, 16), jnp.float32)
    memory = jax.jit(jax.grad(loss)).lower(cells.parameter_shapes(cell, 16), xs).compile().memory_analysis()
    outputs = 4 * length * 8 * 128
    assert outputs < memory.temp_size_in_bytes + memory.argument_size_in_bytes < 1e9


@pytest.mark.parametrize(("remat", "error"), [("half", ValueError), (0, ValueError), (1.5, TypeError)])
def test_refuses_blocks_that_are_none(remat, error):
    with pytest.raises(error, match="remat"):
        engines.Scan(remat=remat)
