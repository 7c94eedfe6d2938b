"""Closed forms of the antisymmetric network at rest (O14), at several step sizes and diffusions."""

import jax.numpy as jnp
import numpy as np
import pytest

from recur import cells, flow

N = 6


def at_rest(cell, seed=0):
    """Parameters, and the sizes of the eigenvalues 1 - e g +- i e w of the Jacobian at zero, sorted downwards."""
    free = 1.5 * np.random.default_rng(seed).normal(size=(cell.hidden_size,) * 2) / np.sqrt(cell.hidden_size)
    zeros = {"kernel": np.zeros((1, 1, cell.hidden_size)), "bias": np.zeros((1, cell.hidden_size))}
    params = {**zeros, "recurrent_kernel": free[:, None]}
    w = np.linalg.eigvalsh(-1j * (free - free.T))
    eps, gamma = cell.step_size, cell.diffusion
    return params, np.sort(np.sqrt((1 - eps * gamma) ** 2 + eps**2 * w**2))[::-1]


@pytest.mark.parametrize(("step_size", "diffusion"), [(0.01, 0.05), (0.01, 0.0), (0.5, 0.3)])
def test_singular_values_are_powers_of_the_eigenvalues(step_size, diffusion, x64):
    """O14: the Jacobian at rest is normal, so ln sigma_i of k steps is k ln sqrt((1 - e g)^2 + e^2 w_i^2)."""
    cell = cells.antisymmetric(N, step_size=step_size, diffusion=diffusion)
    params, sizes = at_rest(cell)
    logs = flow.jacobian_log_singular_values(cell, params, jnp.zeros((300, 1)), [1, 300])
    np.testing.assert_allclose(logs, np.outer([1, 300], np.log(sizes)), rtol=1e-10, atol=1e-12)
    if diffusion == 0:
        assert (logs > 0).all(), "without diffusion Euler's step explodes in every direction that turns"


@pytest.mark.parametrize(("step_size", "diffusion"), [(0.5, 0.0), (1.0, 2.0)])
def test_exponents(step_size, diffusion, x64):
    """Each pair of directions twice; with steps as long as these they part within the warm-up."""
    cell = cells.antisymmetric(N, step_size=step_size, diffusion=diffusion)
    params, sizes = at_rest(cell)
    spectrum = flow.lyapunov_spectrum(cell, params, jnp.zeros((1500, 1)), warmup=1200)
    np.testing.assert_allclose(spectrum, np.log(sizes), atol=1e-9)


@pytest.mark.parametrize(("w", "gated"), [(0.5, False), (2.0, True)])
def test_diffusion_that_makes_up_for_the_step(w, gated):
    """Two units that turn by w: gamma = (1 - sqrt(1 - e^2 w^2)) / e keeps the gradient; a gate of 1/2 halves e."""
    eps = 0.2
    effective = eps / 2 if gated else eps
    gamma = (1 - np.sqrt(1 - effective**2 * w**2)) / effective
    cell = cells.antisymmetric(2, step_size=eps, diffusion=gamma, gated=gated)
    gates = 2 if gated else 1
    free = jnp.array([[0.0, w], [0.0, 0.0]])[:, None]
    params = {"kernel": jnp.zeros((1, gates, 2)), "recurrent_kernel": free, "bias": jnp.zeros((gates, 2))}
    log_norms = flow.adjoint_log_norms(cell, params, jnp.zeros((500, 1)))
    # Rounding of the two entries of the Jacobian, and of a few sums a step.
    np.testing.assert_allclose(log_norms, 0.0, atol=4 * 6e-8 * 501)
