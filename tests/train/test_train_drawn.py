"""Batches drawn on the device from the key of a step, and the options that all ways of training share."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from recur import train
from recur.train._method import MethodOptions
from recur.train._state import draw_key

OPTIMIZER = optax.adam(0.05)
VALIDATION = (jnp.linspace(-1, 1, 15).reshape(5, 3), jnp.ones(5))


def draw(key):
    x = jax.random.normal(key, (4, 3))
    return x, jnp.sin(x[:, 0])


def loss(params, batch, key):
    x, y = batch
    noise = 0.0 if key is None else jax.random.normal(key, y.shape)
    return ((x @ params - y + 0.1 * noise) ** 2).mean(), {"first": x[0, 0]}


def start(seed):
    key = jax.random.key(seed)
    return train.init_state(jax.random.normal(key, (3,)), OPTIMIZER, key)


fit = functools.partial(train.fit, loss=loss, optimizer=OPTIMIZER, draw=draw, validation=VALIDATION, eval_every=3)


def stack(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def raw(leaf):
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def test_steps_are_the_plain_loop_over_draws():
    step, state, losses, firsts = jax.jit(train.make_step(loss, OPTIMIZER)), start(0), [], []
    for index in range(7):
        batch = draw(draw_key(state.key, jnp.int32(index)))
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
        firsts.append(float(batch[0][0, 0]))
    assert len(set(firsts)) == 7
    fitted = fit(start(0), steps=7)
    np.testing.assert_allclose(fitted.state.params, state.params, rtol=1e-5)
    assert [record.step for record in fitted.history] == [3, 6, 7]
    for name, each in (("train_loss", losses), ("train_first", firsts)):
        wanted = [np.mean(each[:3]), np.mean(each[3:6]), each[6]]
        np.testing.assert_allclose([record.metrics[name] for record in fitted.history], wanted, rtol=1e-5)
    wanted = train.evaluate(loss, state.params, VALIDATION)["loss"]
    np.testing.assert_allclose(fitted.history[-1].metrics["val_loss"], wanted, rtol=1e-5)


@pytest.mark.parametrize("seeds_at_once", [1, 2])
def test_a_seed_draws_the_same_alone_and_among_others(seeds_at_once):
    together = fit(stack([start(0), start(1)]), steps=7, seeds_at_once=seeds_at_once)
    for seed in range(2):
        alone = fit(start(seed), steps=7)
        np.testing.assert_allclose(together.state.params[seed], alone.state.params, rtol=1e-5)
    assert not np.allclose(together.history[0].metrics["train_first"][0], together.history[0].metrics["train_first"][1])


def test_a_run_that_goes_on_draws_what_one_never_stopped_draws(tmp_path):
    whole, answers = fit(start(0), steps=8), iter([False, True])
    with train.Checkpoints(tmp_path) as checkpoints:
        first = fit(start(0), steps=8, hooks=train.Hooks(checkpoints=checkpoints, stop=lambda: next(answers)))
        assert not first.finished
        second = fit(start(5), steps=8, hooks=train.Hooks(checkpoints=checkpoints))
    for one, other in zip(jax.tree.leaves(second.state), jax.tree.leaves(whole.state), strict=True):
        np.testing.assert_array_equal(raw(one), raw(other))


def test_a_bad_draw_is_looked_at():
    def breaks(key):
        x, y = draw(key)
        return x, jnp.where(x[0, 0] > 1, jnp.nan, y)

    with pytest.raises(train.NonFiniteError, match=r"batch 1\[0\] is nan"):
        fit(start(0), draw=breaks, steps=100)


def test_wrong_draws_are_named():
    with pytest.raises(ValueError, match="data: expected arrays or draw=, one of them, got both"):
        fit(start(0), data=VALIDATION, steps=1)
    with pytest.raises(ValueError, match="data: expected arrays or draw=, one of them, got none"):
        fit(start(0), draw=None, steps=1)
    for name in ("epochs", "batch_size"):
        with pytest.raises(ValueError, match=f"{name}: expected none with draw"):
            fit(start(0), **{"steps": 1, "epochs": None, name: 2} | ({"steps": None} if name == "epochs" else {}))
    with pytest.raises(TypeError, match=r"draw: expected a function \(key\) -> batch, got 3"):
        fit(start(0), draw=3, steps=1)
    with pytest.raises(ValueError, match=r"draw: expected arrays \[B, ...\] with one B, got"):
        fit(start(0), draw=lambda key: (jnp.ones((4, 3)), jnp.ones(2)), steps=1)


def test_options_by_name_replace_those_of_a_method():
    method = train.Method(clip_norm=None, eval_every=2, ema_decay=None)
    fitted = fit(start(0), steps=5, method=method)
    # The name wins: `fit` above is called with eval_every=3.
    assert [record.step for record in fitted.history] == [3, 5]
    assert all(record.metrics["clipped"] == 0 for record in fitted.history)
    with pytest.raises(TypeError, match="eval_evry: expected an option of train.Method .* did you mean eval_every"):
        fit(start(0), steps=1, eval_evry=2)
    with pytest.raises(TypeError, match="method: expected a train.Method, got 3"):
        fit(start(0), steps=1, method=3)


def test_the_options_are_those_of_the_method():
    assert list(MethodOptions.__annotations__) == list(inspect.signature(train.Method).parameters)
