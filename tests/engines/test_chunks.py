"""Chunks of time, one after the other: the same values and gradients, and no array of the inputs' share as a whole."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
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


@pytest.mark.parametrize(("name", "flags", "chunk"), [("lstm", FLAGS, 4), ("min_gru", FLAGS, 5)])
def test_a_kernel_in_chunks(name, flags, chunk):
    """Of a length that divides the sequence's, and of ones that leave a rest."""
    cell = cells.CELLS[name](3)
    problem = random_problem(cell, 12, (2, 2), **flags)
    found = differentiated(cell, problem, engines.Fused(chunk=chunk))
    assert_close(found, differentiated(cell, problem, engines.Scan(chunk=None)))


@pytest.mark.parametrize(
    ("name", "knobs", "chunk"),
    [
        ("lstm", {}, 5),
        ("lru", {"remat": 7}, 5),
        ("orthogonal", {}, 4),
        ("elman", {"truncate": 6}, 4),
    ],
    ids=str,
)
def test_a_scan_in_chunks(name, knobs, chunk, x64):
    """Lean, affine, plain, of blocks that are computed anew, and of windows that gradients do not leave."""
    cell = cells.CELLS[name](4)
    problem = random_problem(cell, 15, (2,), **FLAGS, dtype=np.float64)
    found = differentiated(cell, problem, engines.Scan(chunk=chunk, **knobs))
    assert_close(found, differentiated(cell, problem, engines.Scan(chunk=None, **knobs)))


@pytest.mark.parametrize("kind", [engines.Fused, engines.Scan])
def test_a_state_keeps_its_dtype_from_chunk_to_chunk(kind):
    """That of inputs in bfloat16 is float32, and there may be no sequence at all."""
    cell = cells.lstm(3)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), cell.init(jax.random.key(0), 2))
    xs = jax.random.normal(jax.random.key(1), (7, 4, 2), jnp.bfloat16)
    for batch in (xs, xs[:, :0]):
        found, wanted = (recur.unroll(cell, params, batch, engine=kind(chunk=chunk))[:3] for chunk in (3, None))
        assert_close(found, wanted)
        assert found[1].c.dtype == jnp.float32


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
    assert steps(limit) == limit
    assert steps(limit + 16) == 104 == (limit + 16) // 10
    assert steps(2 * limit) == size
    assert steps(2 * limit, dtype=jnp.bfloat16) == 2 * limit
    assert steps(1031) == 128, "a prime number: chunks with a rest"
    assert steps(2 * limit, width=2**14) == 16, "1,024 rows at least"
    assert steps(3, width=2**16) == 3
    assert steps(2 * limit, platform="gpu") == 2 * limit
    assert [steps(10, chunk=chunk) for chunk in (None, 3, 20)] == [10, 3, 10]
    assert chunk_steps("auto", None, (10, 3), "cpu") == 10


@pytest.mark.parametrize("kind", [engines.Fused, engines.Scan])
@pytest.mark.parametrize(
    ("chunk", "error"), [("sqrt", ValueError), (0, ValueError), (1.5, TypeError), ([2], TypeError)]
)
def test_refuses_chunks_that_are_none(kind, chunk, error):
    with pytest.raises(error, match="chunk"):
        kind(chunk=chunk)
