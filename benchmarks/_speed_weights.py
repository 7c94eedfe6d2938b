"""Whether a peer computes what recur computes: its gradients in recur's layout, and errors against float64."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks._speed_rows import RESOLUTIONS, Case, Module

Convert = Callable[[Module], Any]
"""``convert(module) -> weights`` of a peer as a tree of arrays, each entry a copy of one of recur's, or constant."""


class Reference(NamedTuple):
    """What recur computes in float64, one entry a seed.

    Args:
        outputs: ``[B, T, H]``.
        params: Gradient by the path of the parameter.
        x: Gradient to the inputs.
    """

    outputs: list[np.ndarray]
    params: list[dict[str, np.ndarray]]
    x: list[np.ndarray]


def loss(outputs: jax.Array, target: jax.Array) -> jax.Array:
    """Returns the mean squared error."""
    return jnp.mean((outputs - target) ** 2)


def named(tree: Any) -> dict[str, Any]:
    """Returns the leaves of a tree by their path."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def weights(module: Module) -> dict[str, Any]:
    """Returns the parameters of a recur module by their path."""
    return named(nnx.to_pure_dict(nnx.state(module, nnx.Param)))


def reference(case: Case) -> Reference:
    """Runs recur in float64, on the weights and data of a case."""
    found = Reference([], [], [])
    lead = case.x.ndim == 4
    with jax.enable_x64(True):
        graph = nnx.graphdef(case.modules[0])

        @jax.jit
        def run(params: Any, x: jax.Array, target: jax.Array) -> tuple[Any, Any]:
            def objective(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
                outputs = nnx.merge(graph, params)(x)
                return loss(outputs, target), outputs

            return jax.grad(objective, argnums=(0, 1), has_aux=True)(params, x)

        for index, module in enumerate(case.modules):
            params = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), np.float64), nnx.state(module))
            x, target = ((array[index] if lead else array).astype(np.float64) for array in (case.x, case.target))
            (d_params, d_x), outputs = run(params, x, target)
            found.outputs.append(np.asarray(outputs))
            found.params.append({path: np.asarray(leaf) for path, leaf in named(nnx.to_pure_dict(d_params)).items()})
            found.x.append(np.asarray(d_x))
    return found


@dataclasses.dataclass(frozen=True)
class PullBack:
    """Brings gradients to a peer's weights into recur's layout, by the transpose of ``convert``.

    Each of recur's entries is given a number and converted; where the number stands in the peer's weights is where
    the entry went. This holds for any order of gates, any transposition and any number of copies.
    """

    places: list[np.ndarray]
    shapes: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, convert: Convert, module: Module) -> "PullBack":
        """Converts numbered weights; they are exact in float32 up to 2^24."""
        graph, params = nnx.split(module)
        shapes = {path: leaf.shape for path, leaf in weights(module).items()}
        counts = [int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params)]
        if sum(counts) >= 2**24:
            raise ValueError(f"row: expected fewer than 2^24 parameters, got {sum(counts)}; take a smaller one")
        starts = 1 + np.cumsum([0, *counts])
        leaves, tree = jax.tree.flatten(params)
        numbers = [
            jnp.asarray(np.arange(start, start + count).reshape(leaf.shape), jnp.float32)
            for start, count, leaf in zip(starts, counts, leaves, strict=False)
        ]
        numbered, zero = (
            [np.asarray(leaf) for leaf in jax.tree.leaves(convert(nnx.merge(graph, jax.tree.unflatten(tree, values))))]
            for values in (numbers, [jnp.zeros_like(leaf) for leaf in numbers])
        )
        return cls([np.rint(a - b).astype(np.int64) for a, b in zip(numbered, zero, strict=True)], shapes)

    def __call__(self, gradients: Any) -> dict[str, np.ndarray]:
        """Returns the gradient by path of recur's parameters, NaN where the peer has no such weight."""
        sizes = [int(np.prod(shape)) for shape in self.shapes.values()]
        total, seen = np.zeros(1 + sum(sizes)), np.zeros(1 + sum(sizes), bool)
        for place, gradient in zip(self.places, jax.tree.leaves(gradients), strict=True):
            total += np.bincount(place.ravel(), np.asarray(gradient, np.float64).ravel(), minlength=total.size)
            seen[place.ravel()] = True
        total[~seen] = np.nan
        parts = np.split(total[1:], np.cumsum(sizes)[:-1])
        return {path: part.reshape(shape) for (path, shape), part in zip(self.shapes.items(), parts, strict=True)}


class Errors(NamedTuple):
    """Largest difference from float64, relative to the largest entry of the array.

    Args:
        outputs: Of the outputs.
        gradients: Of the gradient to the inputs or a parameter, whichever is furthest off.
    """

    outputs: float
    gradients: float


def errors(
    want: Reference,
    outputs: Sequence[np.ndarray],
    params: Sequence[dict[str, np.ndarray]],
    x: Sequence[np.ndarray],
    absent: str | None = None,
) -> Errors:
    """Compares what a peer computed with the reference, seed by seed.

    Args:
        want: The reference.
        outputs: Outputs.
        params: Gradients by path, as `PullBack` gives them.
        x: Gradients to the inputs.
        absent: Name of the parameters that the peer may lack.
    """
    worst = Errors(0.0, 0.0)
    for index in range(len(want.outputs)):
        gradients = [_error(x[index], want.x[index])]
        for path, true in want.params[index].items():
            got = params[index][path]
            if not (absent and absent in path and np.isnan(got).all()):
                gradients.append(_error(got, true))
        # np.max, as max() would lose a NaN.
        outputs_error = np.max([worst.outputs, _error(outputs[index], want.outputs[index])])
        worst = Errors(float(outputs_error), float(np.max([worst.gradients, *gradients])))
    return worst


def tolerance(case: Case) -> float:
    """Returns the error that rounding explains: 16 float32 roundings times the root of the terms that are summed.

    These are the sequences and steps that a gradient to a parameter sums over, and the entries of a product. Where
    products round their factors to less than float32, 64 such roundings may take its place: sums stay in float32.
    """
    row = case.row
    in_float32 = 16 * 2.0**-23 * float(np.sqrt(row.batch * row.steps + row.inputs + row.hidden))
    return max(in_float32, 64 * RESOLUTIONS[row.products]) if row.products else in_float32


def _error(got: np.ndarray, want: np.ndarray) -> float:
    if got.shape != want.shape:
        return float("inf")
    return float(np.max(np.abs(np.asarray(got, np.float64) - want)) / np.max(np.abs(want)))
