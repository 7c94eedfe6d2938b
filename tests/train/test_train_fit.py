"""The training loop: exact resume, seeds together, best parameters, stops, bad numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from recur import train

OPTIMIZER = optax.adam(0.05)


def loss(params, batch, key):
    x, y = batch
    hidden = jnp.tanh(x @ params["w"])
    if key is not None:
        hidden = hidden * jax.random.bernoulli(key, 0.8, hidden.shape)
    return ((hidden @ params["v"] - y) ** 2).mean(), {"largest": jnp.abs(params["w"]).max()}


def start(seed):
    key = jax.random.key(seed)
    return train.init_state({"w": jax.random.normal(key, (3, 4)), "v": jnp.linspace(-1, 1, 4)}, OPTIMIZER, key)


def samples(seed, count=10):
    x = jax.random.normal(jax.random.key(100 + seed), (count, 3))
    return x, jnp.sin(x[:, 0]) + 2 * x[:, 1]


def stack(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


fit = functools.partial(train.fit, loss=loss, optimizer=OPTIMIZER, batch_size=4)
one_run = functools.partial(fit, data=samples(0), validation=samples(1, 6))


def raw(leaf):
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def assert_same_bits(got, wanted):
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert raw(one).dtype == raw(other).dtype
        np.testing.assert_array_equal(raw(one), raw(other))


def assert_same_history(got, wanted):
    assert [(r.step, sorted(r.metrics)) for r in got] == [(r.step, sorted(r.metrics)) for r in wanted]
    for one, other in zip(got, wanted, strict=True):
        for name in one.metrics:
            np.testing.assert_array_equal(one.metrics[name], other.metrics[name])


def test_history_says_what_happened():
    seen = []
    result = one_run(start(0), epochs=3, hooks=train.Hooks(on_record=[seen.append]))
    assert result.finished
    assert seen == result.history
    assert [record.step for record in seen] == [2, 4, 6]
    assert [r.wall_s for r in seen] == sorted(r.wall_s for r in seen)
    names = {"train_loss", "train_largest", "grad_norm", "clipped", "val_loss", "val_largest"}
    names |= {"skipped", "halvings", "rate_factor", "stopped"}
    assert all(set(record.metrics) == names for record in seen)
    wanted = train.evaluate(loss, result.state.params, samples(1, 6))["loss"]
    np.testing.assert_allclose(seen[-1].metrics["val_loss"], wanted, rtol=1e-6)


def test_fit_is_the_epochs_one_after_the_other():
    state, epoch = start(0), jax.jit(train.make_epoch(loss, OPTIMIZER, batch_size=4))
    losses = []
    for _ in range(5):
        state, metrics = epoch(state, samples(0))
        losses.append(np.mean(metrics["loss"]))
    result = one_run(start(0), epochs=5)
    np.testing.assert_allclose([r.metrics["train_loss"] for r in result.history], losses, rtol=1e-5)
    for one, other in zip(jax.tree.leaves(result.state.params), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_fit_leaves_the_state_it_was_given():
    state = start(0)
    before = jax.tree.map(lambda leaf: raw(leaf).copy(), state)
    one_run(state, epochs=2)
    assert_same_bits(jax.tree.map(raw, state), before)


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_run_that_goes_on_ends_as_one_never_stopped(tmp_path, seeds):
    states = start(0) if seeds == 1 else stack([start(n) for n in range(seeds)])
    whole = one_run(states, epochs=5)
    # Stopped after 3 calls of 1, 2 and 4 steps or fewer, in the middle of an epoch or not.
    answers = iter([False, False, True])
    with train.Checkpoints(tmp_path) as checkpoints:
        hooks = train.Hooks(checkpoints=checkpoints, checkpoint_every_s=0, stop=lambda: next(answers))
        first = one_run(states, epochs=5, hooks=hooks)
    assert not first.finished
    assert 0 < len(first.history) < 5
    with train.Checkpoints(tmp_path) as checkpoints:
        # Another seed as template: all that is taken from it is its form.
        like = jax.tree.map(jnp.zeros_like, states._replace(key=None))._replace(key=states.key)
        hooks = train.Hooks(checkpoints=checkpoints)
        second = one_run(like, epochs=5, hooks=hooks)
        assert checkpoints.latest() == 10
        assert_same_bits(second.state, whole.state)
        assert_same_history(second.history, whole.history)
        assert [r.wall_s for r in second.history] == sorted(r.wall_s for r in second.history)
        # And longer: the same as a longer run in one.
        assert_same_bits(one_run(like, epochs=7, hooks=hooks).state, one_run(states, epochs=7).state)
        # A finished run is not trained.
        again = one_run(like, epochs=7, hooks=train.Hooks(checkpoints=checkpoints, on_call=[lambda *_: 1 / 0]))
        assert again.finished
        assert len(again.history) == 7


@pytest.mark.parametrize(("seeds_at_once", "data_axis"), [(1, None), (2, 0), (3, None)])
def test_seeds_together_equal_single_runs(seeds_at_once, data_axis):
    data, validation = samples(0), samples(1, 6)
    if data_axis == 0:
        data, validation = stack([samples(n) for n in range(3)]), stack([samples(n, 6) for n in range(3, 6)])
    together = fit(
        stack([start(n) for n in range(3)]),
        data=data,
        validation=validation,
        data_axis=data_axis,
        seeds_at_once=seeds_at_once,
        epochs=4,
    )
    for n in range(3):
        single = {"data": data, "validation": validation}
        if data_axis == 0:
            single = {"data": samples(n), "validation": samples(3 + n, 6)}
        alone = fit(start(n), **single, epochs=4)
        of_seed = jax.tree.map(lambda leaf, n=n: leaf[n], together.state)
        for one, other in zip(jax.tree.leaves(of_seed), jax.tree.leaves(alone.state), strict=True):
            np.testing.assert_allclose(raw(one), raw(other), rtol=1e-4, atol=1e-5)
        for one, other in zip(together.history, alone.history, strict=True):
            for name, value in other.metrics.items():
                np.testing.assert_allclose(one.metrics[name][n], value, rtol=1e-4)


def test_best_parameters_are_those_of_the_lowest_validation_loss():
    # A large step size, so that the lowest loss is not the last one.
    result = one_run(start(0), epochs=12, optimizer=optax.sgd(0.4), clip_norm=None)
    losses = [float(record.metrics["val_loss"]) for record in result.history]
    assert 0 < int(np.argmin(losses)) < 11
    assert result.state.best.step == 2 * np.argmin(losses) + 2
    np.testing.assert_allclose(result.state.best.value, min(losses), rtol=1e-6)
    again = train.evaluate(loss, result.state.best.params, samples(1, 6))
    np.testing.assert_allclose(again["loss"], min(losses), rtol=1e-5)


def test_an_epoch_is_compiled_once():
    traces = []

    def counted(params, batch, key):
        traces.append(1)
        return loss(params, batch, key)

    one_run(start(0), loss=counted, epochs=1)
    first = len(traces)
    one_run(start(1), loss=counted, epochs=4)
    assert len(traces) == first > 0


def breaks_at_step_5(params, batch, key):
    # One unit of descent a step: before step n the parameter is n - 1.
    return -params.sum() + 0.0 * jnp.sqrt(3.5 - params).sum(), {}


def test_bad_numbers_name_step_and_keep_checkpoints(tmp_path):
    state = train.init_state(jnp.zeros(1), optax.sgd(1.0), jax.random.key(0))
    with train.Checkpoints(tmp_path) as checkpoints:
        hooks = train.Hooks(checkpoints=checkpoints, checkpoint_every_s=0, probe=jnp.copy, probe_every=1)
        with pytest.raises(train.NonFiniteError, match=r"not a number at step 5; lower the learning rate"):
            train.fit(state, breaks_at_step_5, optax.sgd(1.0), jnp.ones(6), batch_size=2, epochs=4, hooks=hooks)
        assert checkpoints.latest() == 4
        state, progress = checkpoints.restore(state)
        assert state.params == 4.0
        assert [record.step for record in progress.history] == [3]


def counting(params, batch, key):
    """Descent adds 1 to the parameter in every step: before step n, counted from 0, it is n, and the loss -n."""
    return -params.sum(), {"score": -((params.sum() - 3) ** 2)}


def count_steps(ema=False, **options):
    state = train.init_state(jnp.zeros(1), SGD, jax.random.key(0), ema=ema)
    options = {"data": jnp.ones(6), "validation": jnp.ones(2), "batch_size": 2, **options}
    return train.fit(state, counting, SGD, **options)


SGD = optax.sgd(1.0)


def test_evaluations_come_when_asked_and_at_the_end():
    """Epochs are of 3 steps; records of 2, and one of the step that is left."""
    history = count_steps(steps=7, eval_every=2).history
    assert [record.step for record in history] == [2, 4, 6, 7]
    np.testing.assert_allclose([record.metrics["train_loss"] for record in history], [-0.5, -2.5, -4.5, -6])
    np.testing.assert_allclose([record.metrics["val_loss"] for record in history], [-2, -4, -6, -7])


def test_patience_ends_a_run_that_no_longer_improves(tmp_path):
    best_is = {"monitor": "val_score", "maximize": True, "eval_every": 1}
    with train.Checkpoints(tmp_path) as checkpoints:
        hooks = train.Hooks(checkpoints=checkpoints)
        fitted = count_steps(steps=50, patience=4, hooks=hooks, **best_is)
        assert fitted.finished
        assert fitted.state.step == 7
        assert (fitted.state.best.step, fitted.state.best.value, fitted.state.best.params[0]) == (3, 0, 3)
        # Started again, it stays where it is.
        assert count_steps(steps=50, patience=4, hooks=hooks, **best_is).state.step == 7
    assert count_steps(steps=50, patience=4).state.step == 50


def test_the_moving_average_is_what_is_evaluated():
    history = count_steps(ema=True, steps=4, eval_every=1, ema_decay=0.3)
    average, wanted = 0.0, []
    for n in range(1, 5):
        decay = min(0.3, (1 + n) / (10 + n))
        average = decay * average + (1 - decay) * n
        wanted.append(-average)
    assert history.state.params == 4
    np.testing.assert_allclose([record.metrics["val_loss"] for record in history.history], wanted, rtol=1e-6)
    np.testing.assert_allclose(history.state.evaluated, -wanted[-1], rtol=1e-6)
    np.testing.assert_allclose(history.state.best.params, -wanted[-1], rtol=1e-6)
    with pytest.raises(ValueError, match=r"ema_decay: expected a number with init_state\(..., ema=True\)"):
        count_steps(steps=4, ema_decay=0.3)
    with pytest.raises(ValueError, match="ema_decay: expected a number between 0 and 1, or None"):
        count_steps(steps=4, ema_decay=1.0)


def test_bad_validation_is_found():
    x, y = samples(1, 6)
    with pytest.raises(train.NonFiniteError, match="validation loss of seed index 0 is nan after step 2"):
        one_run(start(0), validation=(x.at[2, 1].set(jnp.nan), y), epochs=2)


def test_wrong_arguments_are_named():
    for name in ("epochs", "patience", "eval_every", "seeds_at_once"):
        with pytest.raises(ValueError, match=f"{name}: expected a whole number >= 1, got 0"):
            one_run(start(0), **{"epochs": 1, name: 0})
    with pytest.raises(ValueError, match="batch_size: expected at most the 10 samples of the data, got 11"):
        one_run(start(0), epochs=1, batch_size=11)
    with pytest.raises(ValueError, match="data_axis: expected None, or 0 with a state of several seeds, got 0"):
        one_run(start(0), epochs=1, data_axis=0)
    with pytest.raises(ValueError, match="steps: expected epochs or steps, one of them, got epochs=1 and steps=2"):
        one_run(start(0), epochs=1, steps=2)
    with pytest.raises(ValueError, match=r"monitor: expected one of \['clipped', .* got 'val_accuracy'"):
        one_run(start(0), epochs=1, monitor="val_accuracy")
    for monitor in (np.zeros(2), 3):
        with pytest.raises(TypeError, match="monitor: expected the name of a metric, such as 'val_loss', got"):
            one_run(start(0), epochs=1, monitor=monitor)
    with pytest.raises(ValueError, match="checkpoint_every_s: expected a number of at least 0, got -1"):
        train.Hooks(checkpoint_every_s=-1)


def peek(params):
    return {"norm": jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))), "w": params["w"][0]}


@pytest.mark.parametrize("seeds_at_once", [None, 2])
def test_a_probe_changes_no_bit(seeds_at_once):
    """Of 5 epochs of 2 steps: every 3 steps it cuts calls in two, and epochs in the middle."""
    states = start(0) if seeds_at_once is None else stack([start(0), start(1)])
    run = functools.partial(one_run, states, epochs=5, seeds_at_once=seeds_at_once)
    plain = run()
    seen = []
    probed = run(hooks=train.Hooks(probe=peek, probe_every=3, on_probe=[seen.append]))
    assert_same_bits(probed.state, plain.state)
    assert_same_history(probed.history, plain.history)
    assert list(plain.probed) == []
    assert seen == probed.probed
    assert [look.step for look in seen] == [0, 3, 6, 9]
    every = run(hooks=train.Hooks(probe=peek, probe_every=1)).probed
    assert [look.step for look in every] == list(range(11))
    assert_same_bits([every[look.step] for look in seen], seen)
    assert_same_bits(every[0].values["w"], np.asarray(states.params["w"][..., 0, :]))
    assert_same_bits(every[10].values["w"], np.asarray(plain.state.params["w"][..., 0, :]))
    assert len({raw(look.values["norm"]).tobytes() for look in every}) == 11


def test_a_run_that_goes_on_is_probed_from_there(tmp_path):
    probe = {"probe": peek, "probe_every": 3}
    whole = one_run(start(0), epochs=4, hooks=train.Hooks(**probe))
    with train.Checkpoints(tmp_path) as checkpoints:
        hooks = train.Hooks(checkpoints=checkpoints, **probe)
        first = one_run(start(0), epochs=2, hooks=hooks)
        second = one_run(start(9), epochs=4, hooks=hooks)
    assert [look.step for look in first.probed] == [0, 3]
    assert [look.step for look in second.probed] == [6]
    assert_same_bits([*first.probed, *second.probed], whole.probed)


def test_bad_numbers_are_found_before_the_probe_sees_them():
    seen = []
    state = train.init_state(jnp.zeros(1), optax.sgd(1.0), jax.random.key(0))
    hooks = train.Hooks(probe=jnp.copy, probe_every=1, on_probe=[seen.append])
    with pytest.raises(train.NonFiniteError, match=r"not a number at step 5;"):
        train.fit(state, breaks_at_step_5, optax.sgd(1.0), jnp.ones(6), batch_size=2, epochs=4, hooks=hooks)
    assert [float(look.values[0]) for look in seen] == [0, 1, 2, 3, 4]


def test_a_probe_and_its_interval_come_together():
    for options in ({"probe": peek}, {"probe_every": 3}):
        with pytest.raises(ValueError, match="probe_every: expected a number of steps with a probe and None without"):
            train.Hooks(**options)
    with pytest.raises(ValueError, match="probe_every: expected a whole number >= 1, got 0"):
        train.Hooks(probe=peek, probe_every=0)
