"""Convolutions that are fast inside a loop on a CPU."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from recur._types import Array, Float


def convolve(
    images: Float[Array, "N H W C"],
    kernel: Float[Array, "K L C O"],
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    **options: Any,
) -> Float[Array, "N P Q O"]:
    """Convolves images, as `jax.lax.conv_general_dilated` does, whose arguments these are.

    On a CPU as one product of patches and kernel, unless there are dilations or groups: XLA runs a convolution on one
    core and without its fast path where it stands in a loop, such as the one over training steps, many times slower
    than the product.
    """
    dilations = [size for name in ("lhs_dilation", "rhs_dilation") for size in options.get(name) or ()]
    plain = all(size == 1 for size in dilations) and options.get("feature_group_count", 1) == 1

    def as_product(images: jax.Array, kernel: jax.Array) -> jax.Array:
        return _product_of_patches(images, kernel, strides, padding)

    def as_convolution(images: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(images, kernel, strides, padding, **options)

    if not plain or options.get("preferred_element_type") is not None:
        return as_convolution(images, kernel)
    return jax.lax.platform_dependent(images, kernel, cpu=as_product, default=as_convolution)


def _product_of_patches(
    images: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: str | Sequence[tuple[int, int]]
) -> jax.Array:
    rows, columns, _, out = kernel.shape
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(images.shape[1:3], (rows, columns), strides, padding)
    images = jnp.pad(images, ((0, 0), *padding, (0, 0)))
    down, across = (
        (size - window) // stride + 1
        for size, window, stride in zip(images.shape[1:3], (rows, columns), strides, strict=True)
    )
    high, wide = strides[0] * (down - 1) + 1, strides[1] * (across - 1) + 1
    shifted = [
        images[:, row : row + high : strides[0], column : column + wide : strides[1]]
        for row in range(rows)
        for column in range(columns)
    ]
    patches = jnp.concatenate(shifted, axis=-1)
    return (patches.reshape(-1, patches.shape[-1]) @ kernel.reshape(-1, out)).reshape(-1, down, across, out)
