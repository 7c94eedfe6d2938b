"""What one writes in JAX where no library has the cell: `jax.lax.scan`, and `jax.lax.associative_scan`."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks._speed_programs import CannotError, Entry, Model, on_jax
from benchmarks._speed_rows import Case

Params = dict[str, jax.Array]


def entries(case: Case) -> Iterator[Entry]:
    """Compiles the loops written by hand."""
    loops = _LOOPS.get(case.cell)
    if loops is None:
        raise CannotError("written only for cells that no library has")
    for name, run in loops.items():

        def apply(params: Params, x: jax.Array, run: Callable = run) -> jax.Array:
            return jnp.swapaxes(run(params["params"], jnp.swapaxes(x, 0, 1)), 0, 1)

        yield on_jax(case, Model(f"by_hand.{name}", apply, lambda one: nnx.to_pure_dict(nnx.state(one))))


def _leaky(params: Params, xs: jax.Array) -> jax.Array:
    kernel, recurrent_kernel, bias = params["kernel"], params["recurrent_kernel"], params["bias"]
    hidden = len(recurrent_kernel)
    kernel, recurrent_kernel = kernel.reshape(len(kernel), -1), recurrent_kernel.reshape(hidden, -1)

    def step(h: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        u, n = jnp.split(x @ kernel + bias.reshape(1, -1) + h @ recurrent_kernel, 2, axis=-1)
        u = jax.nn.sigmoid(u)
        h = u * h + (1 - u) * jnp.tanh(n)
        return h, h

    return jax.lax.scan(step, jnp.zeros((xs.shape[1], hidden)), xs)[1]


def _min_gru_parts(params: Params, xs: jax.Array) -> tuple[jax.Array, jax.Array]:
    kernel = params["kernel"]
    z, n = jnp.split(xs @ kernel.reshape(len(kernel), -1) + params["bias"].reshape(1, 1, -1), 2, axis=-1)
    z = jax.nn.sigmoid(z)
    return 1 - z, z * n


def _min_gru_scan(params: Params, xs: jax.Array) -> jax.Array:
    def step(h: jax.Array, parts: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        decay, drive = parts
        h = decay * h + drive
        return h, h

    decay, drive = _min_gru_parts(params, xs)
    return jax.lax.scan(step, jnp.zeros_like(drive[0]), (decay, drive))[1]


def _min_gru_associative(params: Params, xs: jax.Array) -> jax.Array:
    def combine(left: Any, right: Any) -> tuple[jax.Array, jax.Array]:
        return right[0] * left[0], right[0] * left[1] + right[1]

    return jax.lax.associative_scan(combine, _min_gru_parts(params, xs))[1]


_LOOPS = {
    "leaky": {"scan": _leaky},
    "min_gru": {"scan": _min_gru_scan, "associative_scan": _min_gru_associative},
}
