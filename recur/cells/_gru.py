"""The gated recurrent unit, with the reset gate after or before the recurrent product."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn import sigmoid

from recur._checks import check_bool, check_positive
from recur._types import Array, Float, Key, Params, State
from recur.cells._base import Cell, state_type
from recur.cells._gates import GateInit, gate_init, gate_product, project_gates
from recur.cells._init import Chrono, Constant, InitSpec
from recur.cells._pointwise import pointwise
from recur.cells._pointwise_cell import PointwiseCell


def _interpolate(z: jax.Array, n: jax.Array, h: jax.Array) -> jax.Array:
    return z * h + (1 - z) * n


@pointwise(
    state=("h",),
    gates={"r": sigmoid, "z": sigmoid, "n": None},
    split=("n",),
    weights={"recurrent_bias": Constant(0.0)},
    keep="z",
    name="gru",
)
def _gru(gate, state, weight) -> Mapping[str, jax.Array]:
    n = jnp.tanh(gate.n.x + gate.r * (gate.n.h + weight.recurrent_bias))
    return {"h": _interpolate(gate.z, n, state.h)}


@dataclasses.dataclass(frozen=True, repr=False)
class ResetBeforeGRU(Cell):
    """The GRU whose reset gate acts on the state before the recurrent product. Made by `gru`.

    That product needs the reset gate first, so the step is no elementwise function of one product.
    """

    hidden_size: int
    inits: GateInit
    name = "gru_reset_before"

    def init(self, key: Key[Array, ""], input_size: int, dtype: Any = jnp.float32) -> Params:
        """Draws ``kernel [X, 3, H]``, ``recurrent_kernel [H, 3, H]`` and ``bias [3, H]``, gates r, z, n."""
        return self.inits.draw(key, input_size, self.hidden_size, dtype)

    def initial_state(self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> State:
        """Returns zeros ``[*batch_shape, H]``."""
        return state_type("h")(h=jnp.zeros((*batch_shape, self.hidden_size), dtype))

    def project(self, params: Params, xs: Float[Array, "*A X"]) -> Float[Array, "*A 3 H"]:
        """Returns ``x W + b`` for all gates."""
        return project_gates(params["kernel"], params["bias"], xs)

    def advance(self, params: Params, state: State, projected: Float[Array, "*B 3 H"]) -> State:
        """Returns the next state."""
        kernel = params["recurrent_kernel"]
        gates = sigmoid(projected[..., :2, :] + gate_product(state.h, kernel[:, :2]))
        r, z = gates[..., 0, :], gates[..., 1, :]
        n = jnp.tanh(projected[..., 2, :] + gate_product(r * state.h, kernel[:, 2:])[..., 0, :])
        return state._replace(h=_interpolate(z, n, state.h))

    def __repr__(self) -> str:
        """Shows the call that makes the cell."""
        return f"gru({self.hidden_size}, reset_after=False)"


def gru(
    hidden_size: int,
    *,
    reset_after: bool = True,
    kernel_init: InitSpec = "glorot_uniform",
    recurrent_init: InitSpec = "orthogonal",
    bias_init: InitSpec | Chrono = "zeros",
) -> PointwiseCell | ResetBeforeGRU:
    """Returns the gated recurrent unit. Its update gate z **keeps** the state, as in torch, Keras and Flax.

        r, z = sigmoid(x_t W_g + b_g + h_{t-1} U_g)                  for g = r, z
        n    = tanh(x_t W_n + b_n + r (h_{t-1} U_n + recurrent_bias))     reset_after=True
        n    = tanh(x_t W_n + b_n + (r h_{t-1}) U_n)                      reset_after=False
        h_t  = z h_{t-1} + (1 - z) n

    Gate order r, z, n, as in torch; Keras has z, r, n. With ``reset_after=True`` the candidate has a recurrent
    bias ``[H]`` of its own; torch and Keras keep recurrent biases for r and z too, which only add to b.

    Args:
        hidden_size: Units H.
        reset_after: Whether the reset gate acts after the recurrent product (torch, the Keras default, cuDNN) or
            on the state before it (Cho et al. 2014).
        kernel_init: Initialiser of the W (see `recur.cells.pointwise`).
        recurrent_init: Initialiser of the U.
        bias_init: Initialiser of the b, or `Chrono`, which sets ``b_z``.

    Raises:
        TypeError: `reset_after` is neither True nor False.
        ValueError: Unknown initialiser.

    Reference:
        Cho et al. (2014), https://arxiv.org/abs/1406.1078, eqs. 5-8.
    """
    options = {"kernel_init": kernel_init, "recurrent_init": recurrent_init, "bias_init": bias_init}
    if check_bool("reset_after", reset_after):
        return _gru(hidden_size, **options)
    inits = gate_init(("r", "z", "n"), keep="z", **options)
    return ResetBeforeGRU(check_positive("hidden_size", hidden_size), inits)
