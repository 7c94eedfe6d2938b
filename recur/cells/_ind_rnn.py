"""The independently recurrent network."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from recur._checks import is_one_of
from recur.cells._init import InitSpec
from recur.cells._pointwise import pointwise
from recur.cells._pointwise_cell import PointwiseCell


def _ind_rnn(gate, state) -> Mapping[str, jax.Array]:
    del state
    return {"h": gate.h}


_DECLARED = {
    name: pointwise(state=("h",), gates={"h": activation}, recurrence="diagonal", name=f"ind_rnn{suffix}")(_ind_rnn)
    for name, activation, suffix in (("relu", jax.nn.relu, ""), ("tanh", jnp.tanh, "_tanh"))
}


def ind_rnn(
    hidden_size: int,
    *,
    activation: str = "relu",
    kernel_init: InitSpec = "glorot_uniform",
    recurrent_init: InitSpec | None = None,
    bias_init: InitSpec = "zeros",
) -> PointwiseCell:
    """Returns the independently recurrent network: every unit sees its own last value and no other's.

        h_t = activation(x_t W + b + u h_{t-1}),   u [H], entry by entry

    Its Jacobian is diagonal, with entries ``u activation'``: a unit keeps its gradient over T steps if ``|u|`` lies
    near 1. To learn lags of T steps the paper bounds ``|u| <= gamma^(1/T)``; nothing is clipped here.

    Args:
        hidden_size: Units H.
        activation: ``"relu"`` or ``"tanh"``.
        kernel_init: Initialiser of W (see `recur.cells.pointwise`).
        recurrent_init: Initialiser of u ``[H]``; by default uniform on [0, 1).
        bias_init: Initialiser of b.

    Raises:
        ValueError: Unknown activation or initialiser.

    Reference:
        Li, Li, Cook, Zhu and Gao (2018), https://arxiv.org/abs/1803.04831, eq. 4 and section 4.
    """
    if not is_one_of(activation, _DECLARED):
        raise ValueError(f"activation: expected one of {sorted(_DECLARED)}, got {activation!r}")
    return _DECLARED[activation](
        hidden_size, kernel_init=kernel_init, recurrent_init=recurrent_init, bias_init=bias_init
    )
