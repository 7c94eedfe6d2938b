"""The least time that a case can take on this machine, from what it does at its best, measured in the same run."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._speed_clock import timed
from benchmarks._speed_rows import CELLS, Row

# Evaluations of tanh or sigmoid for a unit and step.
TRANSCENDENTALS = {"elman": 1, "lstm": 5, "gru": 3, "leaky": 2, "min_gru": 1}


class Machine(NamedTuple):
    """What this machine does at its best.

    Args:
        flops_per_s: Of one large float32 product.
        tanh_s: Seconds of one tanh within a large array.
        loop_s: Seconds of one step of an empty compiled loop.
    """

    flops_per_s: float
    tanh_s: float
    loop_s: float


def measure() -> Machine:
    """Times a product of 2048 x 256 x 1024, tanh of 2^20 numbers, and a loop of 10,000 steps that adds a number."""
    m, k, n, count, steps = 2048, 256, 1024, 2**20, 10_000

    def loop(start: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda total, _: (total + 1, None), start, length=steps)[0]

    product = _fastest(jnp.matmul, jnp.ones((m, k)), jnp.ones((k, n)))
    return Machine(
        2 * m * k * n / product, _fastest(jnp.tanh, jnp.ones(count)) / count, _fastest(loop, jnp.zeros(())) / steps
    )


def floor_s(machine: Machine, row: Row, cell: str, measure: str) -> float:
    """Returns the floor in seconds: the largest of what products, activations and the loop take alone.

    Multiplications and additions are ``2 B T G H (X + H)`` forwards for G gates, without the H where gates do not see
    the state, and twice as many backwards. The affine cell needs no loop.
    """
    declared = CELLS[cell](row.hidden)
    ways, inputs, products = 1 + row.bidirectional, row.inputs, 0
    seen = 0 if cell == "min_gru" else row.hidden
    for _ in range(row.layers):
        products += 2 * ways * row.batch * row.steps * len(declared.inits.gates) * row.hidden * (inputs + seen)
        inputs = ways * row.hidden
    units = row.seeds * row.layers * ways * row.batch * row.steps * row.hidden
    loop = 0 if cell == "min_gru" else row.steps * machine.loop_s
    backwards = measure != "forward"
    return max(
        row.seeds * products * (3 if backwards else 1) / machine.flops_per_s,
        units * TRANSCENDENTALS[cell] * machine.tanh_s,
        loop * (2 if backwards else 1),
    )


def _fastest(function: Callable[..., Any], *arguments: jax.Array) -> float:
    compiled = jax.jit(function).lower(*arguments).compile()
    return float(np.min([timed(lambda: jax.block_until_ready(compiled(*arguments))) for _ in range(20)]))
