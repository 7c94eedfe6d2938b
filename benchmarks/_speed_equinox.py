"""Equinox as a peer: its cells in `jax.lax.scan`, mapped over the batch, as its documentation has it."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._speed_programs import CannotError, Entry, Model, on_jax
from benchmarks._speed_rows import Case, Module, directions


def entries(case: Case) -> Iterator[Entry]:
    """Compiles Equinox."""
    import equinox

    makers = {"lstm": equinox.nn.LSTMCell, "gru": equinox.nn.GRUCell}
    if case.cell not in makers:
        raise CannotError(f"has no cell {case.cell}")
    maker = makers[case.cell]

    def convert(module: Module) -> list[list[Any]]:
        return [[_cell(equinox, maker, rnn) for rnn in layer] for layer in directions(module)]

    def one_way(cell: Any, xs: jax.Array, *, reverse: bool) -> jax.Array:
        zeros = jnp.zeros(cell.hidden_size)
        lstm = case.cell == "lstm"

        def step(state: Any, x: jax.Array) -> tuple[Any, jax.Array]:
            state = cell(x, state)
            return state, state[0] if lstm else state

        return jax.lax.scan(step, (zeros, zeros) if lstm else zeros, xs, reverse=reverse)[1]

    def one_sequence(layers: list[list[Any]], xs: jax.Array) -> jax.Array:
        for layer in layers:
            xs = jnp.concatenate([one_way(cell, xs, reverse=way == 1) for way, cell in enumerate(layer)], axis=-1)
        return xs

    # Nothing in these cells is an array but the weights, so they are trees of parameters themselves.
    apply = jax.vmap(one_sequence, in_axes=(None, 0))
    yield on_jax(case, Model(f"equinox.{maker.__name__}", apply, convert))


def _cell(equinox: Any, maker: Any, rnn: Any) -> Any:
    """Makes a cell with the weights of a direction: transposed, gates i, f, g, o and r, z, n as recur has them."""
    params = {name: np.asarray(value[...]) for name, value in rnn.params.items()}
    hidden = params["recurrent_kernel"].shape[0]
    cell = equinox.filter_eval_shape(maker, rnn.input_size, hidden, key=jax.random.key(0))
    values = {
        "weight_ih": params["kernel"].reshape(rnn.input_size, -1).T,
        "weight_hh": params["recurrent_kernel"].reshape(hidden, -1).T,
        "bias": params["bias"].ravel(),
    }
    if "recurrent_bias" in params:
        values["bias_n"] = params["recurrent_bias"]
    return equinox.tree_at(
        lambda cell: [getattr(cell, name) for name in values], cell, [jnp.asarray(value) for value in values.values()]
    )
