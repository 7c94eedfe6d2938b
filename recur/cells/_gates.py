"""What all gated cells share: three parameter arrays, drawn gate by gate, and the projection of the input."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from recur._checks import check_dtype, check_key, check_positive
from recur._types import Array, Float, Initializer, Key, Params
from recur.cells._base import add_bias
from recur.cells._init import (
    Chrono,
    Constant,
    GlorotUniform,
    InitSpec,
    Orthogonal,
    PerGate,
    Uniform,
    draw_gates,
    per_gate,
)


@dataclasses.dataclass(frozen=True)
class GateInit:
    """How the kernels and biases of a block of gates are drawn.

    Args:
        gates: Gate names, in the order of the gate axis G.
        kernel: Initialiser of each gate's input kernel ``[X, H]``.
        recurrent: Initialiser of each gate's recurrent kernel ``[H, H]``.
        bias: Initialiser of each gate's bias ``[H]``, or `Chrono`, which sets all of them.
        keep: Gate that keeps the state, for `Chrono`; None where the cell has none.
        write: Gate that lets the input in, for `Chrono`.
        recurrence: ``"dense"``, ``"diagonal"`` or ``"none"``: what the recurrent kernel is, if there is one.
    """

    gates: tuple[str, ...]
    kernel: PerGate
    recurrent: PerGate
    bias: PerGate | Chrono
    keep: str | None = None
    write: str | None = None
    recurrence: str = "dense"

    def draw(
        self,
        key: Key[Array, ""],
        input_size: int,
        hidden_size: int,
        dtype: Any,
        weights: tuple[tuple[str, Initializer], ...] = (),
    ) -> Params:
        """Draws ``kernel [X, G, H]``, ``recurrent_kernel [H, G, H]``, ``bias [G, H]`` and the weights ``[H]``.

        The recurrent kernel is ``[G, H]`` where it is diagonal, and left out where there is none. The kernels of a key
        are the same whether or not there are weights.
        """
        input_size = check_positive("input_size", input_size)
        check_key("key", key)
        check_dtype("dtype", dtype)
        for_kernel, for_recurrent, for_bias, for_weights = jax.random.split(key, 4)
        if isinstance(self.bias, Chrono):
            bias = self.bias.biases(for_bias, self.gates, self.keep, self.write, hidden_size, dtype)
        else:
            bias = draw_gates(for_bias, self.bias, (hidden_size,), dtype)
        recurrent = {}
        if self.recurrence != "none":
            shape = (hidden_size,) if self.recurrence == "diagonal" else (hidden_size, hidden_size)
            recurrent["recurrent_kernel"] = draw_gates(for_recurrent, self.recurrent, shape, dtype)
        return {
            "kernel": draw_gates(for_kernel, self.kernel, (input_size, hidden_size), dtype),
            **recurrent,
            "bias": bias,
            **{
                name: initializer(jax.random.fold_in(for_weights, index), (hidden_size,), dtype)
                for index, (name, initializer) in enumerate(weights)
            },
        }


def gate_init(
    gates: tuple[str, ...],
    *,
    kernel_init: InitSpec = "glorot_uniform",
    recurrent_init: InitSpec | None = None,
    bias_init: InitSpec | Chrono = "zeros",
    keep: str | None = None,
    write: str | None = None,
    recurrence: str = "dense",
) -> GateInit:
    """Reads the three ``*_init`` options of a cell factory (see `recur.cells.pointwise`)."""
    if isinstance(bias_init, Chrono):
        if keep is None:
            raise ValueError(
                f"bias_init: expected an initialiser, got {bias_init}, which needs a gate that keeps the state; "
                f"gates {list(gates)} declare none (keep=...): use a gated cell such as lstm or gru"
            )
        bias = bias_init
    else:
        bias = per_gate("bias_init", bias_init, gates, Constant(0.0))
    default = Uniform(0.0, 1.0) if recurrence == "diagonal" else Orthogonal()
    if recurrent_init is None:
        recurrent_init = default
    elif recurrence == "none":
        raise ValueError(
            f"recurrent_init: expected None without a recurrent kernel, got {recurrent_init!r}; leave it out"
        )
    return GateInit(
        gates=gates,
        kernel=per_gate("kernel_init", kernel_init, gates, GlorotUniform()),
        recurrent=per_gate("recurrent_init", recurrent_init, gates, default),
        bias=bias,
        keep=keep,
        write=write,
        recurrence=recurrence,
    )


def expand_to(array: jax.Array, ndim: int) -> jax.Array:
    """Adds leading axes to reach `ndim`, so that no rank is promoted silently."""
    return jnp.expand_dims(array, tuple(range(ndim - array.ndim)))


def product(x: Float[Array, "*A F"], kernel: Float[Array, "F N"]) -> Float[Array, "*A N"]:
    """Returns ``x W`` as one matrix product, accumulated in float32 or better."""
    return _product(x, kernel, _matmul_of_many)


def tangent_product(x: Float[Array, "*A F"], d_kernel: Float[Array, "F N"]) -> Float[Array, "*A N"]:
    """Returns ``x dW``, the same product, for a tangent of the kernel: its transpose is the faster one."""
    return _product(x, d_kernel, _matmul_with_tangent)


def _product(x: Float[Array, "*A F"], kernel: Float[Array, "F N"], of_many: Callable) -> Float[Array, "*A N"]:
    # As one matrix, whose gradients are plain products too; over several axes they would be slower contractions.
    rows = x.reshape(-1, x.shape[-1])
    multiply = of_many if rows.shape[0] >= MANY_ROWS and kernel.size >= LARGE_KERNEL else _matmul
    return multiply(rows, kernel).reshape(*x.shape[:-1], kernel.shape[-1])


MANY_ROWS, LARGE_KERNEL = 1024, 8192
"""From these sizes on the gradient of a kernel is worth a copy of the rows."""


def _matmul(rows: Float[Array, "R F"], kernel: Float[Array, "F N"]) -> Float[Array, "R N"]:
    accumulate = jnp.result_type(jnp.float32, rows.dtype, kernel.dtype)
    return jnp.matmul(rows, kernel, preferred_element_type=accumulate)


@jax.custom_jvp
def _matmul_of_many(rows: Float[Array, "R F"], kernel: Float[Array, "F N"]) -> Float[Array, "R N"]:
    """Multiplies many rows: the same product, of which a CPU computes the gradient up to 1.7 times as fast.

    That of the kernel is ``rows^T G``, which XLA computes faster from rows that have been transposed in memory.
    """
    return _matmul(rows, kernel)


@_matmul_of_many.defjvp
def _tangent(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (rows, kernel), (d_rows, d_kernel) = primals, tangents
    return _matmul_of_many(rows, kernel), _matmul_of_many(d_rows, kernel) + _matmul_with_tangent(rows, d_kernel)


def _matmul_with_tangent(rows: Float[Array, "R F"], d_kernel: Float[Array, "F N"]) -> Float[Array, "R N"]:
    columns = jax.lax.platform_dependent(rows, cpu=lambda x: jax.lax.optimization_barrier(x.T), default=jnp.transpose)
    return _matmul(columns.T, d_kernel)


def affine_product(
    x: Float[Array, "*A F"], kernel: Float[Array, "F N"], bias: Float[Array, "N"]
) -> Float[Array, "*A N"]:
    """Returns ``x W + b``."""
    return add_bias(product(x, kernel), bias)


def gate_product(x: Float[Array, "*A F"], kernel: Float[Array, "F G H"]) -> Float[Array, "*A G H"]:
    """Returns ``x W`` for all gates."""
    return product(x, kernel.reshape(kernel.shape[0], -1)).reshape(*x.shape[:-1], *kernel.shape[1:])


def project_gates(
    kernel: Float[Array, "X G H"], bias: Float[Array, "G H"], xs: Float[Array, "*A X"]
) -> Float[Array, "*A G H"]:
    """Returns ``x W + b`` for all gates."""
    rows = affine_product(xs, kernel.reshape(kernel.shape[0], -1), bias.ravel())
    return rows.reshape(*xs.shape[:-1], *bias.shape)
