"""The linear recurrent unit."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from recur._checks import check_batch_shape, check_dtype, check_key, check_number, check_positive
from recur._types import Array, Complex, Float, Key, Params, State
from recur.cells._base import Affine, Cell, state_type
from recur.cells._gates import expand_to


@dataclasses.dataclass(frozen=True)
class LRU(Cell):
    """A diagonal complex linear recurrence with a real output. Made by `lru`."""

    hidden_size: int
    state_size: int
    r_min: float
    r_max: float
    max_phase: float
    name = "lru"

    def init(self, key: Key[Array, ""], input_size: int, dtype: Any = jnp.float32) -> Params:
        """Draws ``nu_log, theta_log, gamma_log [N]``, ``kernel [X, 2, N]``, ``readout [2, N, H]``, ``skip [X, H]``.

        The axis of 2 holds real and imaginary parts.
        """
        input_size, modes = check_positive("input_size", input_size), self.state_size
        check_key("key", key)
        check_dtype("dtype", dtype)
        for_radius, for_phase, for_kernel, for_readout, for_skip = jax.random.split(key, 5)
        wide = jnp.promote_types(dtype, jnp.float32)
        # |lambda|^2 uniform on [r_min^2, r_max^2] (Lemma 2), 0 left out, as its logarithm stands for it.
        tiny = float(jnp.finfo(wide).tiny)
        square = jax.random.uniform(for_radius, (modes,), wide, max(self.r_min**2, tiny), self.r_max**2)
        phase = jax.random.uniform(for_phase, (modes,), wide, tiny, self.max_phase)
        params = {
            "nu_log": jnp.log(-0.5 * jnp.log(square)),
            "theta_log": jnp.log(phase),
            "gamma_log": 0.5 * jnp.log1p(-square),
            "kernel": jax.random.normal(for_kernel, (input_size, 2, modes), wide) / math.sqrt(2 * input_size),
            "readout": jax.random.normal(for_readout, (2, modes, self.hidden_size), wide) / math.sqrt(modes),
            "skip": jax.random.normal(for_skip, (input_size, self.hidden_size), wide) / math.sqrt(input_size),
        }
        return {name: leaf.astype(dtype) for name, leaf in params.items()}

    def initial_state(self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> State:
        """Returns zeros: the output h ``[*batch_shape, H]`` and the modes x ``[*batch_shape, 2, N]``."""
        batch_shape = check_batch_shape("batch_shape", batch_shape)
        check_dtype("dtype", dtype, jnp.inexact)
        h, x = (*batch_shape, self.hidden_size), (*batch_shape, 2, self.state_size)
        return state_type("h", "x")(h=jnp.zeros(h, dtype), x=jnp.zeros(x, dtype))

    def prepare(self, params: Params) -> dict[str, jax.Array]:
        """Returns the parameters with the eigenvalues ``[2, N]`` worked out and gamma multiplied into the kernel."""
        # Exponentials of half precision would lose more digits than the parameters have.
        params = {name: leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)) for name, leaf in params.items()}
        nu, theta, gamma = (jnp.exp(params[name]) for name in ("nu_log", "theta_log", "gamma_log"))
        radius = jnp.exp(-nu)
        return {
            "decay": jnp.stack([radius * jnp.cos(theta), radius * jnp.sin(theta)]),
            "kernel": params["kernel"] * gamma[None, None],
            "readout": params["readout"],
            "skip": params["skip"],
        }

    def project(self, params: Any, xs: Float[Array, "*A X"]) -> tuple[Float[Array, "*A 2 N"], Float[Array, "*A H"]]:
        """Returns what drives the modes, and the input's direct share of the output."""
        kernel = params["kernel"]
        drive = _product(xs, kernel.reshape(kernel.shape[0], -1))
        return drive.reshape(*xs.shape[:-1], 2, self.state_size), _product(xs, params["skip"])

    def advance(self, params: Any, state: State, projected: tuple) -> State:
        """Returns the next state."""
        (re, im), (a_re, a_im) = _parts(state.x), params["decay"]
        a_re, a_im = expand_to(a_re, re.ndim), expand_to(a_im, re.ndim)
        turned = jnp.stack([a_re * re - a_im * im, a_re * im + a_im * re], axis=-2)
        return self._state(params, turned + projected[0], projected)

    @property
    def is_affine(self) -> bool:
        """True."""
        return True

    def affine(self, prepared: Any, projected: tuple) -> Affine:
        """Returns the eigenvalues ``[N]`` and what drives the modes ``[*A, N]``, both complex."""
        drive, decay = jax.lax.complex(*_parts(projected[0])), jax.lax.complex(*_parts(prepared["decay"]))
        return Affine(expand_to(decay, drive.ndim - 1), drive)

    def linear_state(self, state: State) -> Complex[Array, "*A N"]:
        """Returns the modes as complex numbers."""
        return jax.lax.complex(*_parts(state.x))

    def from_linear_state(self, prepared: Any, linear: Complex[Array, "*A N"], projected: tuple) -> State:
        """Returns the state with these modes."""
        return self._state(prepared, jnp.stack([linear.real, linear.imag], axis=-2), projected)

    def _state(self, params: Any, x: Float[Array, "*A 2 N"], projected: tuple) -> State:
        readout = jnp.concatenate([params["readout"][0], -params["readout"][1]])
        h = _product(jax.lax.collapse(x, x.ndim - 2), readout) + projected[1]
        return state_type("h", "x")(h=h, x=x)


def _parts(array: Float[Array, "*A 2 N"]) -> tuple[jax.Array, jax.Array]:
    return array[..., 0, :], array[..., 1, :]


def _product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns a matrix product accumulated in float32 or better."""
    return jnp.matmul(x, kernel, preferred_element_type=jnp.result_type(jnp.float32, x.dtype, kernel.dtype))


def lru(
    hidden_size: int,
    *,
    state_size: int | None = None,
    r_min: float = 0.0,
    r_max: float = 0.99,
    max_phase: float = 2 * math.pi,
) -> LRU:
    """Returns the linear recurrent unit: complex modes that decay and turn, each by itself, and a real output.

        x_t = lambda x_{t-1} + gamma (u_t B),   lambda = exp(-exp(nu_log) + i exp(theta_log)),   gamma = exp(gamma_log)
        h_t = Re(x_t C) + u_t D

    with u_t the input, x complex ``[N]``, B ``[X, N]`` and C ``[N, H]`` complex. At initialisation ``|lambda|^2`` is
    uniform on ``[r_min^2, r_max^2]``, the phase on ``[0, max_phase]`` and ``gamma = sqrt(1 - |lambda|^2)``, so that
    white noise drives every mode to the same variance. Complex numbers are kept as real and imaginary parts, so that
    the state is a tree of real arrays: the output h, which the next step does not read, and x ``[*B, 2, N]``.

    Departure from the paper: D is a matrix ``[X, H]``, as X and H may differ; there it is a vector.

    Args:
        hidden_size: Outputs H.
        state_size: Modes N, by default H.
        r_min: Least ``|lambda|`` at initialisation.
        r_max: Largest ``|lambda|`` at initialisation, below 1.
        max_phase: Largest phase at initialisation, in radians.

    Raises:
        TypeError: A number that is none.
        ValueError: Not ``0 <= r_min < r_max < 1``, or a phase outside ``(0, 2 pi]``.

    Reference:
        Orvieto et al. (2023), https://arxiv.org/abs/2303.06349, sections 3.2 to 3.4 and appendix A.
    """
    hidden_size = check_positive("hidden_size", hidden_size)
    state_size = hidden_size if state_size is None else check_positive("state_size", state_size)
    r_min, r_max = check_number("r_min", r_min), check_number("r_max", r_max)
    max_phase = check_number("max_phase", max_phase)
    if not 0 <= r_min < r_max < 1:
        raise ValueError(f"r_min, r_max: expected 0 <= r_min < r_max < 1, got {r_min} and {r_max}")
    if not 0 < max_phase <= 2 * math.pi:
        raise ValueError(f"max_phase: expected radians in (0, 2 pi], got {max_phase}")
    return LRU(hidden_size, state_size, r_min, r_max, max_phase)
