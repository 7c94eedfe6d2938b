"""Singular values of a product of many matrices, each to full relative accuracy, whatever their range.

The product is kept as ``P = Q diag(2^d) V`` with Q orthogonal, V well conditioned and d whole numbers, so that no
magnitude is ever mixed with a much smaller one. Singular values of ``diag(2^d) V`` then come from one-sided Jacobi
rotations, which keep high relative accuracy for a well-conditioned matrix with scaled rows.

Reference:
    Stratified products: Loh et al. (1992), "Stable numerical simulations of models of interacting electrons in
    condensed-matter physics"; Jacobi: Demmel and Veselic (1992), https://doi.org/10.1137/0613074.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur._types import Array, Float, Int
from recur.flow._lognorm import LN_2, times_power

JACOBI_SWEEPS = 12
LEAST = -(2**30)


class Graded(NamedTuple):
    """A matrix ``left diag(2**exponent) right`` ``[n, n]``; `left` orthogonal, `right` well conditioned.

    The largest entry of each row of `right` lies in [1/2, 1), or the row is zero. Exponents are whole numbers, so
    that their sums over many factors are exact.
    """

    left: Float[Array, "n n"]
    exponent: Int[Array, "n"]
    right: Float[Array, "n n"]


def identity(n: int, dtype: jnp.dtype) -> Graded:
    """Returns the identity matrix."""
    return Graded(jnp.eye(n, dtype=dtype), jnp.ones(n, jnp.int32), 0.5 * jnp.eye(n, dtype=dtype))


def absorb(pushed: Float[Array, "n n"], graded: Graded) -> Graded:
    """Returns ``A P`` from ``pushed = A @ left``.

    Columns are taken in the order of their size, scale included, before the QR factorisation: with the largest first,
    the triangular factor stays well conditioned.
    """
    size = jnp.linalg.norm(pushed, axis=0) * jnp.linalg.norm(graded.right, axis=1)
    order = jnp.argsort(-(_log(size) + LN_2 * graded.exponent))
    exponent, right = graded.exponent[order], graded.right[order]
    left, r = jnp.linalg.qr(pushed[:, order])
    # What a QR factorisation rounds off of a column, n terms of it, is no number: a rank that is lost stays lost.
    floor = len(r) * jnp.finfo(r.dtype).eps * jnp.linalg.norm(r, axis=0)
    r = jnp.where(jnp.abs(r) <= floor[None, :], 0.0, r)
    # Row by row: R diag(2^exponent) = diag(2^top) N with the largest entry of each row of N in [1/2, 1).
    entries = jnp.where(r == 0, LEAST, jnp.frexp(r)[1] + exponent[None, :])
    top = entries.max(axis=1)
    scaled = times_power(r, exponent[None, :] - top[:, None]) @ right
    shift = jnp.frexp(jnp.abs(scaled).max(axis=1))[1]
    return Graded(left, top + shift, times_power(scaled, -shift[:, None]))


def log_singular_values(graded: Graded) -> Float[Array, "n"]:
    """Returns the natural logarithms of the singular values, sorted downwards; -inf for zero."""
    norms = jnp.linalg.norm(graded.right, axis=1)
    rows = graded.right / jnp.where(norms == 0, 1.0, norms)[:, None]
    logs = LN_2 * graded.exponent.astype(norms.dtype) + _log(norms)
    n = rows.shape[0]
    if n % 2:
        rows = jnp.concatenate([rows, jnp.zeros((1, rows.shape[1]), rows.dtype)])
        logs = jnp.concatenate([logs, jnp.full(1, -jnp.inf, logs.dtype)])
    first, second = _tournament(len(rows))

    def rotate(carry: tuple[jax.Array, jax.Array], pair: tuple[jax.Array, jax.Array]) -> tuple:
        return _rotate(*carry, *pair), None

    def sweep(carry: tuple[jax.Array, jax.Array], _: None) -> tuple:
        return jax.lax.scan(rotate, carry, (first, second))

    (_, logs), _ = jax.lax.scan(sweep, (rows, logs), None, length=JACOBI_SWEEPS)
    return -jnp.sort(-logs)[:n]


def _rotate(rows: jax.Array, logs: jax.Array, first: jax.Array, second: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Makes disjoint pairs of rows orthogonal; row i is ``e^logs[i]`` times the unit vector ``rows[i]``."""
    swap = logs[first] < logs[second]
    large, small = jnp.where(swap, second, first), jnp.where(swap, first, second)
    a, b, top = rows[large], rows[small], logs[large]
    ratio = jnp.exp(
        jnp.where(jnp.isneginf(logs[small]), -jnp.inf, logs[small] - jnp.where(jnp.isneginf(top), 0.0, top))
    )
    cosine = jnp.sum(a * b, axis=1)
    # Gram matrix of the pair over the larger norm: [[1, c r], [c r, r^2]]; the angle that makes it diagonal.
    angle = 0.5 * jnp.arctan2(2.0 * cosine * ratio, 1.0 - ratio**2)
    c, s = jnp.cos(angle), jnp.sin(angle)
    new_a = c[:, None] * a + (s * ratio)[:, None] * b
    # The smaller row is rotated in its own scale: sin(angle) / ratio stays finite as ratio goes to 0.
    over = jnp.where(ratio > 0, s / jnp.where(ratio > 0, ratio, 1.0), cosine)
    new_b = c[:, None] * b - over[:, None] * a
    norm_a, norm_b = jnp.linalg.norm(new_a, axis=1), jnp.linalg.norm(new_b, axis=1)
    rows = rows.at[large].set(new_a / jnp.where(norm_a == 0, 1.0, norm_a)[:, None])
    rows = rows.at[small].set(new_b / jnp.where(norm_b == 0, 1.0, norm_b)[:, None])
    return rows, logs.at[large].add(_log(norm_a)).at[small].add(_log(norm_b))


def _tournament(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns n - 1 rounds in which every one of n (even) meets every other: two index arrays ``[n - 1, n / 2]``."""
    players = list(range(n))
    rounds = []
    for _ in range(n - 1):
        rounds.append((players[: n // 2], players[n // 2 :][::-1]))
        players = [players[0], players[-1], *players[1:-1]]
    first, second = np.array(rounds).transpose(1, 0, 2)
    return first, second


def _log(x: jax.Array) -> jax.Array:
    """Logarithm with log(0) = -inf, said without a warning or a nan on the way."""
    return jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1.0)), -jnp.inf)
