"""Calls of the kernels: what each is compiled from, and its memory."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from llvmlite import ir

from recur._types import PyTree
from recur.cells._base import FactoredCell
from recur.engines.kernels._backward import define_backward
from recur.engines.kernels._call import machine, register, vectors
from recur.engines.kernels._forward import define_forward
from recur.engines.kernels._product import Shape
from recur.engines.kernels._program import backward, forward, linear_shapes, operands
from recur.engines.kernels._time import Plan
from recur.engines.kernels._trees import Known, Linear


class Kind(NamedTuple):
    """What tells one kernel from another, beside the arrays that it is handed.

    Args:
        direction: ``"forward"`` or ``"backward"``.
        cell: Whose step.
        reverse: Whether time runs backwards.
        depth: Entries that the recurrent product sums over, 0 for none.
        given: Fields that cotangents come for.
    """

    direction: str
    cell: FactoredCell
    reverse: bool
    depth: int
    given: tuple[int, ...] = ()


def kernel_forward(known: Known, *, cell: FactoredCell, reverse: bool, keep: bool) -> tuple[PyTree, PyTree]:
    """Returns states after every step, and with `keep` what is kept of the gates."""
    of, units = operands(cell), known.start[0].shape[-1]
    lead = known.projected.shape[:2]
    shape = Shape(units, known.projected.shape[-1] // units, units, vectors()[0])
    results = {
        "states": _shaped(of.state, *lead),
        "kept": _shaped(of.kept, *lead) if keep else None,
        "packed": _shaped(jax.ShapeDtypeStruct((shape.packed_size,), jnp.float32)),
    }
    kind = Kind("forward", cell, reverse, 0 if known.matrix is None else units)
    found = _call(kind, known._asdict(), results)
    return found["states"], found["kept"]


def kernel_backward(both: tuple[Known, PyTree], *, cell: FactoredCell, reverse: bool, given: tuple[int, ...]) -> Linear:
    """Returns the cotangents of what enters linearly, from those of the fields `given` of all states."""
    known, cotangents = both
    (_, batch, units), lanes = known.states[0].shape, vectors()[0]
    depth = 0 if known.matrix is None else known.matrix.shape[1]
    shape = Shape(depth, 1, units, lanes)
    linear = {f"d_{name}": tree for name, tree in linear_shapes(cell, known)._asdict().items()}
    sizes = {"carry": batch * len(known.states) * shape.chunks * lanes, "packed": shape.packed_size}
    memory = {name: jax.ShapeDtypeStruct((size,), jnp.float32) for name, size in sizes.items()}
    kind = Kind("backward", cell, reverse, depth, given)
    found = _call(kind, known._asdict() | {"cotangent": cotangents}, linear | memory)
    return Linear(*(found[name] for name in linear))


def _shaped(tree: PyTree, *lead: int) -> PyTree:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((*lead, *leaf.shape), jnp.float32), tree)


def _call(kind: Kind, arguments: dict[str, PyTree], results: dict[str, PyTree]) -> dict[str, PyTree]:
    """Calls a kernel with named trees of arrays, arguments first, each in the order of names."""
    leaves, (shapes, tree) = jax.tree.leaves(arguments), jax.tree.flatten(results)
    named = [*sorted(arguments.items()), *sorted(results.items())]
    sizes = tuple((name, tuple(leaf.shape[-1] for leaf in jax.tree.leaves(own))) for name, own in named)
    sizes = tuple((name, own) for name, own in sizes if own)
    target = _target(kind, sizes, len(leaves))
    return jax.tree.unflatten(tree, jax.ffi.ffi_call(target, shapes)(*leaves))


@functools.cache
def _target(kind: Kind, sizes: tuple[tuple[str, tuple[int, ...]], ...], arguments: int) -> str:
    """Returns the name of the compiled kernel for buffers of these names and last axes."""
    names = [name for name, own in sizes for _ in own]
    places = {name: tuple(place for place, other in enumerate(names) if other == name) for name, _ in sizes}
    units = dict(sizes)["start"][0]
    program = (forward if kind.direction == "forward" else backward)(kind.cell.with_units(1))
    plan = Plan(
        program=program,
        units=units,
        lanes=vectors()[0],
        many_registers=vectors()[1],
        reverse=kind.reverse,
        sizes={name: tuple(size // units for size in own) for name, own in sizes},
        places=places,
        gates=operands(kind.cell).projected.shape[-1] // units,
        depth=kind.depth,
        given=kind.given,
    )
    module = ir.Module(kind.direction)
    module.triple = machine().triple
    pack, worker = (define_forward if kind.direction == "forward" else define_backward)(module, plan)
    return register(
        kind.direction,
        module,
        pack,
        worker,
        places=(arguments, len(names) - arguments),
        lengths=places["projected" if kind.direction == "forward" else "states"][0],
        matrix=places["matrix"][0] if kind.depth else 0,
        packed=places["packed"][0],
    )
