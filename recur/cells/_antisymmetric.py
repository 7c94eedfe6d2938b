"""The antisymmetric recurrent network: a step of Euler's method along a flow that neither contracts nor expands."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from jax.nn import sigmoid

from recur._checks import check_bool, check_number
from recur._types import Array, Float, Params
from recur.cells._init import Gaussian, InitSpec, per_gate
from recur.cells._pointwise import pointwise
from recur.cells._pointwise_cell import PointwiseCell


@dataclasses.dataclass(frozen=True, repr=False)
class AntisymmetricCell(PointwiseCell):
    """A cell whose state drifts along an antisymmetric matrix. Made by `antisymmetric`."""

    step_size: float
    diffusion: float
    gated: bool

    def __repr__(self) -> str:
        """Shows the call that makes the cell; initialisers are left out."""
        gated = ", gated=True" if self.gated else ""
        return f"antisymmetric({self.hidden_size}, step_size={self.step_size}, diffusion={self.diffusion}{gated})"


def _drift(params: Params, *, diffusion: float) -> Float[Array, "H H"]:
    """Returns ``K - K^T - gamma I`` of the free K, in float32 or better."""
    free = params["recurrent_kernel"][:, 0]
    free = free.astype(jnp.promote_types(free.dtype, jnp.float32))
    return free - free.T - diffusion * jnp.eye(len(free), dtype=free.dtype)


def _plain(gate, state, *, step_size: float) -> dict[str, jax.Array]:
    return {"h": state.h + step_size * gate.h}


def _gated(gate, state, *, step_size: float) -> dict[str, jax.Array]:
    return {"h": state.h + step_size * (gate.z * gate.h)}


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
    gated, step_size, diffusion = check_bool("gated", gated), float(step_size), float(diffusion)
    declared = pointwise(
        state=("h",),
        gates={"h": jnp.tanh, "z": sigmoid} if gated else {"h": jnp.tanh},
        recurrent_kernel=functools.partial(_drift, diffusion=diffusion),
        name="antisymmetric",
    )(functools.partial(_gated if gated else _plain, step_size=step_size))
    cell = declared(hidden_size, kernel_init=kernel_init, bias_init=bias_init)
    # All gates share one free K.
    inits = dataclasses.replace(cell.inits, recurrent=per_gate("recurrent_init", recurrent_init, ("h",), Gaussian()))
    return AntisymmetricCell(cell.declaration, cell.hidden_size, inits, step_size, diffusion, gated)
