"""Convolutions as products of patches, against XLA's convolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur.nn import _convolution

AXES = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}


@pytest.mark.parametrize(
    ("size", "window", "strides", "padding"),
    [
        ((8, 8), (3, 3), (2, 2), "SAME"),
        ((7, 10), (3, 2), (2, 1), "SAME"),
        ((7, 10), (2, 4), (1, 3), "VALID"),
        ((3, 3), (3, 3), (2, 2), "VALID"),
        ((5, 6), (3, 3), (2, 2), [(0, 2), (3, 1)]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_and_gradients(x64, size, window, strides, padding, dtype):
    draw = np.random.default_rng(1)
    images, kernel = draw.normal(size=(4, *size, 3)).astype(dtype), draw.normal(size=(*window, 3, 5)).astype(dtype)

    def value_and_gradients(convolve):
        def loss(images, kernel):
            outputs = convolve(images, kernel, strides, padding, **AXES)
            return jnp.sum(jnp.sin(outputs)), outputs

        return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(images, kernel)

    found, wanted = map(value_and_gradients, (_convolution.convolve, jax.lax.conv_general_dilated))
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_several_kernels_in_a_loop():
    draw = np.random.default_rng(2)
    images, kernels = draw.normal(size=(6, 2, 8, 8, 1)), draw.normal(size=(3, 3, 3, 1, 4))
    images, kernels = images.astype(np.float32), kernels.astype(np.float32)

    def run(convolve):
        def one(kernel, images):
            return convolve(images, kernel, (2, 2), "SAME", **AXES)

        return jax.lax.map(lambda images: jax.vmap(one, (0, None))(kernels, images), images)

    found, wanted = map(run, (_convolution.convolve, jax.lax.conv_general_dilated))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
