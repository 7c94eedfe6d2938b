"""Initialisers of kernels and biases, as values: equal when their settings are, so that cells compare by value."""

import dataclasses
import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from recur._checks import check_number
from recur._types import Array, Float, Initializer, Key

PerGate = tuple[Initializer, ...]


@dataclasses.dataclass(frozen=True)
class Constant:
    """Every entry equal to `value`."""

    value: float = 0.0

    def __post_init__(self) -> None:
        """Checks the number."""
        check_number("value", self.value)

    def __call__(self, key: Key[Array, ""], shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        """Fills an array; the key is not used."""
        del key
        return jnp.full(shape, self.value, dtype)


@dataclasses.dataclass(frozen=True)
class GlorotUniform:
    """Uniform on ``±sqrt(6 / (fan_in + fan_out))`` (Glorot and Bengio 2010, eq. 16), gate by gate."""

    def __call__(self, key: Key[Array, ""], shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        """Draws a kernel ``[fan_in, fan_out]``."""
        _check_matrix("GlorotUniform", shape)
        return jax.nn.initializers.glorot_uniform()(key, shape, dtype)


@dataclasses.dataclass(frozen=True)
class LecunNormal:
    """Truncated normal of variance ``1 / fan_in`` (LeCun et al. 1998, section 4.6), gate by gate."""

    def __call__(self, key: Key[Array, ""], shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        """Draws a kernel ``[fan_in, fan_out]``."""
        _check_matrix("LecunNormal", shape)
        return jax.nn.initializers.lecun_normal()(key, shape, dtype)


@dataclasses.dataclass(frozen=True)
class Orthogonal:
    """``gain`` times a uniformly drawn orthogonal matrix (Saxe et al. 2014, https://arxiv.org/abs/1312.6120).

    Each gate gets a matrix of its own: one orthogonal matrix cut into gates would leave every gate with
    singular values below 1.
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        """Checks the number."""
        check_number("gain", self.gain)

    def __call__(self, key: Key[Array, ""], shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        """Draws a recurrent kernel ``[H, H]``; half precision is rounded from float32, as QR needs it."""
        _check_matrix("Orthogonal", shape)

        # Under vmap one matrix after the other: in jaxlib 0.10 several batched QR factorisations in one program may
        # wait for each other for ever on a CPU of two cores.
        @jax.custom_batching.sequential_vmap
        def draw(key: Key[Array, ""]) -> jax.Array:
            return jax.nn.initializers.orthogonal(self.gain)(key, shape, _at_least_float32(dtype))

        return draw(key).astype(dtype)


@dataclasses.dataclass(frozen=True)
class Identity:
    """``gain`` times the identity (Le, Jaitly and Hinton 2015, https://arxiv.org/abs/1504.00941, section 2)."""

    gain: float = 1.0

    def __post_init__(self) -> None:
        """Checks the number."""
        check_number("gain", self.gain)

    def __call__(self, key: Key[Array, ""], shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        """Returns ``gain * I``, of a diagonal kernel ``[H]`` its diagonal; the key is not used."""
        del key
        return self.gain * (jnp.ones(shape, dtype) if len(shape) == 1 else jnp.eye(*shape, dtype=dtype))


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """Independent ``N(0, gain**2 / H)`` entries, H the fan-in (Sompolinsky, Crisanti and Sommers 1988).

    For ``h = tanh(h U)`` the network turns chaotic at ``gain = 1`` as H grows.
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        """Checks the number."""
        check_number("gain", self.gain)

    def __call__(self, key: Key[Array, ""], shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        """Draws a recurrent kernel ``[H, H]``, or weights ``[H]``."""
        return self.gain / math.sqrt(shape[0]) * jax.random.normal(key, shape, dtype)


@dataclasses.dataclass(frozen=True)
class Uniform:
    """Uniform on ``[low, high)``; of any shape, such as the ``[H]`` of a diagonal recurrent kernel."""

    low: float
    high: float

    def __post_init__(self) -> None:
        """Checks the numbers."""
        check_number("low", self.low)
        check_number("high", self.high)

    def __call__(self, key: Key[Array, ""], shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        """Draws an array."""
        return jax.random.uniform(key, shape, dtype, self.low, self.high)


@dataclasses.dataclass(frozen=True)
class Chrono:
    """Biases that spread the forgetting times of the units over ``[2, max_steps]``.

        b_keep = ln u,   b_write = -b_keep,   u ~ U[1, max_steps - 1] unit by unit

    so that a keep gate of ``sigmoid(b_keep) = u / (1 + u)`` forgets with time constant ``1 + u`` steps. All other
    biases are 0. Works for cells that declare which gate keeps the state (lstm, gru).

    Args:
        max_steps: Longest dependency expected, T_max > 2.

    Reference:
        Tallec and Ollivier (2018), "Can recurrent neural networks warp time?", https://arxiv.org/abs/1804.11188,
        eq. 16.
    """

    max_steps: float

    def __post_init__(self) -> None:
        """Checks the range of u."""
        if not 2 < check_number("max_steps", self.max_steps) < math.inf:
            raise ValueError(f"max_steps: expected a finite number > 2, got {self.max_steps}")

    def biases(
        self,
        key: Key[Array, ""],
        gates: tuple[str, ...],
        keep: str,
        write: str | None,
        hidden_size: int,
        dtype: Any = jnp.float32,
    ) -> Float[Array, "G H"]:
        """Draws the biases of all gates; `keep` and `write` name the two gates that get one."""
        b_keep = jnp.log(jax.random.uniform(key, (hidden_size,), _at_least_float32(dtype), 1.0, self.max_steps - 1.0))
        zeros = jnp.zeros_like(b_keep)
        return jnp.stack([b_keep if g == keep else -b_keep if g == write else zeros for g in gates]).astype(dtype)


def _check_matrix(name: str, shape: tuple[int, ...]) -> None:
    if len(shape) != 2:
        raise ValueError(
            f"initialiser: expected one for shape {shape}, got {name}, which draws matrices; a diagonal recurrent "
            f"kernel takes Uniform, Constant or Identity"
        )


def _at_least_float32(dtype: Any) -> Any:
    return jnp.promote_types(dtype, jnp.float32)


INITIALIZERS: dict[str, Callable[[], Initializer]] = {
    "glorot_uniform": GlorotUniform,
    "lecun_normal": LecunNormal,
    "orthogonal": Orthogonal,
    "identity": Identity,
    "gaussian": Gaussian,
    "zeros": Constant,
}
"""Initialisers by name, for flags."""

InitSpec = str | float | Initializer | Mapping[str, Any]
"""A name of `INITIALIZERS`, a number, an initialiser, or a mapping from gate name to one of these."""


def per_gate(argument: str, spec: InitSpec, gates: tuple[str, ...], default: Initializer) -> PerGate:
    """Returns one initialiser for each gate; a mapping may leave gates out, which then get `default`.

    Raises:
        ValueError: Unknown initialiser or gate name.
        TypeError: Neither name, number, callable nor mapping.
    """
    if isinstance(spec, Mapping):
        unknown = sorted(set(spec) - set(gates), key=str)
        if unknown:
            raise ValueError(f"{argument}: expected gates among {list(gates)}, got {unknown}")
        return tuple(_initializer(argument, spec[g]) if g in spec else default for g in gates)
    return (_initializer(argument, spec),) * len(gates)


def _initializer(argument: str, spec: Any) -> Initializer:
    if isinstance(spec, str):
        if spec not in INITIALIZERS:
            raise ValueError(f"{argument}: expected one of {sorted(INITIALIZERS)}, got {spec!r}")
        return INITIALIZERS[spec]()
    if isinstance(spec, Chrono):
        raise ValueError(
            f"{argument}: expected an initialiser of one array; Chrono sets all gates: bias_init=Chrono(...)"
        )
    if isinstance(spec, numbers.Real) and not isinstance(spec, bool):
        return Constant(float(spec))
    if not callable(spec):
        raise TypeError(
            f"{argument}: expected a name of {sorted(INITIALIZERS)}, a number, an initialiser (key, shape, dtype) -> "
            f"array, or a mapping from gate to one of these, got {spec!r}"
        )
    return spec


def draw_gates(
    key: Key[Array, ""], initializers: PerGate, shape: tuple[int, ...], dtype: Any
) -> Float[Array, "*F G H"]:
    """Draws one array ``[*F, H]`` a gate, each from a key of its own, and stacks them to ``[*F, G, H]``."""
    keys = jax.random.split(key, len(initializers))
    return jnp.stack([init(k, shape, dtype) for init, k in zip(initializers, keys, strict=True)], axis=-2)
