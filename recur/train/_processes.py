"""Arrays on the devices of several processes, and what the processes decide together."""

import atexit
import functools
import os
import sys

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from recur._types import PyTree


def spans_processes(mesh: Mesh | None) -> bool:
    """Returns whether devices of a mesh belong to several processes."""
    return mesh is not None and mesh.is_multi_process


def put(
    leaf: jax.Array | np.ndarray, sharding: NamedSharding, axis: int = 0, part: tuple[int, int] = (0, 1)
) -> jax.Array:
    """Returns an array of all processes, of which this one holds what its devices are to have.

    Args:
        leaf: Whole, or the part of it that this process has read.
        sharding: How the whole is split.
        axis: Which axis `leaf` is a part of.
        part: Which part it is, and of how many of its size.
    """
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        words = put(jax.random.key_data(leaf), sharding, axis, part)
        return jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf))
    values = np.asarray(leaf)
    if part == (0, 1):
        return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])
    index, count = part
    size = values.shape[axis]
    shape = (*values.shape[:axis], size * count, *values.shape[axis + 1 :])

    def own(where: tuple[slice, ...]) -> np.ndarray:
        begin, end, _ = where[axis].indices(shape[axis])
        moved = slice(begin - index * size, end - index * size)
        return values[(*where[:axis], moved, *where[axis + 1 :])]

    return jax.make_array_from_callback(shape, sharding, own)


def gather(tree: PyTree) -> PyTree:
    """Returns arrays that are spread over the devices of a mesh as NumPy's, whole, in every process.

    All processes call it together. PRNG keys stay arrays of JAX.

    Example:
        >>> gather({"w": jax.numpy.ones(2)})
        {'w': array([1., 1.], dtype=float32)}
    """
    spread = [leaf for leaf in jax.tree.leaves(tree) if not (leaf.is_fully_addressable or leaf.is_fully_replicated)]
    if spread:
        # Of arrays of one mesh, one program; what is whole already is not sent again.
        mesh = spread[0].sharding.mesh
        tree = _replicate(NamedSharding(mesh, Spec()))(tree)
    return jax.device_get(tree)


@functools.cache
def _replicate(sharding: NamedSharding) -> jax.stages.Wrapped:
    return jax.jit(lambda tree: tree, out_shardings=sharding)


def agree(mesh: Mesh | None, *values: float) -> tuple[float, ...]:
    """Returns the greatest of each value over all processes, so that clocks and signals let all take the same way."""
    if not spans_processes(mesh):
        return values
    # As words, because JAX has no float64 by default.
    words = multihost_utils.process_allgather(np.asarray(values, np.float64).view(np.uint32))
    return tuple(np.ascontiguousarray(words).view(np.float64).max(axis=0).tolist())


def leave_if_unhandled() -> None:
    """Lets this process end at once if it ends by an error, without waiting for the others in JAX's own farewell.

    The others wait in a step for this one, and learn of its end by the end of its connections; in the farewell all
    would wait for each other for minutes. What was registered with `atexit` before is left out then.
    """
    atexit.unregister(_leave)
    atexit.register(_leave)


def _leave() -> None:
    error = getattr(sys, "last_value", None)
    if error is None:
        return
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(130 if isinstance(error, KeyboardInterrupt) else 1)


def batch_part(mesh: Mesh) -> tuple[int, int]:
    """Returns which part of the rows of a batch this process reads for `fit_batches`, from 0, and of how many.

    Processes whose devices stand on the same columns of the mesh's batch axis read the same rows. Where the columns of
    a process are no such part, it reads all of them.

    Example:
        >>> from recur import train
        >>> batch_part(train.make_mesh(seeds=2, batch_size=8, devices=jax.devices()[:1]))
        (0, 1)
    """
    own = np.array([[device.process_index == jax.process_index() for device in row] for row in mesh.devices])
    columns = np.flatnonzero(own.any(axis=0))
    total, size = own.shape[1], len(columns)
    is_part = size and total % size == 0 and columns[0] % size == 0 and columns[-1] - columns[0] == size - 1
    return (int(columns[0]) // size, total // size) if is_part else (0, 1)
