"""The least time that a case can take on this machine, from what it does at its best, measured in the same run."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._speed_clock import timed
from benchmarks._speed_rows import Row


class Work(NamedTuple):
    """What a cell does for one unit and step, at least.

    Args:
        reads: Products with the inputs: its gates.
        recurs: Products with the whole state.
        activations: Evaluations of tanh, sigmoid or exp.
        loops: Whether a step needs the one before; an affine one does not.
    """

    reads: int
    recurs: int
    activations: int
    loops: bool = True


WORK = {
    "elman": Work(1, 1, 1),
    "lstm": Work(4, 4, 5),
    "gru": Work(3, 3, 3),
    "leaky": Work(2, 2, 2),
    "slstm": Work(4, 4, 5),
    "min_gru": Work(2, 0, 1, loops=False),
    "ind_rnn": Work(1, 0, 0),
    "diagonal_gru": Work(3, 0, 3),
    # Real and imaginary part of as many modes as units, read out again; the direct share of the inputs.
    "lru": Work(3, 2, 0, loops=False),
}


class Machine(NamedTuple):
    """What this machine does at its best.

    Args:
        flops_per_s: Of one large product, factors float32 as the machine multiplies them by default.
        tanh_s: Seconds of one tanh within a large array.
        loop_s: Seconds of one step of an empty compiled loop.
        bfloat16_flops_per_s: Of one large product, factors bfloat16; None where nothing is timed in it.
    """

    flops_per_s: float
    tanh_s: float
    loop_s: float
    bfloat16_flops_per_s: float | None = None


def measure() -> Machine:
    """Times a product, tanh of many numbers, and a loop of 10,000 steps that adds a number.

    The product is 2048 x 256 x 1024 with 2^20 numbers on a CPU; on a GPU 8192 x 8192 x 8192 with 2^27, to fill it.
    """
    on_gpu, steps = jax.default_backend() == "gpu", 10_000
    m, k, n, count = (8192, 8192, 8192, 2**27) if on_gpu else (2048, 256, 1024, 2**20)

    def loop(start: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda total, _: (total + 1, None), start, length=steps)[0]

    def flops_per_s(dtype: str) -> float:
        return 2 * m * k * n / _fastest(jnp.matmul, jnp.ones((m, k), dtype), jnp.ones((k, n), dtype))

    return Machine(
        flops_per_s("float32"),
        _fastest(jnp.tanh, jnp.ones(count)) / count,
        _fastest(loop, jnp.zeros(())) / steps,
        flops_per_s("bfloat16") if on_gpu else None,
    )


def floor_s(machine: Machine, row: Row, cell: str, measure: str) -> float:
    """Returns the floor in seconds: the largest of what products, activations and the loop take alone.

    Multiplications and additions are ``2 B T G H (X + H)`` forwards for G gates, without the H where gates do not see
    the whole state, and twice as many backwards. An affine cell needs no loop. On a GPU one kernel may run all steps:
    there it is the largest of what products take, and what reading the gates and writing the outputs takes, three
    times that backwards; a large tanh, which reads and writes 8 bytes, tells how fast memory is.
    """
    work = WORK[cell]
    ways, inputs, products = 1 + row.bidirectional, row.inputs, 0
    for _ in range(row.layers):
        seen = work.reads * inputs + work.recurs * row.hidden
        products += 2 * ways * row.batch * row.steps * row.hidden * seen
        inputs = ways * row.hidden
    units = row.seeds * row.layers * ways * row.batch * row.steps * row.hidden
    backwards = measure != "forward"
    passes = 3 if backwards else 1
    rate = machine.bfloat16_flops_per_s if row.dtype == "bfloat16" else None
    multiplying = passes * row.seeds * products / (rate or machine.flops_per_s)
    if row.products:
        bytes_moved = passes * units * (work.reads + 1) * jnp.dtype(row.dtype).itemsize
        return max(multiplying, bytes_moved / 8 * machine.tanh_s)
    loop = row.steps * machine.loop_s if work.loops else 0
    return max(multiplying, units * work.activations * machine.tanh_s, loop * (2 if backwards else 1))


def _fastest(function: Callable[..., Any], *arguments: jax.Array) -> float:
    compiled = jax.jit(function).lower(*arguments).compile()
    return float(np.min([timed(lambda: jax.block_until_ready(compiled(*arguments))) for _ in range(20)]))
