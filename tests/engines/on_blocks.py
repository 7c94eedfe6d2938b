"""Runs affine cells by blocks of time on four simulated devices against one, and says how far they are apart.

Run as a script by test_blocks.py; prints one line of JSON.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
from _oracles import random_problem, weighted_sum
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as Spec

import recur
from recur.engines import Blocks, Scan

CELLS = {"min_gru": recur.cells.min_gru(3), "lru": recur.cells.lru(3)}
# T that four devices divide, that they do not, and of which some get nothing.
LENGTHS = (8, 13, 2)


def apart(found, wanted):
    """The greatest distance of two trees, as a share of the greatest entry of each leaf."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    return max(float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-3)) for a, b in pairs)


def both(cell, problem, engine, reverse):
    params, xs, state, options = problem

    def loss(params, xs, state):
        run = recur.unroll(cell, params, xs, state, **options, reverse=reverse, engine=engine)
        return weighted_sum(run[:3]), run[:3]

    (_, run), gradient = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)(params, xs, state)
    return run, gradient


def main():
    assert jax.device_count() == 4
    found = {}
    for name, cell in CELLS.items():
        for steps in LENGTHS:
            reverse = steps == 13
            problem = random_problem(cell, steps, (2,), mask=True, reset=True, seed=steps)
            by_blocks, wanted = (both(cell, problem, engine, reverse) for engine in (Blocks(), Scan()))
            found[f"{name} {steps} values"] = apart(by_blocks[0], wanted[0])
            found[f"{name} {steps} gradients"] = apart(by_blocks[1], wanted[1])
    cell = CELLS["min_gru"]
    params, xs, _, _ = random_problem(cell, 16, (2,), seed=0)

    def outputs(engine):
        return lambda xs: recur.unroll(cell, params, xs, engine=engine).outputs

    mesh = jax.make_mesh((4,), ("time",), axis_types=(jax.sharding.AxisType.Auto,))
    tangent = jnp.cos(xs)
    by_jvp, wanted = (jax.jvp(outputs(engine), (xs,), (tangent,))[1] for engine in (Blocks(mesh), Scan()))
    found["tangent"] = apart(by_jvp, wanted)
    stacked = jnp.stack([xs, 2 * xs])
    found["vmap"] = apart(*(jax.vmap(outputs(engine))(stacked) for engine in (Blocks(mesh), Scan())))
    placed = jax.device_put(xs, NamedSharding(mesh, Spec("time")))
    program = jax.jit(outputs(Blocks(mesh))).lower(placed).compile()
    text = program.as_text()
    # What is sent: two arrays of the size of a state from each, and no sequence.
    found["gathers of sequences"] = float("f32[16,2,3]" in text or "f32[4,4,2,3]" in text)
    found["split"] = float(program(placed).sharding.shard_shape((16, 2, 3)) != (4, 2, 3))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
