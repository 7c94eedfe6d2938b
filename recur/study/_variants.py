"""The same model with other initialisers, forget biases or cells."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
from flax import nnx

from recur import cells, nn
from recur._checks import brief
from recur.cells import output_size
from recur.cells._init import per_gate

# What a mapping of options may set, and which field of the cell's initialisers it is.
_OPTIONS = {"kernel_init": "kernel", "recurrent_init": "recurrent", "bias_init": "bias"}


def variant(name: str, module: nnx.Module, change: Any, key: jax.Array) -> nnx.Module:
    """Returns a copy of a module whose recurrent layers are drawn anew, with one change; all else is as it was.

    Args:
        name: What the variant is called in messages.
        module: Holds layers of `recur.nn`.
        change: None for none; `cells.Chrono` or a number for the bias of the gate that keeps the state; an
            initialiser of recurrent kernels, as an object or a name; a mapping of ``kernel_init``, ``recurrent_init``
            and ``bias_init``; a cell, or a factory of cells; or a module, which is taken as it is.
        key: Draws the parameters; the same key draws the same kernels in every variant.

    Raises:
        TypeError: A change of another kind, or a model that is no module.
        ValueError: A change that does not fit a layer.
    """
    if isinstance(change, nnx.Module):
        return change
    if not isinstance(module, nnx.Module):
        raise TypeError(f"compare: expected a flax.nnx.Module to change, got {brief(module)}; give modules to compare")
    copy = nnx.clone(module)
    layers = [part for _, part in nnx.iter_modules(copy) if isinstance(part, nn.RNN)]
    for index, layer in enumerate(layers):
        changed = _changed(name, layer.cell, change)
        if output_size(changed) != layer.output_size:
            raise ValueError(
                f"compare[{name!r}]: expected a cell of {layer.output_size} units in place of {layer.cell!r}, got "
                f"{changed!r}; give the factory, as recur.cells.gru, and each layer keeps its size"
            )
        dtype = jax.tree.leaves(layer.params)[0].dtype
        drawn = changed.init(jax.random.fold_in(key, index), layer.input_size, dtype)
        layer.cell = changed
        layer.params = nnx.data(jax.tree.map(nnx.Param, drawn))
    return copy


def _changed(name: str, cell: cells.Cell, change: Any) -> cells.Cell:
    if change is None:
        return cell
    if isinstance(change, cells.Cell):
        return change
    if isinstance(change, cells.Chrono) or (isinstance(change, int | float) and not isinstance(change, bool)):
        keep = getattr(getattr(cell, "inits", None), "keep", None)
        if keep is None:
            raise ValueError(
                f"compare[{name!r}]: expected layers whose cells declare the gate that keeps the state, got {cell!r}; "
                "compare recurrent initialisers or other cells"
            )
        change = {"bias_init": change if isinstance(change, cells.Chrono) else {keep: change}}
    elif isinstance(change, str) or (callable(change) and dataclasses.is_dataclass(change)):
        change = {"recurrent_init": change}
    if isinstance(change, Mapping):
        return with_options(name, cell, change)
    if callable(change):
        made = change(output_size(cell))
        if isinstance(made, cells.Cell):
            return made
    raise TypeError(
        f"compare[{name!r}]: expected cells.Chrono, a forget bias, an initialiser, a mapping of "
        f"{sorted(_OPTIONS)}, a cell, a factory of cells or a module, got {brief(change)}"
    )


def with_options(name: str, cell: cells.Cell, options: Mapping[str, Any]) -> cells.Cell:
    """Returns a cell with other initialisers; a gate that a mapping leaves out keeps what it had.

    Raises:
        ValueError: Unknown options, or a cell that has no initialisers.
    """
    inits = getattr(cell, "inits", None)
    unknown = sorted(set(options) - set(_OPTIONS), key=str)
    if unknown or inits is None:
        got = f"the options {unknown}" if unknown else f"{cell!r}, which has no initialisers to change"
        raise ValueError(
            f"compare[{name!r}]: expected options among {sorted(_OPTIONS)} for a pointwise cell, got {got}"
        )
    fields = {}
    for option, spec in options.items():
        field = _OPTIONS[option]
        if isinstance(spec, cells.Chrono) and field == "bias":
            fields[field] = spec
            continue
        made = per_gate(option, spec, inits.gates, None)
        before = getattr(inits, field)
        if not isinstance(before, tuple):
            before = per_gate(option, "zeros", inits.gates, None)
        fields[field] = tuple(old if new is None else new for new, old in zip(made, before, strict=True))
    return dataclasses.replace(cell, inits=dataclasses.replace(inits, **fields))
