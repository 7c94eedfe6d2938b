"""The recurrent network whose recurrent matrix is orthogonal at every step of training."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from recur._checks import check_positive, is_one_of
from recur._types import Array, Float, Key, Params
from recur.cells._elman import ACTIVATIONS
from recur.cells._init import InitSpec
from recur.cells._pointwise import pointwise
from recur.cells._pointwise_cell import PointwiseCell

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
class OrthogonalCell(PointwiseCell):
    """A cell whose recurrent matrix is a function of free numbers. Made by `orthogonal`."""

    activation: str
    parametrization: str
    negative: int

    def __repr__(self) -> str:
        """Shows the call that makes the cell; initialisers are left out."""
        return (
            f"orthogonal({self.hidden_size}, activation={self.activation!r}, "
            f"parametrization={self.parametrization!r}, negative={self.negative})"
        )


@dataclasses.dataclass(frozen=True)
class _Full:
    """Makes Q of the free K, in float32 or better, and the threshold of modrelu, which is drawn as the bias."""

    parametrization: str
    negative: int
    threshold: bool

    def __call__(self, params: Params) -> Params:
        """Returns what takes the place of the free parameters."""
        free = params["recurrent_kernel"][:, 0]
        free = free.astype(jnp.promote_types(free.dtype, jnp.float32))
        signs = jnp.where(jnp.arange(len(free)) < len(free) - self.negative, 1.0, -1.0)
        rotation = PARAMETRIZATIONS[self.parametrization](free - free.T)
        full = {"recurrent_kernel": signs.astype(free.dtype)[:, None] * rotation}
        if self.threshold:
            full |= {"bias": jnp.zeros_like(params["bias"]), "threshold": params["bias"][0]}
        return full


def _activated(gate, state) -> dict[str, jax.Array]:
    del state
    return {"h": gate.h}


def _modrelu(gate, state, weight) -> dict[str, jax.Array]:
    del state
    # As a sum, not as sign(a) relu(|a| + b), whose derivative at a = 0, the state at rest, jax takes to be 0.
    a = gate.h
    return {"h": jnp.where(jnp.abs(a) + weight.threshold >= 0, a + weight.threshold * jnp.sign(a), 0.0)}


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
    is_modrelu = activation == MODRELU
    declared = pointwise(
        state=("h",),
        gates={"h": None if is_modrelu else ACTIVATIONS[activation]},
        weights={"threshold": None} if is_modrelu else None,
        parameters=_Full(parametrization, negative, is_modrelu),
        name="orthogonal",
    )(_modrelu if is_modrelu else _activated)
    cell = declared(
        hidden_size,
        kernel_init=kernel_init,
        recurrent_init=PlaneRotations(parametrization) if recurrent_init is None else recurrent_init,
        bias_init=bias_init,
    )
    return OrthogonalCell(cell.declaration, hidden_size, cell.inits, activation, parametrization, negative)
