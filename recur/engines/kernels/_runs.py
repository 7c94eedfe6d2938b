"""Runs over time as primitives of JAX: kernels on a CPU with float32, programs of `jax.lax.scan` elsewhere.

Three of them: states (and what is kept of the gates) forwards; the tangent of all states, which is linear; and its
transpose, which is the gradient. Each has such a program as its reference, from which further derivatives are taken.
"""

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from recur._types import PyTree
from recur.cells._base import add_bias
from recur.cells._pointwise_cell import PointwiseCell
from recur.engines._steps import Steps, before_each, keeping_scan, tangent_scan
from recur.engines.kernels._program import linear_shapes, operands, projected_is_read
from recur.engines.kernels._trees import Known, Linear

SHARED = -1
"""Axis B of what all rows share."""


def _axes_of_known(known: Known) -> Known:
    """Returns which axis B is, leaf by leaf."""
    axes = (SHARED, SHARED, SHARED, 1, 0, 0, 1, 1, 1, 1)
    return Known(*(jax.tree.map(lambda _, axis=axis: axis, field) for field, axis in zip(known, axes, strict=True)))


def _axes_of_linear(linear: Linear) -> Linear:
    axes = (0, 1, 1, 0, 0)
    return Linear(*(jax.tree.map(lambda _, axis=axis: axis, field) for field, axis in zip(linear, axes, strict=True)))


def _axes_behind_time(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda _: 1, tree)


def run_forward(cell: PointwiseCell, known: Known, *, keep: bool) -> tuple[PyTree, PyTree]:
    """Returns states after every step, and with `keep` what is kept of the gates."""
    return _forward.bind(known, networks=False, cell=cell, keep=keep)


def run_linear(cell: PointwiseCell, known: Known, tangents: Linear) -> PyTree:
    """Returns the tangents of all states."""
    if not projected_is_read(cell):
        known = known._replace(projected=None, bias=None)
    return _linear.bind((known, tangents), networks=False, cell=cell)


def _reference_forward(known: Known, *, cell: PointwiseCell, keep: bool) -> tuple[PyTree, PyTree]:
    states, kept = keeping_scan(cell, _steps(cell, known))
    return states, (kept if keep else None)


def _steps(cell: PointwiseCell, known: Known) -> Steps:
    prepared, projected = cell.merge_params(known.weights, known.matrix), add_bias(known.projected, known.bias)
    return Steps(prepared, projected, known.start, known.restart, known.mask, known.reset)


def _reference_linear(both: tuple[Known, Linear], *, cell: PointwiseCell) -> PyTree:
    known, tangents = both
    length, batch = tangents.sums.shape[:2]
    weights = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (batch, *leaf.shape)), known.weights)
    before = before_each(known.states, known.start, known.restart, known.reset)
    if known.projected is None:
        projected = jnp.zeros((length, batch, *operands(cell).projected.shape), tangents.sums.dtype)
    else:
        projected = add_bias(known.projected, known.bias)
    steps = Steps(cell.merge_params(weights, known.matrix), projected, None, None, known.mask, known.reset)
    d_prepared = cell.merge_params(tangents.weights, None)
    d_steps = Steps(d_prepared, None, tangents.start, tangents.restart, None, None)
    return tangent_scan(cell, before, known.kept, steps, d_steps, (tangents.sums, tangents.split))


def _reference_backward(both: tuple[Known, PyTree], *, cell: PointwiseCell, given: tuple[int, ...]) -> Linear:
    known, cotangents = both
    field_type, fields = type(known.states), iter(cotangents)
    whole = field_type(
        *(next(fields) if place in given else jnp.zeros_like(field) for place, field in enumerate(known.states))
    )
    shapes = linear_shapes(cell, known)
    transposed = jax.linear_transpose(lambda tangents: _reference_linear((known, tangents), cell=cell), shapes)
    return transposed(whole)[0]


class _Run:
    """A primitive of trees, with a reference in JAX and a kernel for a CPU.

    Args:
        name: Its name.
        reference: Of a tree of operands, with static options.
        kernel: Name of the same by a kernel, in `_kernels`; '' for none.
        axes: Tree of operands -> which axis of each leaf is B.
        result_axes: The same for results.
    """

    def __init__(self, name: str, reference: Callable, kernel: str, axes: Callable, result_axes: Callable):
        self._reference, self._axes, self._result_axes = reference, axes, result_axes
        # Asked for several times as a run is traced, differentiated and mapped.
        self._known_shapes = functools.lru_cache(maxsize=256)(self._trace_shapes)
        self.primitive = Primitive(f"recur_{name}")
        self.primitive.multiple_results = True
        self.primitive.def_impl(self._flat(self._run_reference))
        self.primitive.def_abstract_eval(self._abstract)
        ad.primitive_jvps[self.primitive] = self._jvp
        batching.primitive_batchers[self.primitive] = self._batch
        lowered = functools.partial(mlir.lower_fun, multiple_results=True)
        mlir.register_lowering(self.primitive, lowered(self._flat(self._run_reference)))
        if kernel:
            on_cpu = functools.partial(_where_it_fits, kernel, self._run_reference)
            mlir.register_lowering(self.primitive, lowered(self._flat(on_cpu)), platform="cpu")

    def bind(self, operands: PyTree, **params: Any) -> PyTree:
        """Binds the primitive to a tree of operands; returns a tree of results."""
        leaves, tree = jax.tree.flatten(operands)
        results = self.primitive.bind(*leaves, tree=tree, **params)
        return jax.tree.unflatten(jax.tree.structure(self._shapes(leaves, tree, params)), results)

    def _run_reference(self, operands: PyTree, *, networks: bool, **params: Any) -> PyTree:
        of_one = functools.partial(self._reference, **params)
        return (jax.vmap(of_one) if networks else of_one)(operands)

    def _shapes(self, leaves: Sequence, tree: Any, params: dict[str, Any]) -> PyTree:
        shapes = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves)
        return self._known_shapes(shapes, tree, tuple(params.items()))

    def _trace_shapes(self, shapes: tuple, tree: Any, params: tuple[tuple[str, Any], ...]) -> PyTree:
        of = functools.partial(self._run_reference, **dict(params))
        return jax.eval_shape(of, jax.tree.unflatten(tree, shapes))

    @staticmethod
    def _flat(function: Callable) -> Callable:
        def flat(*leaves: Any, tree: Any, **params: Any) -> list:
            return jax.tree.leaves(function(jax.tree.unflatten(tree, leaves), **params))

        return flat

    def _abstract(self, *leaves: Any, tree: Any, **params: Any) -> list:
        shapes = jax.tree.leaves(self._shapes(leaves, tree, params))
        return [jax.core.ShapedArray(shape.shape, shape.dtype) for shape in shapes]

    def _jvp(self, primals: Sequence, tangents: Sequence, **params: Any) -> tuple[list, list]:
        smooth = [place for place, leaf in enumerate(primals) if jnp.issubdtype(leaf.dtype, jnp.inexact)]

        def of_smooth(*some: Any) -> list:
            leaves = list(primals)
            for place, leaf in zip(smooth, some, strict=True):
                leaves[place] = leaf
            return self._flat(self._run_reference)(*leaves, **params)

        at = tuple(primals[place] for place in smooth)
        return jax.jvp(of_smooth, at, tuple(ad.instantiate_zeros(tangents[place]) for place in smooth))

    def _batch(
        self, leaves: Sequence, axes: Sequence, *, tree: Any, networks: bool, **params: Any
    ) -> tuple[list, list]:
        """Takes a further axis into B, or, where what all rows share has it, into an axis of networks."""
        size = next(leaf.shape[axis] for leaf, axis in zip(leaves, axes, strict=True) if axis is not None)
        own_axes = jax.tree.leaves(self._axes(jax.tree.unflatten(tree, leaves)))
        of_networks = any(own == SHARED and axis is not None for axis, own in zip(axes, own_axes, strict=True))
        bind = functools.partial(self.primitive.bind, tree=tree, **params)
        if of_networks and not networks:
            results = bind(*map(functools.partial(_with_networks, size), leaves, axes), networks=True)
            return results, [0] * len(results)
        # Axes of networks, or of rows, that are there already take this one in.
        own_axes = [0 if of_networks else own if own == SHARED else own + networks for own in own_axes]
        folded = [
            leaf if own == SHARED else _folded(leaf, axis, own, size)
            for leaf, axis, own in zip(leaves, axes, own_axes, strict=True)
        ]
        params |= {"networks": networks}
        results, shapes = bind(*folded, networks=networks), self._shapes(folded, tree, params)
        where = [0 if of_networks else at + networks for at in jax.tree.leaves(self._result_axes(shapes))]
        pairs = zip(results, where, strict=True)
        return [leaf.reshape(*leaf.shape[:at], size, -1, *leaf.shape[at + 1 :]) for leaf, at in pairs], where


def _folded(leaf: jax.Array, axis: int | None, own: int, size: int) -> jax.Array:
    """Returns a leaf whose B has taken in an axis; one without it is repeated."""
    if axis is None:
        leaf = jnp.broadcast_to(jnp.expand_dims(leaf, own), (*leaf.shape[:own], size, *leaf.shape[own:]))
    else:
        leaf = jnp.moveaxis(leaf, axis, own)
    return leaf.reshape(*leaf.shape[:own], -1, *leaf.shape[own + 2 :])


def _with_networks(size: int, leaf: jax.Array, axis: int | None) -> jax.Array:
    """Returns a leaf with an axis in front."""
    return jnp.broadcast_to(leaf, (size, *leaf.shape)) if axis is None else jnp.moveaxis(leaf, axis, 0)


def _where_it_fits(kernel: str, reference: Callable, operands: PyTree, **params: Any) -> PyTree:
    """Takes the kernel for float32, with something to compute."""
    if not all(leaf.dtype in (jnp.float32, bool) and leaf.size for leaf in jax.tree.leaves(operands)):
        return reference(operands, **params)
    # Here, because LLVM is loaded with it: a program that compiles no kernel goes without.
    return getattr(importlib.import_module("recur.engines.kernels._kernels"), kernel)(operands, **params)


_forward = _Run("forward", _reference_forward, "kernel_forward", _axes_of_known, _axes_behind_time)
_linear = _Run(
    "linear",
    _reference_linear,
    "",
    lambda both: (_axes_of_known(both[0]), _axes_of_linear(both[1])),
    _axes_behind_time,
)
_backward = _Run(
    "backward",
    _reference_backward,
    "kernel_backward",
    lambda both: (_axes_of_known(both[0]), _axes_behind_time(both[1])),
    _axes_of_linear,
)


def _transpose(cotangents: Sequence, *leaves: Any, tree: Any, networks: bool, cell: PointwiseCell) -> list:
    """Returns the cotangents of the tangents."""
    known, tangents = jax.tree.unflatten(tree, leaves)
    given = tuple(place for place, cotangent in enumerate(cotangents) if not isinstance(cotangent, ad.Zero))
    some = tuple(cotangents[place] for place in given)
    result = _backward.bind((known, some), networks=networks, cell=cell, given=given)
    wanted = jax.tree.leaves(tangents, is_leaf=ad.is_undefined_primal)
    found = [c if ad.is_undefined_primal(t) else None for c, t in zip(jax.tree.leaves(result), wanted, strict=True)]
    return [None] * (len(leaves) - len(found)) + found


ad.primitive_transposes[_linear.primitive] = _transpose
