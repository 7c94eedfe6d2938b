"""What a Lyapunov spectrum says about the attractor, and singular values about conditioning."""

import math

import jax
import jax.numpy as jnp

from recur._checks import as_array, check_floating
from recur._types import Array, Float

LN_2 = math.log(2.0)


def kaplan_yorke_dimension(spectrum: Float[Array, "K *B"]) -> Float[Array, "*B"]:
    """Measures how many dimensions the attractor fills.

        D = j + (lambda_1 + ... + lambda_j) / |lambda_{j+1}|,   j the largest with lambda_1 + ... + lambda_j >= 0

    0 where lambda_1 < 0, a point; K where no partial sum is negative, so that no volume shrinks: with only the top
    exponents given, D is then at least K, and more of them are needed. ``D = j`` where lambda_{j+1} = -inf.
    Differentiable, but for kinks where j changes.

    Args:
        spectrum: Exponents sorted downwards, as `lyapunov_spectrum` returns them; -inf is a direction mapped to zero.

    Returns:
        D, ``[*B]``; nan where the spectrum holds nan.

    Raises:
        TypeError: No floating array.
        ValueError: No exponent, or exponents that are not sorted downwards.

    Reference:
        Kaplan and Yorke (1979), "Chaotic behavior of multidimensional difference equations", Lecture Notes in
        Mathematics 730; for recurrent networks Engelken, Wolf and Abbott (2023), https://arxiv.org/abs/2006.02427.

    Example:
        >>> import jax.numpy as jnp, recur
        >>> float(recur.flow.kaplan_yorke_dimension(jnp.array([1.0, 0.0, -2.0, -jnp.inf])))
        2.5
    """
    spectrum = _sorted_downwards("spectrum", spectrum, 0)
    # The partial sums of a sorted spectrum rise, then fall: those that are not negative come first.
    inside = jnp.cumprod(jnp.cumsum(spectrum, axis=0) >= 0, axis=0).astype(bool)
    count = inside.sum(axis=0)
    total = jnp.where(inside, spectrum, 0.0).sum(axis=0)
    following = jnp.take_along_axis(spectrum, jnp.minimum(count, len(spectrum) - 1)[None], axis=0)[0]
    all_inside = count == len(spectrum)
    fraction = jnp.where(all_inside, 0.0, total / jnp.where(all_inside, 1.0, -following))
    dimension = count.astype(spectrum.dtype) + fraction
    return jnp.where(jnp.isnan(spectrum).any(axis=0), jnp.nan, dimension)


def entropy_rate(spectrum: Float[Array, "K *B"]) -> Float[Array, "*B"]:
    """Sums the positive exponents: the information that a chaotic network makes, in nats a step.

        h = sum of all lambda_i > 0

    An upper bound of the Kolmogorov-Sinai entropy (Ruelle), and equal to it for a measure that is smooth along the
    unstable directions (Pesin). With only the top exponents given, it is complete once the last is not positive.
    Arguments and errors as `kaplan_yorke_dimension`.

    Returns:
        Nats a step, ``[*B]``, 0 where nothing grows; nan where the spectrum holds nan.

    Reference:
        Eckmann and Ruelle (1985), https://doi.org/10.1103/RevModPhys.57.617, sec. IV.

    Example:
        >>> import jax.numpy as jnp, recur
        >>> float(recur.flow.entropy_rate(jnp.array([0.5, 0.25, -2.0])))
        0.75
    """
    spectrum = _sorted_downwards("spectrum", spectrum, 0)
    return jnp.where(spectrum < 0, 0.0, spectrum).sum(axis=0)


def prediction_horizon_steps(spectrum: Float[Array, "K *B"]) -> Float[Array, "*B"]:
    """Measures for how long a chaotic network can be predicted: the time in which a small error doubles.

        tau = ln 2 / lambda_1

    Arguments and errors as `kaplan_yorke_dimension`; only the first exponent is read.

    Returns:
        Steps, ``[*B]``; inf where lambda_1 <= 0, since errors then do not grow; nan where lambda_1 is nan.

    Reference:
        Mikhaeil, Monfared and Durstewitz (2022), https://arxiv.org/abs/2110.07238.

    Example:
        >>> import jax.numpy as jnp, recur
        >>> round(float(recur.flow.prediction_horizon_steps(jnp.array([0.1, -0.3]))), 2)
        6.93
    """
    top = _sorted_downwards("spectrum", spectrum, 0)[0]
    calm = top <= 0
    return jnp.where(calm, jnp.inf, LN_2 / jnp.where(calm, 1.0, top))


def log_condition_numbers(log_singular_values: Float[Array, "K n *B"]) -> Float[Array, "K *B"]:
    """Measures by lag how unequally the last state answers to the directions of an earlier one.

        ln kappa_2(P_k) = ln sigma_1 - ln sigma_n

    For long lags it grows as ``(lambda_1 - lambda_n) k``. Differentiable where it is finite.

    Args:
        log_singular_values: Natural logarithms sorted downwards along axis 1, as `jacobian_log_singular_values`
            returns them.

    Returns:
        Natural logarithms, at least 0, ``[K, *B]``; inf where a singular value is exactly zero.

    Raises:
        TypeError: No floating array.
        ValueError: Fewer than two axes, no singular value, or values that are not sorted downwards.

    Reference:
        Engelken (2023), https://arxiv.org/abs/2312.17306.

    Example:
        >>> import jax.numpy as jnp, recur
        >>> recur.flow.log_condition_numbers(jnp.array([[0.0, -1.5], [-3.0, -jnp.inf]])).tolist()
        [1.5, inf]
    """
    values = _sorted_downwards("log_singular_values", log_singular_values, 1)
    singular = jnp.isneginf(values[:, -1])
    return jnp.where(singular, jnp.inf, values[:, 0] - jnp.where(singular, 0.0, values[:, -1]))


def _sorted_downwards(name: str, values: jax.Array, axis: int) -> jax.Array:
    """Returns the array, or raises if it cannot be sorted values; under a transformation the order is not known."""
    values = as_array(name, values)
    check_floating(name, values, "give natural logarithms")
    if jnp.iscomplexobj(values):
        raise TypeError(f"{name}: expected real numbers, got dtype {values.dtype}; give natural logarithms")
    if values.ndim <= axis or values.shape[axis] == 0:
        raise ValueError(f"{name}: expected at least one value along axis {axis}, got shape {values.shape}")
    # Differences of two -inf are nan, which is not above 0: equal values are sorted.
    if not isinstance(values, jax.core.Tracer) and (jnp.diff(values, axis=axis) > 0).any():
        raise ValueError(f"{name}: expected values sorted downwards along axis {axis}, got some that rise; sort them")
    return values
