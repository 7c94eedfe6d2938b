"""Chunks of time, one after the other: the same values and gradients, and no array of the inputs' share as a whole."""

import functools

import jax
import jax.numpy as jnp
import pytest
from _oracles import assert_close, random_problem, weighted_sum

import recur
from recur import cells, engines
from recur.engines._chunks import CHUNK_BYTES, WHOLE_BYTES, chunk_steps

FLAGS = {"mask": True, "reset": True, "reverse": True}


def differentiated(cell, problem, engine):
    """Returns outputs, states and final state, and what is got from them by both modes and over a batch of inputs."""
    params, xs, start, options = problem

    def value(params, xs, start):
        out = recur.unroll(cell, params, xs, start, **options, engine=engine)[:3]
        return weighted_sum(out), out

    (_, out), gradients = jax.value_and_grad(value, argnums=(0, 1, 2), has_aux=True)(params, xs, start)
    tangent = jax.jvp(lambda *arguments: value(*arguments)[0], (params, xs, start), (params, xs, start))[1]
    several = jax.vmap(lambda scale: value(params, scale * xs, start)[0])(jnp.array([0.5, 2.0]))
    return out, gradients, tangent, several


@pytest.mark.parametrize("chunk", [1, 4, 5, 11, 100])
@pytest.mark.parametrize(("name", "flags"), [("lstm", {}), ("lstm", FLAGS), ("min_gru", FLAGS), ("elman", {})])
def test_a_kernel_in_chunks(name, flags, chunk):
    """Of a length that divides the sequence's, of one that leaves a rest, and of one beyond it."""
    cell = cells.CELLS[name](3)
    problem = random_problem(cell, 11, (2, 2), **flags)
    found = differentiated(cell, problem, engines.Fused(chunk=chunk))
    assert_close(found, differentiated(cell, problem, engines.Scan(chunk=None)))


@pytest.mark.parametrize("chunk", [4, 5])
@pytest.mark.parametrize("knobs", [{}, {"remat": 7}], ids=str)
@pytest.mark.parametrize("name", ["gru_reset_before", "lru", "orthogonal"])
def test_a_scan_in_chunks(name, knobs, chunk):
    """Lean, affine, and of blocks that are computed anew."""
    cell = cells.CELLS[name](4)
    problem = random_problem(cell, 15, (2,), **FLAGS)
    found = differentiated(cell, problem, engines.Scan(chunk=chunk, **knobs))
    assert_close(found, differentiated(cell, problem, engines.Scan(chunk=None)))


@pytest.mark.parametrize("length", [8192, 8191])
@pytest.mark.parametrize("kind", [engines.Fused, engines.Scan])
def test_the_share_of_a_long_sequence_is_never_there_as_a_whole(kind, length):
    cell = cells.lstm(64)
    xs = jax.ShapeDtypeStruct((length, 4, 8), jnp.float32)

    def program(engine):
        run = functools.partial(recur.unroll, cell, engine=engine)
        return str(jax.make_jaxpr(jax.grad(lambda *problem: jnp.sum(run(*problem).outputs)))(params, xs))

    params = cells.parameter_shapes(cell, 8)
    whole = f"f32[{length},4,256]"
    assert whole in program(kind(chunk=None))
    assert whole not in program(kind())


def test_so_many_steps_as_fill_a_cache():
    """A few megabytes, by a divisor of T where there is one; all below the limit, and on accelerators."""

    def steps(length, batch=64, width=64, chunk="auto", platform="cpu", dtype=jnp.float32):
        share = [jax.ShapeDtypeStruct((length, batch, width), dtype)]
        return chunk_steps(chunk, share, (length, batch), platform)

    limit, size = WHOLE_BYTES // (4 * 64 * 64), CHUNK_BYTES // (4 * 64 * 64)
    assert (limit, size) == (1024, 128)
    assert steps(limit - 1) == limit - 1
    assert steps(limit) == size
    assert steps(limit, dtype=jnp.bfloat16) == limit
    assert steps(1040) == 104 == 1040 // 10
    assert steps(1031) == 128, "a prime number: chunks with a rest"
    assert steps(limit, width=2**14) == 8, "512 rows at least"
    assert steps(3, width=2**15) == 3
    assert steps(limit, platform="gpu") == limit
    assert [steps(10, chunk=chunk) for chunk in (None, 3, 20)] == [10, 3, 10]
    assert chunk_steps("auto", None, (10, 3), "cpu") == 10


@pytest.mark.parametrize("kind", [engines.Fused, engines.Scan])
@pytest.mark.parametrize(
    ("chunk", "error"), [("sqrt", ValueError), (0, ValueError), (1.5, TypeError), ([2], TypeError)]
)
def test_refuses_chunks_that_are_none(kind, chunk, error):
    with pytest.raises(error, match="chunk"):
        kind(chunk=chunk)
