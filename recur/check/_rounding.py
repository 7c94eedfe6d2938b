"""How far measured logarithms may be from exact ones: roundings counted, and numbers as the device has them.

A tolerance is a count of roundings, half an ulp each, of the operations between the numbers given and the number
returned; a logarithm turns a relative error into an absolute one and adds its own, in proportion to itself. Where a
closed form holds for any parameters, those are put in that the dtype has.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

FUNCTION = 8
"""Roundings of a sigmoid or tanh, of up to 4 ulp."""


def qr_step(n: int) -> int:
    """A product with an n x n Jacobian and its QR factors: n terms in n reflections, and 8 to make a reflection."""
    return n * n + 8


def eps() -> float:
    return float(jnp.finfo(jnp.result_type(float)).eps)


def tolerance(roundings: Any, logs: Any) -> np.ndarray:
    """Absolute error of logarithms after so many roundings, and 8 for a norm and the logarithm's argument."""
    return (np.asarray(roundings) + 8) * eps() / 2 + 2 * eps() * np.abs(logs)


def held(numbers: Any) -> np.ndarray:
    """The numbers as the default dtype has them, in float64."""
    return np.asarray(jnp.asarray(numbers, float), np.float64)


def still(steps: int, size: int) -> jax.Array:
    return jnp.zeros((steps, size), float)


def orthogonal(n: int, seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]


def held_eigenvalues(seed: int, values: Sequence[float]) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns a matrix that is not normal, its eigenvalues, near to `values`, and its eigenbasis' condition."""
    n = len(values)
    basis = np.eye(n) + 0.2 * np.random.default_rng(seed).uniform(-1, 1, (n, n))
    matrix = held(basis @ np.diag(values) @ np.linalg.inv(basis))
    return matrix, np.linalg.eigvals(matrix), np.linalg.cond(basis)
