"""The antisymmetric recurrent network: a step of Euler's method along a flow that neither contracts nor expands."""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
from jax.nn import sigmoid

from recur._checks import check_batch_shape, check_bool, check_dtype, check_number, check_positive
from recur._types import Array, Float, Key, Params, State
from recur.cells._base import Cell, state_type
from recur.cells._gates import GateInit, gate_init, gate_product, project_gates
from recur.cells._init import Gaussian, InitSpec, per_gate


@dataclasses.dataclass(frozen=True, repr=False)
class AntisymmetricCell(Cell):
    """A cell whose state drifts along an antisymmetric matrix. Made by `antisymmetric`."""

    hidden_size: int
    inits: GateInit
    step_size: float
    diffusion: float
    gated: bool
    name = "antisymmetric"

    def init(self, key: Key[Array, ""], input_size: int, dtype: Any = jnp.float32) -> Params:
        """Draws ``kernel [X, G, H]``, ``recurrent_kernel [H, 1, H]``, the free K, and ``bias [G, H]``."""
        return self.inits.draw(key, input_size, self.hidden_size, dtype)

    def initial_state(self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> State:
        """Returns zeros ``[*batch_shape, H]``."""
        batch_shape = check_batch_shape("batch_shape", batch_shape)
        zeros = jnp.zeros((*batch_shape, self.hidden_size), check_dtype("dtype", dtype, jnp.inexact))
        return state_type("h")(h=zeros)

    def prepare(self, params: Params) -> Params:
        """Puts ``K - K^T - gamma I`` in the place of the free K, in float32 or better."""
        free = params["recurrent_kernel"][:, 0]
        free = free.astype(jnp.promote_types(free.dtype, jnp.float32))
        drift = free - free.T - self.diffusion * jnp.eye(self.hidden_size, dtype=free.dtype)
        return {**params, "recurrent_kernel": drift[:, None]}

    def project(self, params: Params, xs: Float[Array, "*A X"]) -> Float[Array, "*A G H"]:
        """Returns ``x V + b`` for all gates."""
        return project_gates(params["kernel"], params["bias"], xs)

    def advance(self, params: Params, state: State, projected: Float[Array, "*B G H"]) -> State:
        """Returns the next state. One product with the state serves all gates."""
        pre = projected + gate_product(state.h, params["recurrent_kernel"])
        change = jnp.tanh(pre[..., 0, :])
        if self.gated:
            change = sigmoid(pre[..., 1, :]) * change
        return state._replace(h=state.h + self.step_size * change)

    def __repr__(self) -> str:
        """Shows the call that makes the cell; initialisers are left out."""
        gated = ", gated=True" if self.gated else ""
        return f"antisymmetric({self.hidden_size}, step_size={self.step_size}, diffusion={self.diffusion}{gated})"


def antisymmetric(
    hidden_size: int,
    *,
    step_size: float = 0.01,
    diffusion: float = 0.01,
    gated: bool = False,
    kernel_init: InitSpec = "glorot_uniform",
    recurrent_init: InitSpec = "gaussian",
    bias_init: InitSpec = "zeros",
) -> AntisymmetricCell:
    """Returns the antisymmetric recurrent network, whose state changes little at each step.

        A   = K - K^T - gamma I
        h_t = h_{t-1} + epsilon tanh(x_t V + b + h_{t-1} A)                                              gated=False
        h_t = h_{t-1} + epsilon sigmoid(x_t V_z + b_z + h_{t-1} A) tanh(x_t V + b + h_{t-1} A)           gated=True

    Eigenvalues of ``K - K^T`` are imaginary, ``i w``, so the flow ``dh/dt`` turns and keeps its size. A step of length
    epsilon does not quite: at h = 0 its Jacobian has eigenvalues of modulus
    ``sqrt((1 - epsilon gamma)^2 + epsilon^2 w^2)``, above 1 for gamma = 0 and every w but 0.

    Args:
        hidden_size: Units H.
        step_size: Length epsilon of a step.
        diffusion: Strength gamma, at least 0, of the pull to zero that makes up for the finite step.
        gated: Whether a gate z with the same recurrent matrix scales the change. Gates are then h, z.
        kernel_init: Initialiser of V (see `recur.cells.pointwise`).
        recurrent_init: Initialiser of the free K.
        bias_init: Initialiser of b.

    Raises:
        TypeError: A step size or diffusion that is no number.
        ValueError: One that is out of its range, or an unknown initialiser.

    Reference:
        Chang, Chen, Haber and Chi (2019), https://arxiv.org/abs/1902.09689; the paper's W is K transposed.
    """
    for name, value, fits in (("step_size", step_size, ">"), ("diffusion", diffusion, ">=")):
        number = check_number(name, value)
        if not math.isfinite(number) or number < 0 or (fits == ">" and number == 0):
            raise ValueError(f"{name}: expected a finite number {fits} 0, got {value}")
    gates = ("h", "z") if check_bool("gated", gated) else ("h",)
    inits = gate_init(gates, kernel_init=kernel_init, bias_init=bias_init)
    inits = dataclasses.replace(inits, recurrent=per_gate("recurrent_init", recurrent_init, ("h",), Gaussian()))
    size = check_positive("hidden_size", hidden_size)
    return AntisymmetricCell(size, inits, float(step_size), float(diffusion), bool(gated))
