"""How open the gates of a cell are along a trajectory, and how often they are stuck."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur._types import Array, Bool, Float, Int, Params, State
from recur.cells import Cell, PointwiseCell
from recur.cells._stacked import StackedCell
from recur.engines._programs import compiled
from recur.flow._trajectory import mark_not_finite, trajectory

MARGIN = 0.1
# Far enough for every activation to have reached its bounds, and finite, where some are nan at infinity.
FAR = 1e4


class GateStatistics(NamedTuple):
    """One gate over all steps, batch entries and units.

    Args:
        mean: Mean activation.
        saturated_low: Share of activations within 0.1 of the lower bound: below 0.1 for a sigmoid, below -0.9 for tanh.
        saturated_high: The same at the upper bound: above 0.9 for both.
    """

    mean: Float[Array, ""]
    saturated_low: Float[Array, ""]
    saturated_high: Float[Array, ""]


def gate_statistics(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T *B X"],
    initial_state: State | None = None,
    *,
    lengths: Int[Array, "*B"] | None = None,
    mask: Bool[Array, "T *B"] | None = None,
    reset: Bool[Array, "T *B"] | None = None,
    reverse: bool = False,
) -> dict[str, Any]:
    """Measures mean activation and saturation of every gate, by the name that the cell's declaration gives it.

        a_t = activation(x_t W + b + h_{t-1} U)
        mean = E a,   saturated_low = P(a < a(-inf) + 0.1),   saturated_high = P(a > a(inf) - 0.1)

    with E and P over steps, batch entries and units. A saturated gate passes hardly any gradient to what sets it; of a
    sigmoid, one that is high keeps or writes almost all and one that is low almost nothing. An activation without a
    bound on a side is never saturated there.

    A gate that is declared linear or split (the candidate of the GRU) is left out: what the cell makes of it is in no
    declaration.

    Args:
        cell: Made by `recur.cells.pointwise`, or `recur.cells.stacked` of such cells.
        params: Its parameters.
        xs: Inputs.
        initial_state: State before the first step (see `recur.unroll`).
        lengths: Steps of each sequence that count, from the first on; the rest is padding.
        mask: Which steps count, wherever they stand; in place of `lengths`.
        reset: Where a new sequence begins, from the cell's own initial state.
        reverse: Whether the last step is taken first.

    Returns:
        `GateStatistics` by gate; for a stack by layer and gate, ``{"layer_0": {"i": ..., "f": ...}, "layer_1": ...}``.

    Raises:
        TypeError: As `recur.unroll`.
        ValueError: As `recur.unroll`; a cell that declares no gates, or none with an activation.

    Reference:
        Karpathy, Johnson and Li (2015), https://arxiv.org/abs/1506.02078, section 4.3: left- and right-saturated gates.

    Example:
        At rest an LSTM with forget bias 1 keeps sigmoid(1) = 0.731 of its memory at each step:

        >>> import jax, jax.numpy as jnp, recur
        >>> cell = recur.cells.lstm(8)
        >>> found = recur.flow.gate_statistics(cell, cell.init(jax.random.key(0), 3), jnp.zeros((10, 3)))
        >>> [f"{gate} {statistics.mean:.3f}" for gate, statistics in found.items()]
        ['i 0.500', 'f 0.731', 'g 0.000', 'o 0.500']
    """
    layers = cell.cells if isinstance(cell, StackedCell) else (cell,)
    for index, layer in enumerate(layers):
        where = "cell" if layer is cell else f"cell, layer {index}"
        if not isinstance(layer, PointwiseCell):
            raise ValueError(
                f"{where}: expected one that declares its gates, got {layer!r}, which has a step of its own; "
                "declare it with recur.cells.pointwise"
            )
    if not any(_measured(layer) for layer in layers):
        raise ValueError(
            f"cell: expected at least one gate with an activation, got {cell!r}, whose gates are all linear or split; "
            "declare the activation in gates={...}"
        )
    measured = trajectory(cell, params, xs, initial_state, lengths, mask, reset, reverse)
    resets = measured.xs[2] if measured.cell.flagged else None
    arrays = (measured.params, measured.features, measured.visited, measured.counts, resets)
    found = _statistics(cell, *arrays)
    # In the order of the declaration, which jit does not keep.
    if layers == (cell,):
        return {name: found[name] for name, _ in _measured(cell)}
    names = zip(measured.visited._fields, layers, strict=True)
    return {name: {gate: found[name][gate] for gate, _ in _measured(layer)} for name, layer in names}


@compiled("cell")
def _statistics(
    cell: Cell, params: Params, xs: jax.Array, visited: State, counts: jax.Array | None, resets: jax.Array | None
) -> dict[str, Any]:
    counts = jnp.ones(xs.shape[:-1], bool) if counts is None else counts
    before = jax.tree.map(lambda leaf: leaf[:-1], visited)
    if resets is not None:
        fresh = cell.initial_state(xs.shape[1:-1], jax.tree.leaves(visited)[0].dtype)
        before = jax.tree.map(
            lambda new, old: jnp.where(resets.reshape(resets.shape + (1,) * (old.ndim - resets.ndim)) > 0, new, old),
            jax.tree.map(lambda leaf: leaf[None], fresh),
            before,
        )
    if isinstance(cell, PointwiseCell):
        return mark_not_finite(visited, _of_layer(cell, params, xs, before, counts))
    found, below = {}, xs
    for index, (name, layer) in enumerate(zip(visited._fields, cell.cells, strict=True)):
        found[name] = _of_layer(layer, params[name], below, before[index], counts)
        output = layer.output(jax.tree.map(lambda leaf: leaf[1:], visited[index]))
        below = below + output if cell.residual and index > 0 else output
    return mark_not_finite(visited, found)


def _of_layer(
    cell: PointwiseCell, params: Params, xs: jax.Array, before: State, counts: jax.Array
) -> dict[str, GateStatistics]:
    prepared = cell.prepare(params)
    gates = cell.activate(cell.project(prepared, xs), cell.recurrent_share(prepared, before[0]))
    return {name: _of_gate(activation, getattr(gates, name), counts) for name, activation in _measured(cell)}


def _measured(cell: PointwiseCell) -> list[tuple[str, Any]]:
    """Returns the gates whose activation is declared."""
    return [(name, activation) for name, activation in cell.declaration.gates if activation is not None]


def _of_gate(activation: Any, values: jax.Array, counts: jax.Array | None = None) -> GateStatistics:
    low, high = activation(jnp.array([-FAR, FAR], values.dtype))
    where = None if counts is None else jnp.broadcast_to(counts[..., None], values.shape)

    def mean(values: jax.Array) -> jax.Array:
        return jnp.mean(values, where=where)

    return GateStatistics(mean(values), mean(values < low + MARGIN), mean(values > high - MARGIN))
