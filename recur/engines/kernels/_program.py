"""What a kernel is made from: the step of one unit, forwards and backwards, as JAX traces it."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr

from recur._types import PyTree
from recur.cells._base import parameter_shapes
from recur.cells._facts import reads
from recur.cells._pointwise_cell import PointwiseCell
from recur.engines.kernels._evaluate import UnsupportedError, check_supported
from recur.engines.kernels._trees import Known, Linear


@dataclasses.dataclass(frozen=True)
class Operands:
    """Trees of the arrays of a step, last axes ``m H`` of which a unit sees m entries.

    Args:
        weights: What is per unit among the prepared parameters.
        state: A state.
        projected: The input's share.
        share: The product's share; None where it is no product.
        kept: What is kept of the gates.
        sums: Tangent of the gates' sums.
        split: Tangent of the input's share of split gates; None without them.
    """

    weights: PyTree
    state: PyTree
    projected: PyTree
    share: PyTree
    kept: PyTree
    sums: PyTree
    split: PyTree


@functools.lru_cache(maxsize=256)
def operands(cell: PointwiseCell) -> Operands:
    """Returns the arrays of a step of a cell, as shapes."""

    def make(params: Any, x: jax.Array) -> Operands:
        prepared, state = cell.prepare(params), cell.initial_state()
        projected = cell.project(prepared, x)
        share = cell.recurrent_share(prepared, state[0])
        sums, split = cell.input_tangent(projected, share)
        kept = cell.keep(projected, share)
        outside = None if cell.own_units else share
        return Operands(cell.split_params(prepared)[0], state, projected, outside, kept, sums, split).__dict__

    shapes = jax.eval_shape(make, parameter_shapes(cell, 1), jax.ShapeDtypeStruct((1,), jnp.float32))
    return Operands(**shapes)


def forward(cell: PointwiseCell) -> ClosedJaxpr:
    """Returns ``(weights, state, projected, share) -> (state, kept)`` of one step."""

    def step(weights: Any, state: Any, projected: Any, share: Any) -> tuple:
        if cell.own_units:
            share = cell.recurrent_share(weights, state[0])
        kept = cell.keep(projected, share)
        return cell.update(weights, state, projected, kept), kept

    of = operands(cell)
    return jax.make_jaxpr(step)(of.weights, of.state, of.projected, of.share)


def backward(cell: PointwiseCell) -> ClosedJaxpr:
    """Returns the transpose of a step's tangent.

    ``(weights, state, projected, kept, cotangent) -> (weights, state, sums, split)``, all of the result cotangents; of
    the state's what comes through the product is left out where it is one with other units.
    """
    of = operands(cell)

    def transposed(weights: Any, state: Any, projected: Any, kept: Any, cotangent: Any) -> Any:
        def tangent(d_weights: Any, d_state: Any, d_sums: Any, d_split: Any) -> Any:
            share = cell.recurrent_share(weights, d_state[0]) if cell.own_units else None
            d_sums = d_sums if share is None else d_sums + share
            return cell.update_tangent(weights, state, projected, kept, d_weights, d_state, d_sums, d_split)

        return jax.linear_transpose(tangent, of.weights, of.state, of.sums, of.split)(cotangent)

    return jax.make_jaxpr(transposed)(of.weights, of.state, of.projected, of.kept, of.state)


def linear_shapes(cell: PointwiseCell, known: Known) -> Linear:
    """Returns the shapes of what enters a run linearly."""
    length, batch, _ = known.states[0].shape
    of, dtype = operands(cell), known.states[0].dtype

    def shaped(tree: PyTree, *lead: int) -> PyTree:
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((*lead, *leaf.shape), dtype), tree)

    return Linear(
        weights=shaped(of.weights, batch),
        sums=shaped(of.sums, length, batch),
        split=shaped(of.split, length, batch),
        start=shaped(of.state, batch),
        restart=None if known.reset is None else shaped(of.state, batch),
    )


@functools.lru_cache(maxsize=256)
def refusal(cell: PointwiseCell) -> str:
    """Says why the step of a cell is not compiled for vectors of units, in words that follow the cell's name."""
    if cell.structure.unlike:
        return cell.structure.unlike
    try:
        for program in (forward, backward):
            check_supported(program(cell.with_units(1)))
    except UnsupportedError as error:
        return f"its step has {error}, which has no kernel"
    except Exception as error:  # whatever a derivative of the user's function raises
        return f"its step has no kernel ({type(error).__name__}: {error})"
    return ""


@functools.lru_cache(maxsize=256)
def projected_is_read(cell: PointwiseCell) -> bool:
    """Returns whether the backward step reads the input's share, as that of split gates does."""
    of = operands(cell)
    before = len(jax.tree.leaves((of.weights, of.state)))
    return any(reads(backward(cell.with_units(1)))[before : before + len(jax.tree.leaves(of.projected))])
