"""Signal-to-noise ratios of gradients by lag against gradients listed one by one, and against known noise."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _oracles import one_of_each_kind

from recur import cells, flow
from recur.cells import CELLS, Cell

H, X, T, B = 3, 2, 9, 5
NAMES = sorted(set(CELLS) - {"elman_identity"})  # the linear one is what all other tests stand on


def scalar(w, inputs=1):
    """h_t = w h_{t-1} + sum of inputs: at lag k the gradient of the kernel is w^k x_{T-k}."""
    cell = cells.elman(1, activation="identity")
    kernel = jnp.ones((inputs, 1, 1))
    return cell, {"kernel": kernel, "recurrent_kernel": jnp.full((1, 1, 1), w), "bias": jnp.zeros((1, 1))}


def ratio(gradients):
    """The definition in numpy for ``[B, P]``, one lag."""
    gradients = np.asarray(gradients, np.float64)
    noise = gradients.var(axis=0, ddof=1).sum()
    return (np.square(gradients.mean(axis=0)).sum() - noise / len(gradients)) / noise


def by_lag(xs):
    """Ratios of the gradients ``w^k x_{T-k}``, in which w^k cancels."""
    return np.array([ratio(x) for x in np.asarray(xs)[::-1]])


@pytest.mark.parametrize("name", one_of_each_kind(NAMES, but=("lru", "gru_reset_before")))
def test_equals_gradients_listed_one_by_one(name, x64):
    """With parameters of their own at every step, autodiff gives g_k(b) itself; every lag, tensor and their union."""
    cell = CELLS[name](H)
    keys = jax.random.split(jax.random.key(0), 3)
    params = cell.init(keys[0], X, jnp.float64)
    params = {k: leaf + 0.1 * i for i, (k, leaf) in enumerate(params.items())}
    xs = 0.4 + jax.random.normal(keys[1], (T, B, X), jnp.float64)
    cotangent = 1.0 + jax.random.normal(keys[2], (B, H), jnp.float64)
    found = flow.gradient_snr(cell, params, xs, cotangent=cotangent)

    def unshared(per_step, xs, cotangent):
        state = cell.initial_state((), jnp.float64)
        final, _ = jax.lax.scan(lambda s, step: (cell.step(step[0], s, step[1])[0], None), state, (per_step, xs))
        return cell.output(final) @ cotangent

    per_step = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (T, *leaf.shape)), params)
    gradients = jax.jit(jax.vmap(jax.grad(unshared), in_axes=(None, 1, 0)))(per_step, xs, cotangent)
    flat = {k: np.asarray(leaf).reshape(B, T, -1)[:, ::-1] for k, leaf in gradients.items()}
    assert set(found.snr) == set(params)
    positive = 0
    for lag in range(T):
        together = np.concatenate([leaf[:, lag] for leaf in flat.values()], axis=1)
        pairs = [(found.snr[k][lag], found.samples_needed[k][lag], leaf[:, lag]) for k, leaf in flat.items()]
        for snr, samples, gradient in [*pairs, (found.snr_all[lag], found.samples_needed_all[lag], together)]:
            exact = ratio(gradient) if gradient.any() else 0.0  # h_0 = 0: none for the recurrence at the last lag
            assert float(snr) == pytest.approx(exact, rel=1e-9, abs=1e-12)
            # A gradient of one sequence alone has ratio 0, to within rounding of either sign.
            if abs(exact) > 1e-12:
                assert float(samples) == (pytest.approx(1 / exact, rel=1e-9) if exact > 0 else np.inf)
            positive += exact > 0
    assert 0 < positive < T * (len(flat) + 1)  # ratios of both signs were met


@pytest.mark.parametrize(("w", "steps"), [(0.5, 20_000), (0.9, 20_000), (1.1, 850)])
def test_no_lag_underflows_or_overflows(w, steps):
    """In float32, far beyond the range of w^k, let alone of its square."""
    xs = jax.random.normal(jax.random.key(0), (steps, 4, 3)) + 0.7
    found = flow.gradient_snr(*scalar(w, inputs=3), xs)
    np.testing.assert_allclose(found.snr["kernel"], by_lag(xs), rtol=1e-4, atol=1e-5)
    assert np.isfinite(found.snr_all).all()


def elman_batch(*batch_shape):
    cell = cells.elman(H)
    params = cell.init(jax.random.key(0), X)
    xs = jax.random.normal(jax.random.key(1), (T, *batch_shape, X))
    return cell, params, xs, jax.random.normal(jax.random.key(2), (*batch_shape, H))


def test_the_scale_of_the_loss_does_not_matter():
    """Powers of two change nothing but the exponent, though squares of such gradients are beyond float32."""
    cell, params, xs, cotangent = elman_batch(6)
    one, large, small = (flow.gradient_snr(cell, params, xs, cotangent=cotangent * 2.0**e) for e in (0, 100, -90))
    for a, b, c in zip(*(jax.tree.leaves(found) for found in (one, large, small)), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
        assert not np.isnan(a).any()


def test_pure_noise_has_ratio_zero_on_average():
    """For P independent normal numbers B SNR + 1 is distributed as F(P, P (B - 1)), of mean 1 + 2 / (P (B-1) - 2).
    A numerator without its correction would lie at 1 / B."""
    steps, samples, size = 20_000, 4, 3
    xs = jax.random.normal(jax.random.key(0), (steps, samples, size))
    snr = np.asarray(flow.gradient_snr(*scalar(0.9, size), xs).snr["kernel"], np.float64)
    free = size * (samples - 1)
    mean = 2 / (free - 2) / samples
    variance = 2 * free**2 * (size + free - 2) / (size * (free - 2) ** 2 * (free - 4)) / samples**2
    assert snr.mean() == pytest.approx(mean, abs=4 * np.sqrt(variance / steps))
    assert mean + 4 * np.sqrt(variance / steps) < 0.4 / samples
    assert 0.4 < (snr < 0).mean() < 0.7


@pytest.mark.parametrize(("mean", "deviation"), [([1.0, -2.0], [1.0, 0.5]), ([0.2, 0.0], [1.0, 3.0])])
def test_known_mean_and_covariance(mean, deviation):
    """||mu||^2 / tr Sigma at every lag for inputs of that law, and for the state, of which the recurrent kernel sees
    mean m (1 - w^t) / (1 - w) and variance v (1 - w^2t) / (1 - w^2)."""
    w, steps, samples = 0.8, 40, 4000
    mean, deviation = np.array(mean), np.array(deviation)
    xs = mean + deviation * np.random.default_rng(0).normal(size=(steps, samples, 2))
    xs = jnp.asarray(xs, jnp.float32)
    found = flow.gradient_snr(*scalar(w, 2), xs)
    exact = (mean @ mean) / (deviation @ deviation)
    # var(||m||^2) = 4 mu^T Sigma mu / B to first order: the band of one lag, and of their mean.
    band = 5 * np.sqrt(4 * (mean**2 @ deviation**2) / samples + 2 * (deviation**4).sum() / samples**2)
    band /= deviation @ deviation
    band += 5 * exact * np.sqrt(2 / samples)  # of the variance below the line
    np.testing.assert_allclose(found.snr["kernel"], exact, atol=band)
    assert float(found.snr["kernel"].mean()) == pytest.approx(exact, abs=band / np.sqrt(steps))
    times = np.arange(steps - 1, 0, -1)
    m = mean.sum() * (1 - w**times) / (1 - w)
    v = (deviation @ deviation) * (1 - w ** (2 * times)) / (1 - w**2)
    one = m**2 / v
    np.testing.assert_allclose(
        found.snr["recurrent_kernel"][:-1], one, atol=5 * (2 * np.sqrt(one.max() / samples) + one.max() * 0.03)
    )
    assert found.snr["recurrent_kernel"][-1] == 0  # the first step meets h_0 = 0
    assert found.samples_needed["recurrent_kernel"][-1] == np.inf
    assert (found.snr["bias"] > 1e6).all()  # the same for all sequences
    assert (found.samples_needed["bias"] < 1e-6).all()


def test_all_batch_axes_are_samples():
    cell, params, xs, cotangent = elman_batch(2, 3)
    state = cell.initial_state()._replace(h=jnp.full((2, 3, H), 0.1))
    found = flow.gradient_snr(cell, params, xs, state, cotangent=cotangent)
    flat = flow.gradient_snr(
        cell, params, xs.reshape(T, 6, X), state._replace(h=state.h.reshape(6, H)), cotangent=cotangent.reshape(6, H)
    )
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(flat), strict=True):
        assert a.shape == (T,)
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_half_precision_is_measured_in_float32():
    cell, params = scalar(0.5, inputs=2)
    xs = jax.random.normal(jax.random.key(1), (200, 64, 2), jnp.bfloat16) + 0.5
    found = flow.gradient_snr(cell, jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params), xs)
    assert found.snr["kernel"].dtype == jnp.float32
    # Powers of 0.5 and inputs are exact in bfloat16: nothing but float32 sums is left.
    np.testing.assert_allclose(found.snr["kernel"], by_lag(xs.astype(jnp.float32)), rtol=1e-4, atol=1e-5)


def test_memory_does_not_hold_a_gradient_a_lag():
    cell = cells.elman(64)
    params = cell.init(jax.random.key(0), 4)

    def temporary_bytes(steps):
        run = jax.jit(lambda params, xs: flow.gradient_snr(cell, params, xs))
        return run.lower(params, jnp.zeros((steps, 2, 4))).compile().memory_analysis().temp_size_in_bytes

    # Floats a step: two sequences of states, some of them copied. The recurrent kernel alone would be 4096.
    assert (temporary_bytes(2000) - temporary_bytes(500)) / 1500 / 4 < 1000


def test_states_that_overflow_are_not_hidden():
    cell, params = scalar(4.0)
    with pytest.raises(ValueError, match="states: expected finite numbers"):
        flow.gradient_snr(cell, params, jnp.ones((100, 2, 1)))
    under_jit = jax.jit(lambda xs: flow.gradient_snr(cell, params, xs))(jnp.ones((100, 2, 1)))
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(under_jit))


@pytest.mark.parametrize(
    ("shape", "options", "error", "words"),
    [
        ((T, X), {}, ValueError, "xs: expected at least 2 sequences in the batch axes"),
        ((T, 1, X), {}, ValueError, "xs: expected at least 2 sequences"),
        ((T, 2, X), {"cotangent": jnp.ones(H)}, ValueError, r"cotangent: expected shape \(2, 3\), got \(3,\)"),
        ((T, 2, X), {"cotangent": jnp.zeros((2, H))}, ValueError, "cotangent: expected a direction other than zero"),
        ((T, 2, X), {"cotangent": jnp.ones((2, H), jnp.int32)}, TypeError, "cotangent: expected a floating dtype"),
    ],
)
def test_bad_arguments_are_named(shape, options, error, words):
    cell = cells.elman(H)
    with pytest.raises(error, match=words):
        flow.gradient_snr(cell, cell.init(jax.random.key(0), X), jnp.zeros(shape), **options)


@dataclasses.dataclass(frozen=True)
class Leaky(Cell):
    """A cell without parameters."""

    def init(self, key, input_size, dtype=jnp.float32):
        return {}

    def initial_state(self, batch_shape=(), dtype=jnp.float32):
        return cells.state_type("h")(h=jnp.zeros((*batch_shape, 1), dtype))

    def step(self, params, state, x):
        h = 0.9 * state.h + x
        return state._replace(h=h), h


def test_a_cell_without_parameters_is_refused():
    with pytest.raises(ValueError, match=r"params: expected at least one array, got none; Leaky\(\) has nothing"):
        flow.gradient_snr(Leaky(), {}, jnp.ones((T, 2, 1)))
