"""recur as a peer: on one device, and split over the devices of the machine."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from flax import nnx

from benchmarks._speed_programs import CannotError, Entry, Model, on_jax
from benchmarks._speed_rows import Case

ONE, MESH = "recur", "recur_mesh"


def entries(case: Case) -> Iterator[Entry | tuple[str, CannotError]]:
    """Compiles recur on one device and, if the machine has several, on a mesh; or says why not."""
    graph = nnx.graphdef(case.modules[0])

    def apply(params: Any, x: jax.Array) -> jax.Array:
        return nnx.merge(graph, params)(x)

    model = Model(ONE, apply, nnx.state, over_seeds=one_by_one)
    yield on_jax(case, model)
    if case.row.seeds > 1:
        yield on_jax(case, model._replace(name="recur_vmap", over_seeds=jax.vmap))
    devices = math.gcd(jax.device_count(), len(case.x))
    if devices > 1:
        yield on_jax(case, model._replace(name=MESH), devices)
    elif jax.device_count() > 1:
        what = "a single sequence does" if len(case.x) == 1 else f"{len(case.x)} sequences or seeds do"
        yield MESH, CannotError(f"{what} not split over {jax.device_count()} devices")
    else:
        yield MESH, CannotError("there is one device; --host_devices makes several of the cores")


def one_by_one(function: Callable) -> Callable:
    """Runs the seeds one after the other in one program: small products in batches are slow in XLA on CPU."""
    return lambda *arguments: jax.lax.map(lambda one: function(*one), arguments)
