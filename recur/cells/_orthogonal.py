"""The recurrent network whose recurrent matrix is orthogonal at every step of training."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from recur._checks import check_batch_shape, check_dtype, check_positive, is_one_of
from recur._types import Array, Float, Key, Params, State
from recur.cells._base import Cell, state_type
from recur.cells._elman import ACTIVATIONS
from recur.cells._gates import GateInit, expand_to, gate_init, gate_product, project_gates
from recur.cells._init import InitSpec

MODRELU = "modrelu"


def _cayley(skew: Float[Array, "H H"]) -> Float[Array, "H H"]:
    one = jnp.eye(len(skew), dtype=skew.dtype)
    return jnp.linalg.solve(one + skew, one - skew)


PARAMETRIZATIONS: dict[str, Callable[[Float[Array, "H H"]], Float[Array, "H H"]]] = {
    "cayley": _cayley,
    "exp": jax.scipy.linalg.expm,
}
"""From a skew-symmetric matrix to an orthogonal one of determinant 1."""


@dataclasses.dataclass(frozen=True)
class PlaneRotations:
    """A free K for which the units turn two by two, each pair by an angle drawn from U[0, pi / 2]."""

    parametrization: str

    def __call__(self, key: Key[Array, ""], shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        """Draws a recurrent kernel ``[H, H]`` of one entry a pair."""
        pairs = shape[0] // 2
        angle = jax.random.uniform(key, (pairs,), jnp.promote_types(dtype, jnp.float32), 0.0, math.pi / 2)
        entry = jnp.tan(angle / 2) if self.parametrization == "cayley" else angle
        first = 2 * jnp.arange(pairs)
        return jnp.zeros(shape, dtype).at[first, first + 1].set(entry.astype(dtype))


@dataclasses.dataclass(frozen=True, repr=False)
class OrthogonalCell(Cell):
    """A cell whose recurrent matrix is a function of free numbers. Made by `orthogonal`."""

    hidden_size: int
    inits: GateInit
    activation: str
    parametrization: str
    negative: int
    name = "orthogonal"

    def init(self, key: Key[Array, ""], input_size: int, dtype: Any = jnp.float32) -> Params:
        """Draws ``kernel [X, 1, H]``, ``recurrent_kernel [H, 1, H]``, the free K, and ``bias [1, H]``."""
        return self.inits.draw(key, input_size, self.hidden_size, dtype)

    def initial_state(self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> State:
        """Returns zeros ``[*batch_shape, H]``."""
        batch_shape = check_batch_shape("batch_shape", batch_shape)
        zeros = jnp.zeros((*batch_shape, self.hidden_size), check_dtype("dtype", dtype, jnp.inexact))
        return state_type("h")(h=zeros)

    def prepare(self, params: Params) -> Params:
        """Puts the orthogonal Q in the place of the free K, in float32 or better."""
        free = params["recurrent_kernel"][:, 0]
        free = free.astype(jnp.promote_types(free.dtype, jnp.float32))
        signs = jnp.where(jnp.arange(self.hidden_size) < self.hidden_size - self.negative, 1.0, -1.0)
        rotation = PARAMETRIZATIONS[self.parametrization](free - free.T)
        return {**params, "recurrent_kernel": (signs.astype(free.dtype)[:, None] * rotation)[:, None]}

    def project(self, params: Params, xs: Float[Array, "*A X"]) -> Float[Array, "*A 1 H"]:
        """Returns ``x W + b``; without b where it is the threshold of the activation."""
        return (
            gate_product(xs, params["kernel"])
            if self.activation == MODRELU
            else project_gates(params["kernel"], params["bias"], xs)
        )

    def advance(self, params: Params, state: State, projected: Float[Array, "*B 1 H"]) -> State:
        """Returns the next state."""
        pre = (projected + gate_product(state.h, params["recurrent_kernel"]))[..., 0, :]
        if self.activation == MODRELU:
            return state._replace(h=_modrelu(pre, expand_to(params["bias"][0], pre.ndim)))
        function = ACTIVATIONS[self.activation]
        return state._replace(h=pre if function is None else function(pre))

    def __repr__(self) -> str:
        """Shows the call that makes the cell; initialisers are left out."""
        return (
            f"orthogonal({self.hidden_size}, activation={self.activation!r}, "
            f"parametrization={self.parametrization!r}, negative={self.negative})"
        )


def _modrelu(a: jax.Array, threshold: jax.Array) -> jax.Array:
    # As a sum, not as sign(a) relu(|a| + b), whose derivative at a = 0, the state at rest, jax takes to be 0.
    return jnp.where(jnp.abs(a) + threshold >= 0, a + threshold * jnp.sign(a), 0.0)


def orthogonal(
    hidden_size: int,
    *,
    activation: str = MODRELU,
    parametrization: str = "cayley",
    negative: int | None = None,
    kernel_init: InitSpec = "glorot_uniform",
    recurrent_init: InitSpec | None = None,
    bias_init: InitSpec = "zeros",
) -> OrthogonalCell:
    """Returns the simple recurrent network with an orthogonal recurrent matrix, whatever its free parameters K.

        A   = K - K^T
        Q   = D (I + A)^-1 (I - A)          parametrization="cayley"
        Q   = D exp(A)                      parametrization="exp"
        h_t = activation(x_t W + b + h_{t-1} Q)
        h_t = modrelu(x_t W + h_{t-1} Q),   modrelu(a) = sign(a) max(|a| + b, 0)

    All singular values of Q are 1, so the gradient can only be lost to the activation: with identity, or modrelu and
    b = 0, none is. D is diagonal, 1 but for the last `negative` entries of -1; without it no Cayley transform has the
    eigenvalue -1. Q is computed once a run. modrelu with b > 0 jumps at 0, as published; its derivative there is 1.

    Args:
        hidden_size: Units H.
        activation: ``"modrelu"``, ``"tanh"``, ``"relu"`` or ``"identity"``.
        parametrization: ``"cayley"`` or ``"exp"``.
        negative: How many entries of D are -1; by default half of them with cayley, none with exp.
        kernel_init: Initialiser of W (see `recur.cells.pointwise`).
        recurrent_init: Initialiser of the free K, of which only ``K - K^T`` counts. By default pairs of units turn by
            angles drawn from U[0, pi / 2], as Helfrich et al. do; ``"zeros"`` makes Q = D.
        bias_init: Initialiser of b, with modrelu the threshold.

    Raises:
        TypeError: A number of negative entries that is no whole number.
        ValueError: An unknown activation, parametrisation or initialiser, or more negative entries than units.

    Reference:
        Cayley: Helfrich, Willmott and Ye (2018), https://arxiv.org/abs/1707.09520; exponential: Lezcano-Casado and
        Martinez-Rubio (2019), https://arxiv.org/abs/1901.08428; modrelu: Arjovsky, Shah and Bengio (2016),
        https://arxiv.org/abs/1511.06464. Their W is Q transposed.
    """
    hidden_size = check_positive("hidden_size", hidden_size)
    known = [MODRELU, *ACTIVATIONS]
    if not is_one_of(activation, known):
        raise ValueError(f"activation: expected one of {sorted(known)}, got {activation!r}")
    if not is_one_of(parametrization, PARAMETRIZATIONS):
        raise ValueError(f"parametrization: expected one of {sorted(PARAMETRIZATIONS)}, got {parametrization!r}")
    if negative is None:
        negative = hidden_size // 2 if parametrization == "cayley" else 0
    elif not isinstance(negative, int) or isinstance(negative, bool):
        raise TypeError(f"negative: expected a whole number, got {negative!r}")
    if not 0 <= negative <= hidden_size:
        raise ValueError(f"negative: expected 0 <= negative <= hidden_size = {hidden_size}, got {negative}")
    inits = gate_init(
        ("h",),
        kernel_init=kernel_init,
        recurrent_init=PlaneRotations(parametrization) if recurrent_init is None else recurrent_init,
        bias_init=bias_init,
    )
    return OrthogonalCell(hidden_size, inits, activation, parametrization, negative)
