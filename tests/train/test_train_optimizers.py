"""Optimisers and schedules by name, against optax and closed forms."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from recur import train


@pytest.mark.parametrize(
    ("name", "options", "wanted"),
    [
        ("adam", {}, optax.adam(0.1)),
        ("adamw", {"weight_decay": 0.3}, optax.adamw(0.1, weight_decay=0.3)),
        ("rmsprop", {}, optax.rmsprop(0.1)),
        ("sgd", {"momentum": 0.5}, optax.sgd(0.1, momentum=0.5)),
    ],
)
def test_optimizers_are_those_of_optax(name, options, wanted):
    params = one = other = jnp.array([1.0, -2.0])
    got = train.make_optimizer(name, 0.1, **options)
    assert got is train.make_optimizer(name, 0.1, **options)
    states = [got.init(params), wanted.init(params)]
    for _ in range(2):
        update, states[0] = got.update(one, states[0], one)
        one = optax.apply_updates(one, update)
        update, states[1] = wanted.update(other, states[1], other)
        other = optax.apply_updates(other, update)
    np.testing.assert_array_equal(one, other)
    assert not np.allclose(one, params)


@pytest.mark.parametrize("name", ["constant", "cosine", "exponential"])
@pytest.mark.parametrize("warmup", [0, 1, 4])
def test_schedules_are_the_closed_forms(name, warmup):
    rate, steps, final = 0.5, 20, 0.1
    got = train.make_schedule(name, rate, steps=steps, warmup_steps=warmup, decay_to=final)
    if name == "constant" and not warmup:
        assert got == rate
        return
    for n in (0, 1, 3, 4, 5, 12, 20, 30):
        u = min((n - warmup) / (steps - warmup), 1)
        after = {"constant": 1, "cosine": final + (1 - final) * (1 + np.cos(np.pi * u)) / 2, "exponential": final**u}
        wanted = rate * ((n + 1) / warmup if n < warmup else after[name])
        np.testing.assert_allclose(got(n), wanted, rtol=1e-6, err_msg=f"step {n}")


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="optimizer: expected one of adam, adamw, rmsprop, sgd, got 'adman'"):
        train.make_optimizer("adman", 0.1)
    with pytest.raises(ValueError, match="learning_rate: expected a positive number, got 0"):
        train.make_optimizer("adam", 0)
    with pytest.raises(ValueError, match=r"momentum: expected a number below 1 with sgd, .* got 0.9 with adam"):
        train.make_optimizer("adam", 0.1, momentum=0.9)
    with pytest.raises(ValueError, match=r"weight_decay: expected a number >= 0 with adamw, .* got 0.1 with sgd"):
        train.make_optimizer("sgd", 0.1, weight_decay=0.1)
    with pytest.raises(ValueError, match="schedule: expected one of constant, cosine, exponential, got 'linear'"):
        train.make_schedule("linear", 0.1, steps=10)
    with pytest.raises(
        ValueError, match="warmup_steps: expected 0 or more, fewer than the 10 steps of the run, got 10"
    ):
        train.make_schedule("cosine", 0.1, steps=10, warmup_steps=10)
    with pytest.raises(ValueError, match="decay_to: expected a number from 0 to 1, above 0 for exponential, got 0"):
        train.make_schedule("exponential", 0.1, steps=10, decay_to=0)
