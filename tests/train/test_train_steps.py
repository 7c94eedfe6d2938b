"""Steps, epochs and evaluation against hand-written loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from recur import train
from recur.train import _step
from recur.train._state import shuffle_key

OPTIMIZER = optax.adam(0.05)


def loss(params, batch, key):
    x, y = batch
    error = (jnp.tanh(x @ params["w"]) @ params["v"] - y) ** 2
    if key is not None:
        error = error * jax.random.bernoulli(key, 0.8, error.shape)
    return error.mean(), {"absolute": jnp.sqrt(error).mean()}


def samples(key, count=10):
    x = jax.random.normal(key, (count, 3))
    return x, jnp.sin(x[:, 0]) + 2 * x[:, 1]


def parameters(key):
    return {"w": jax.random.normal(key, (3, 4)), "v": jnp.linspace(-1, 1, 4)}


def assert_close(got, wanted, **tolerance):
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, **tolerance)


def test_sums_over_devices_take_small_arrays_together_and_mix_up_none(key, monkeypatch):
    monkeypatch.setattr(_step, "SMALL", 6)
    shapes = {"a": (2, 3), "b": (4,), "large": (4, 4), "c": (), "d": (2,), "e": (3,)}
    dtypes = {"d": jnp.bfloat16, "e": jnp.int32}
    parts = {
        name: (8 * jax.random.normal(jax.random.fold_in(key, n), (3, *shape))).round().astype(dtypes.get(name))
        for n, (name, shape) in enumerate(shapes.items())
    }

    def total(part):
        return _step._sum_over_parts({**part, "number": 2.0}, "devices")

    found = jax.vmap(total, axis_name="devices")(parts)
    for name, part in parts.items():
        wanted = np.asarray(part, np.float32).sum(axis=0)
        assert found[name].dtype == part.dtype
        np.testing.assert_array_equal(np.asarray(found[name], np.float32), np.broadcast_to(wanted, part.shape))
    np.testing.assert_array_equal(found["number"], [6, 6, 6])


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_step_is_the_optax_loop(key, clip_norm):
    data, params = samples(key), parameters(key)
    clip = optax.identity() if clip_norm is None else optax.clip_by_global_norm(clip_norm)
    reference = optax.chain(clip, OPTIMIZER)
    opt_state, wanted, norms = reference.init(params), params, []
    state = train.init_state(params, OPTIMIZER, key)
    step = jax.jit(train.make_step(loss, OPTIMIZER, clip_norm=clip_norm))
    for number in range(20):
        step_key = jax.random.fold_in(jax.random.fold_in(key, 1), number)
        (value, more), grads = jax.value_and_grad(loss, has_aux=True)(wanted, data, step_key)
        updates, opt_state = reference.update(grads, opt_state, wanted)
        wanted = optax.apply_updates(wanted, updates)
        state, metrics = step(state, data)
        norms.append(float(np.sqrt(sum((np.asarray(g, np.float64) ** 2).sum() for g in jax.tree.leaves(grads)))))
        np.testing.assert_allclose(metrics["loss"], value, rtol=1e-5)
        np.testing.assert_allclose(metrics["absolute"], more["absolute"], rtol=1e-5)
        np.testing.assert_allclose(metrics["grad_norm"], norms[-1], rtol=1e-5)
        assert metrics["clipped"] == (clip_norm is not None and norms[-1] > clip_norm)
    assert_close(state.params, wanted, rtol=1e-4, atol=1e-5)
    assert state.step == 20
    if clip_norm == 1.0:
        assert min(norms) < clip_norm < max(norms)


def test_epoch_is_the_loop_over_its_batches(key):
    data, state = samples(key), train.init_state(parameters(key), OPTIMIZER, key)
    epoch, step = train.make_epoch(loss, OPTIMIZER, batch_size=4), jax.jit(train.make_step(loss, OPTIMIZER))
    got, wanted = state, state
    for number in range(2):
        got, metrics = jax.jit(epoch)(got, data)
        order = jax.random.permutation(shuffle_key(key, number), 10)
        values = []
        for rows in (order[:4], order[4:8]):
            wanted, one = step(wanted, jax.tree.map(lambda leaf, rows=rows: leaf[rows], data))
            values.append(one["loss"])
        np.testing.assert_allclose(metrics["loss"], values, rtol=1e-5)
    assert_close(got.params, wanted.params, rtol=1e-5, atol=1e-6)
    assert got.step == wanted.step == 4


def test_epochs_take_every_sample_once_in_another_order(key):
    def seen(params, batch, key):
        return params["w"].sum(), {f"row{i}": batch[i] for i in range(2)}

    state = train.init_state({"w": jnp.zeros(1)}, OPTIMIZER, key)
    epoch = jax.jit(train.make_epoch(seen, OPTIMIZER, batch_size=2))
    orders = []
    for _ in range(3):
        state, metrics = epoch(state, jnp.arange(8.0))
        orders.append(np.stack([metrics["row0"], metrics["row1"]], axis=1).ravel().tolist())
    assert all(sorted(order) == list(range(8)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_evaluate_is_the_mean_over_samples(key, batch_size):
    data, params = samples(key, 7), parameters(key)
    got = train.evaluate(loss, params, data, batch_size=batch_size)
    x, y, w, v = (np.asarray(a, np.float64) for a in (*data, params["w"], params["v"]))
    error = np.tanh(x @ w) @ v - y
    np.testing.assert_allclose(got["loss"], (error**2).mean(), rtol=1e-5)
    np.testing.assert_allclose(got["absolute"], np.abs(error).mean(), rtol=1e-5)


def test_wrong_arguments_are_named(key):
    state = train.init_state(parameters(key), OPTIMIZER, key)
    with pytest.raises(ValueError, match="clip_norm: expected a positive number, or None"):
        train.make_step(loss, OPTIMIZER, clip_norm=0.0)
    for wrong, words in (
        (len, "<built-in function len>: too many"),
        (lambda params: 0, "lambda.*: too many"),
        (3, "3"),
        (dict, "class .dict.>"),
    ):
        with pytest.raises(TypeError, match=rf"loss: expected a function \(params, batch, key\) -> .*, got .*{words}"):
            train.evaluate(wrong, state.params, samples(key))
        with pytest.raises(TypeError, match="loss: expected a function"):
            train.make_step(wrong, OPTIMIZER)(state, samples(key))

    # What wraps another function may take other arguments than that.
    @functools.wraps(len)
    def wrapped(params, batch, key):
        return loss(params, batch, key)

    wanted = train.evaluate(loss, state.params, samples(key))
    for fine in (wrapped, jax.jit(loss), functools.partial(loss)):
        np.testing.assert_allclose(train.evaluate(fine, state.params, samples(key))["loss"], wanted["loss"], rtol=1e-6)
    with pytest.raises(ValueError, match="batch_size: expected a whole number >= 1, got 0"):
        train.make_epoch(loss, OPTIMIZER, batch_size=0)
    with pytest.raises(ValueError, match="batch_size: expected at most the 10 samples of the data, got 11"):
        train.make_epoch(loss, OPTIMIZER, batch_size=11)(state, samples(key))
    with pytest.raises(ValueError, match=r"data: expected arrays \[N, ...\] with one N >= 1"):
        train.evaluate(loss, state.params, (jnp.ones((3, 3)), jnp.ones(2)))
    with pytest.raises(ValueError, match=r"expected metrics with names other than .* got \['grad_norm'\]"):
        train.make_step(lambda *_: (jnp.zeros(()), {"grad_norm": 1.0}), OPTIMIZER)(state, samples(key))
    with pytest.raises(TypeError, match="key: expected a PRNG key"):
        train.init_state(parameters(key), OPTIMIZER, 0)


def test_a_large_whole_number_clips_nothing(key):
    """One that no array of 32 bits holds, too."""
    state, batch = train.init_state(parameters(key), OPTIMIZER, key), samples(key)
    found = [train.make_step(loss, OPTIMIZER, clip_norm=norm)(state, batch)[0].params for norm in (None, 2**40)]
    jax.tree.map(np.testing.assert_array_equal, *found)
