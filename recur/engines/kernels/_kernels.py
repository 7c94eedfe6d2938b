"""Calls of the kernels: what each is compiled from, and its memory."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from llvmlite import ir

from recur._types import PyTree
from recur.cells._pointwise_cell import PointwiseCell
from recur.engines.kernels._backward import define_backward
from recur.engines.kernels._code import ALIGNED, BYTES
from recur.engines.kernels._forward import define_forward
from recur.engines.kernels._handler import Buffers
from recur.engines.kernels._processor import machine, vectors
from recur.engines.kernels._product import Shape
from recur.engines.kernels._program import backward, forward, linear_shapes, operands
from recur.engines.kernels._register import register
from recur.engines.kernels._time import Plan
from recur.engines.kernels._trees import Known, Linear


class Kind(NamedTuple):
    """What tells one kernel from another, beside the arrays that it is handed.

    Args:
        direction: ``"forward"`` or ``"backward"``.
        cell: Whose step.
        depth: Entries that the recurrent product sums over, 0 for none.
        given: Fields that cotangents come for.
    """

    direction: str
    cell: PointwiseCell
    depth: int
    given: tuple[int, ...] = ()


def kernel_forward(known: Known, *, networks: bool, cell: PointwiseCell, keep: bool) -> tuple[PyTree, PyTree]:
    """Returns states after every step, and with `keep` what is kept of the gates.

    With `networks` all arrays, those of the results too, have a first axis of networks that run side by side.
    """
    one = _of_one(known, networks)
    of, units = operands(cell), one.start[0].shape[-1]
    lead = one.projected.shape[:2]
    shape = Shape(units, one.projected.shape[-1] // units, units, vectors()[0])
    results = {
        "states": _shaped(of.state, *lead),
        "kept": _shaped(of.kept, *lead) if keep else None,
        "packed": _memory(shape.packed_size),
    }
    kind = Kind("forward", cell, 0 if known.matrix is None else units)
    found = _call(kind, known._asdict(), results, networks)
    return found["states"], found["kept"]


def kernel_backward(
    both: tuple[Known, PyTree], *, networks: bool, cell: PointwiseCell, given: tuple[int, ...]
) -> Linear:
    """Returns the cotangents of what enters linearly, from those of the fields `given` of all states."""
    known, cotangents = both
    one = _of_one(known, networks)
    (_, batch, units), lanes = one.states[0].shape, vectors()[0]
    depth = 0 if one.matrix is None else one.matrix.shape[1]
    shape = Shape(depth, 1, units, lanes)
    linear = {f"d_{name}": tree for name, tree in linear_shapes(cell, one)._asdict().items()}
    sizes = {"carry": batch * len(one.states) * shape.chunks * lanes, "packed": shape.packed_size}
    memory = {name: _memory(size) for name, size in sizes.items()}
    kind = Kind("backward", cell, depth, given)
    found = _call(kind, known._asdict() | {"cotangent": cotangents}, linear | memory, networks)
    return Linear(*(found[name] for name in linear))


def _of_one(known: Known, networks: bool) -> Known:
    """Returns the shapes of what enters the run of one network."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[int(networks) :], leaf.dtype), known)


def _memory(size: int) -> jax.ShapeDtypeStruct:
    """Returns memory of the kernel's own; a whole number of lines, so that the next network's is aligned too."""
    line = ALIGNED // BYTES
    return jax.ShapeDtypeStruct((-(-size // line) * line,), jnp.float32)


def _shaped(tree: PyTree, *lead: int) -> PyTree:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((*lead, *leaf.shape), jnp.float32), tree)


def _call(kind: Kind, arguments: dict[str, PyTree], results: dict[str, PyTree], networks: bool) -> dict[str, PyTree]:
    """Calls a kernel with named trees of arrays, arguments first, each in the order of names."""
    leaves = jax.tree.leaves(arguments)
    if networks:
        results = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((len(leaves[0]), *leaf.shape), leaf.dtype), results)
    shapes, tree = jax.tree.flatten(results)
    named = [*sorted(arguments.items()), *sorted(results.items())]
    sizes = tuple((name, tuple(leaf.shape[-1] for leaf in jax.tree.leaves(own))) for name, own in named)
    sizes = tuple((name, own) for name, own in sizes if own)
    widths = tuple(leaf.dtype.itemsize for leaf in (*leaves, *shapes))
    target = _target(kind, sizes, widths, len(leaves), networks)
    return jax.tree.unflatten(tree, jax.ffi.ffi_call(target, shapes)(*leaves))


@functools.lru_cache(maxsize=256)
def _target(
    kind: Kind,
    sizes: tuple[tuple[str, tuple[int, ...]], ...],
    widths: tuple[int, ...],
    arguments: int,
    networks: bool,
) -> str:
    """Returns the name of the compiled kernel for buffers of these names, last axes and bytes of an entry."""
    names = [name for name, own in sizes for _ in own]
    places = {name: tuple(place for place, other in enumerate(names) if other == name) for name, _ in sizes}
    units = dict(sizes)["start"][0]
    program = (forward if kind.direction == "forward" else backward)(kind.cell.with_units(1))
    plan = Plan(
        program=program,
        units=units,
        lanes=vectors()[0],
        many_registers=vectors()[1],
        sizes={name: tuple(size // units for size in own) for name, own in sizes},
        places=places,
        gates=operands(kind.cell).projected.shape[-1] // units,
        depth=kind.depth,
        given=kind.given,
    )
    module = ir.Module(kind.direction)
    module.triple = machine().triple
    pack, worker = (define_forward if kind.direction == "forward" else define_backward)(module, plan)
    buffers = Buffers(
        widths=widths,
        arguments=arguments,
        lengths=places["projected" if kind.direction == "forward" else "states"][0],
        matrix=places["matrix"][0] if kind.depth else 0,
        packed=places["packed"][0],
        networks=networks,
    )
    return register(kind.direction, module, pack, worker, buffers=buffers)
