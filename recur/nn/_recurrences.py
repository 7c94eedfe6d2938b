"""Every recurrence that a module runs, with the inputs that it really sees."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from recur._types import Array, Bool, Float, Int, Params, State
from recur.cells import Cell
from recur.nn._layout import Result, Sequences
from recur.nn._rnn import RNN
from recur.nn._watch import watching


class Recurrence(NamedTuple):
    """One recurrence of a module, as `recur.flow` wants it.

    Args:
        cell: The recurrence, as it is evaluated.
        params: Its parameters as plain arrays.
        xs: What it reads, time-major and in the order of time ``[T, *B, X]``, in a backward layer too.
        lengths: Steps that count, to the last one that the layer's mask leaves ``[*B]``; None where all do.
    """

    cell: Cell
    params: Params
    xs: Float[Array, "T *B X"]
    lengths: Int[Array, "*B"] | None


class Seen(NamedTuple):
    """One run of a recurrent layer, whole.

    Args:
        name: Path of the layer in the module.
        cell: As it ran.
        params: As they ran.
        sequences: Inputs, mask and resets.
        initial_state: State before the first step; None for the cell's own.
        reset_state: State that resets set; None for `initial_state`.
        reverse: Whether the last step is taken first.
        result: What it made.
    """

    name: str
    cell: Cell
    params: Params
    sequences: Sequences
    initial_state: State | None
    reset_state: State | None
    reverse: bool
    result: Result


def recurrences(
    module: Callable[..., Any], *inputs: Any, lengths: Int[Array, "*B"] | None = None, **options: Any
) -> dict[str, Recurrence]:
    """Runs a module once and returns every recurrence in it, with the inputs that it really sees.

    Args:
        module: Any Flax NNX module, of recur or of your own, that calls `RNN`, `Bidirectional`, `Stack` or what is
            made of them; or a function that does. Layers that a module takes step by step inside a loop of its own
            (``layer.step``) run no sequence, and are not among them.
        *inputs: What the module is called with.
        lengths: Handed to the module as ``lengths=``, where it takes that.
        **options: Further options of the call.

    Returns:
        `Recurrence` by name, in the order in which they run. A name is the path of the layer in the module, as
        ``"layers.0.forward"`` or ``"encoder.layers.1"``; a module that is itself one layer is ``"rnn"``. A layer that
        runs again has ``#2`` after its name. A backward layer ends in ``backward``: give `recur.flow` the option
        ``reverse=True`` with it.

    Raises:
        ValueError: The module runs no recurrent layer.

    Example:
        >>> import jax.numpy as jnp, recur
        >>> from flax import nnx
        >>> both = recur.nn.Bidirectional(recur.cells.gru(4), 3, rngs=nnx.Rngs(0))
        >>> found = recur.nn.recurrences(both, jnp.ones((2, 7, 3)), lengths=jnp.array([7, 5]))
        >>> {name: (one.cell, one.xs.shape, one.lengths.tolist()) for name, one in found.items()}
        {'forward': (gru(4), (7, 2, 3), [7, 5]), 'backward': (gru(4), (7, 2, 3), [7, 5])}
    """
    seen, _ = watch(module, *inputs, **call_options(module, lengths), **options)
    return {one.name: Recurrence(one.cell, one.params, one.sequences.xs, counted(one.sequences.mask)) for one in seen}


def watch(module: Callable[..., Any], *inputs: Any, **options: Any) -> tuple[list[Seen], Any]:
    """Runs a module once; returns what its recurrent layers did, in their order, and what the module returned.

    Raises:
        ValueError: The module runs no recurrent layer.
    """
    names = _names(module)
    seen: list[Seen] = []
    runs: dict[str, int] = {}

    def handler(
        layer: RNN, sequences: Sequences, initial_state: Any, reset_state: Any, *, reverse: bool, key: Any
    ) -> Result:
        drawn, result = layer.drawn_run(sequences, initial_state, reset_state, reverse=reverse, key=key)
        name = names.setdefault(id(layer), f"rnn_{len(names)}" if names else "rnn")
        runs[name] = runs.get(name, 0) + 1
        if runs[name] > 1:
            name = f"{name}#{runs[name]}"
        read = sequences._replace(xs=drawn.xs)
        seen.append(Seen(name, drawn.cell, drawn.params, read, initial_state, reset_state, reverse, result))
        return result

    with watching(handler):
        outputs = module(*inputs, **options)
    if not seen:
        raise ValueError(
            f"module: expected one that runs a layer of recur.nn (RNN, Bidirectional, Stack, ...), got none in a call "
            f"of {type(module).__name__}; interop.find_recurrent reads models of other libraries"
        )
    return seen, outputs


def call_options(module: Callable[..., Any], lengths: Any) -> dict[str, Any]:
    """Returns ``{"lengths": lengths}`` for a module that takes it, nothing where there are none or it does not."""
    if lengths is None:
        return {}
    called = type(module).__call__ if isinstance(module, nnx.Module) else module
    takes = inspect.signature(called).parameters
    named = "lengths" in takes or any(one.kind is inspect.Parameter.VAR_KEYWORD for one in takes.values())
    return {"lengths": jnp.asarray(lengths)} if named else {}


def counted(mask: Bool[Array, "T *B"] | None) -> Int[Array, "*B"] | None:
    """Returns how many steps there are to the last one that counts, None without a mask."""
    if mask is None:
        return None
    numbered = jax.lax.broadcasted_iota(jnp.int32, mask.shape, 0) + 1
    return jnp.where(mask, numbered, 0).max(axis=0)


def _names(module: Any) -> dict[int, str]:
    if not isinstance(module, nnx.Module):
        return {}
    found = {}
    for path, part in nnx.iter_modules(module):
        if isinstance(part, RNN):
            found.setdefault(id(part), ".".join(map(str, path)) or "rnn")
    return found
