"""Calls of the kernels: what each is compiled from, and its memory."""

import functools

import jax
import jax.numpy as jnp
from llvmlite import ir

from recur._types import PyTree
from recur.cells._base import FactoredCell
from recur.engines.kernels._backward import define_backward
from recur.engines.kernels._call import machine, register, vectors
from recur.engines.kernels._forward import define_forward
from recur.engines.kernels._product import Shape
from recur.engines.kernels._program import backward, forward, operands
from recur.engines.kernels._time import Plan
from recur.engines.kernels._trees import Known, Linear


def kernel_forward(known: Known, *, cell: FactoredCell, reverse: bool, keep: bool) -> tuple[PyTree, PyTree]:
    """Returns states after every step, and with `keep` what is kept of the gates."""
    of, units = operands(cell), known.start[0].shape[-1]
    length, batch, _ = known.projected.shape
    arguments = {
        "projected": known.projected,
        "weights": known.weights,
        "matrix": known.matrix,
        "start": known.start,
        "restart": known.restart if known.reset is not None else None,
        "mask": known.mask,
        "reset": known.reset,
    }

    def over_time(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((length, batch, *leaf.shape), jnp.float32), tree)

    gates = known.projected.shape[-1] // units
    depth = 0 if known.matrix is None else units
    results = {
        "states": over_time(of.state),
        "kept": over_time(of.kept) if keep else None,
        "packed": _memory(Shape(depth, gates, units, vectors()[0]).packed_size),
    }
    found = _call("forward", cell, arguments, results, reverse, units, gates, depth, ())
    return found["states"], found["kept"]


def kernel_backward(
    both: tuple[Known, PyTree], *, cell: FactoredCell, reverse: bool, given: tuple[int, ...]
) -> Linear:
    """Returns the cotangents of what enters linearly, from those of the fields `given` of all states."""
    known, cotangents = both
    of, units, lanes = operands(cell), known.start[0].shape[-1], vectors()[0]
    length, batch, _ = known.states[0].shape
    resets = known.reset is not None
    arguments = {
        "states": known.states,
        "weights": known.weights,
        "matrix": known.matrix,
        "projected": known.projected,
        "start": known.start,
        "restart": known.restart if resets else None,
        "mask": known.mask,
        "reset": known.reset,
        "kept": known.kept,
        "cotangent": cotangents,
    }
    padded = -(-units // lanes) * lanes
    depth = 0 if known.matrix is None else known.matrix.shape[1]
    lead = {"d_sums": (length, batch), "d_split": (length, batch)}
    trees = {
        "d_weights": of.weights,
        "d_sums": of.sums,
        "d_split": of.split,
        "d_start": of.state,
        "d_restart": of.state if resets else None,
    }
    results = {
        name: jax.tree.map(
            lambda leaf, name=name: jax.ShapeDtypeStruct((*lead.get(name, (batch,)), *leaf.shape), jnp.float32), tree
        )
        for name, tree in trees.items()
    }
    results |= {
        "carry": _memory(batch * len(known.states) * padded),
        "packed": _memory(Shape(depth, 1, units, lanes).packed_size),
    }
    gates = of.projected.shape[-1] // units
    found = _call("backward", cell, arguments, results, reverse, units, gates, depth, given)
    return Linear(*(found[name] for name in trees))


def _memory(size: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((size,), jnp.float32)


def _call(
    kind: str,
    cell: FactoredCell,
    arguments: dict[str, PyTree],
    results: dict[str, PyTree],
    reverse: bool,
    units: int,
    gates: int,
    depth: int,
    given: tuple[int, ...],
) -> dict[str, PyTree]:
    """Calls a kernel with named trees of arrays, arguments first, each in the order of names."""
    leaves, (shapes, result_tree) = jax.tree.leaves(arguments), jax.tree.flatten(results)
    places, sizes, place = {}, {}, 0
    for name, named in [*sorted(arguments.items()), *sorted(results.items())]:
        own = jax.tree.leaves(named)
        places[name] = tuple(range(place, place + len(own)))
        sizes[name] = tuple(leaf.shape[-1] // units for leaf in own)
        place += len(own)
    names = ((*sorted(places.items()),), (*sorted(sizes.items()),))
    target = _target(kind, cell, names, (len(leaves), len(shapes)), reverse, units, gates, depth, given)
    found = jax.ffi.ffi_call(target, shapes)(*leaves)
    return jax.tree.unflatten(result_tree, found)


@functools.cache
def _target(
    kind: str,
    cell: FactoredCell,
    names: tuple,
    counts: tuple[int, int],
    reverse: bool,
    units: int,
    gates: int,
    depth: int,
    given: tuple[int, ...],
) -> str:
    """Returns the name of the compiled kernel."""
    places, sizes = map(dict, names)
    lanes, many = vectors()
    program = (forward if kind == "forward" else backward)(cell.with_units(1))
    plan = Plan(program, units, lanes, many, reverse, sizes, places, gates, depth, given)
    module = ir.Module(kind)
    module.triple = machine().triple
    pack, worker = (define_forward if kind == "forward" else define_backward)(module, plan)
    return register(
        kind,
        module,
        pack,
        worker,
        places=counts,
        lengths=places["projected" if kind == "forward" else "states"][0],
        matrix=places["matrix"][0] if depth else 0,
        packed=places["packed"][0],
    )
