"""A loss that carries its state from window to window, against one long unroll whose gradient ends at window starts."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from recur import train

STREAMS, WINDOWS, STEPS = 3, 3, 3


def unroll(params, h, x):
    """Squared errors ``[B, T]`` of predicting the input after the next, and the state after the last."""
    errors = []
    for t in range(x.shape[1] - 1):
        h = jnp.tanh(x[:, t, None] * params["w"][None] + h @ params["u"])
        errors.append((h.sum(axis=1) - x[:, t + 1]) ** 2)
    return jnp.stack(errors, axis=1), h


def loss(params, batch, key, carry):
    errors, carry = unroll(params, carry, batch)
    return errors.mean(), {}, carry


def windows(stream):
    """Windows ``[WINDOWS * B, T + 1]``, window by window, each with the input that follows it."""
    each = [stream[:, STEPS * n : STEPS * (n + 1) + 1] for n in range(WINDOWS)]
    return jnp.concatenate(each)


# Adds gradients up, and leaves the parameters as they are.
SUM = optax.chain(optax.trace(decay=1.0), optax.scale(0.0))


@pytest.fixture(scope="module")
def setup():
    keys = jax.random.split(jax.random.key(0), 5)
    params = {"w": jax.random.normal(keys[0], (2,)), "u": jax.random.normal(keys[1], (2, 2))}
    stream, validation = (jax.random.normal(key, (STREAMS, WINDOWS * STEPS + 1)) for key in keys[2:4])
    state = train.init_state(params, SUM, keys[4], carry=jnp.full((STREAMS, 2), 0.5))
    return state, stream, validation


def fit(setup, steps, **options):
    state, stream, validation = setup
    data = {"data": windows(stream), "validation": windows(validation), "shuffle": False, "batch_size": STREAMS}
    return train.fit(state, loss, SUM, **data, steps=steps, clip_norm=None, **options)


def test_gradients_end_where_a_window_begins(setup):
    state, stream, validation = setup

    def long_unroll(params, stream, h):
        total = 0.0
        for n in range(WINDOWS):
            errors, h = unroll(params, jax.lax.stop_gradient(h), stream[:, STEPS * n : STEPS * (n + 1) + 1])
            total += errors.mean()
        return total, h

    fitted = fit(setup, WINDOWS)
    (total, h), wanted = jax.jit(jax.value_and_grad(long_unroll, has_aux=True))(state.params, stream, state.carry)
    for name, gradient in wanted.items():
        np.testing.assert_allclose(fitted.state.opt_state[0].trace[name], gradient, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(fitted.state.carry, h, rtol=1e-5)
    (record,) = fitted.history
    np.testing.assert_allclose(record.metrics["train_loss"], total / WINDOWS, rtol=1e-6)
    # Evaluation reads from the start of the stream, with a state of zeros.
    errors, _ = unroll(state.params, jnp.zeros((STREAMS, 2)), validation)
    np.testing.assert_allclose(record.metrics["val_loss"], errors.mean(), rtol=1e-6)


def test_the_carry_is_saved(setup, tmp_path):
    whole = fit(setup, WINDOWS)
    with train.Checkpoints(tmp_path) as checkpoints:
        fit(setup, WINDOWS - 1, hooks=train.Hooks(checkpoints=checkpoints))
        continued = fit(setup, WINDOWS, hooks=train.Hooks(checkpoints=checkpoints))
    np.testing.assert_array_equal(continued.state.carry, whole.state.carry)
    np.testing.assert_array_equal(continued.state.opt_state[0].trace["u"], whole.state.opt_state[0].trace["u"])


def test_a_carry_that_cannot_go_on_is_refused(setup):
    state, stream, validation = setup
    with pytest.raises(ValueError, match="shuffle: expected False for a state with a carry"):
        train.fit(state, loss, SUM, windows(stream), epochs=1, batch_size=STREAMS)
    with pytest.raises(ValueError, match="data: expected a multiple of batch_size, 3, for a loss with a carry, got 8"):
        train.evaluate(loss, state.params, windows(validation)[1:], batch_size=STREAMS, carry=state.carry)
    with pytest.raises(ValueError, match=r"loss: carry: expected shape \(3, 2\), got \(2,\); return it as it came in"):
        train.make_step(lambda p, b, k, c: (p["w"].sum(), {}, c[0]), SUM)(state, stream)
