"""Numbers that go wrong while training: found, named, refused, counted, and never a bit that depends on the cuts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from recur import train
from recur.train import _nonfinite

SGD = optax.sgd(1.0)
NAN = float("nan")


def stack(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def counting(params, batch, key):
    """Descent adds 1 to each parameter in a step, unless the batch holds what is not finite."""
    return -params["w"].sum() + (0 * batch).sum(), {"largest": params["w"].max()}


def start(*values, ema=False):
    return train.init_state({"w": jnp.asarray(values)}, SGD, jax.random.key(0), ema=ema)


def data_with(*bad, steps=12):
    """A batch of 2 for every step, some of them with nan."""
    rows = np.zeros((2 * steps, 3), np.float32)
    for step in bad:
        rows[2 * step - 1, 1] = NAN
    return jnp.asarray(rows)


count = functools.partial(
    train.fit, loss=counting, optimizer=SGD, batch_size=2, steps=12, shuffle=False, eval_every=4, clip_norm=None
)


def numbers(fitted, name):
    return [record.metrics[name].tolist() for record in fitted.history]


def test_a_bad_step_is_skipped_and_counted():
    told = []
    fitted = count(start(0.0), data=data_with(3, 8), on_nonfinite="skip", hooks=train.Hooks(on_nonfinite=[told.append]))
    assert fitted.finished
    # Of 12 steps 10 were taken; the means are over those, w going 0, 1, (2), 2 in the first four.
    assert fitted.state.params["w"] == 10
    assert fitted.state.step == 12
    np.testing.assert_allclose(numbers(fitted, "train_loss"), [-1, -4, -7.5])
    assert numbers(fitted, "skipped") == [1, 2, 2]
    assert numbers(fitted, "stopped") == [0, 0, 0]
    assert [(event.step, event.skipped, event.stopped) for event in told] == [(3, 1, 0), (8, 1, 0)]
    assert told[0].found.startswith("batch[1, 1] is nan (1 of its 6 entries), loss is nan")
    assert (
        "at step 3; lower the learning rate or clip_norm, or look at that batch; batch[1, 1] is nan" in told[0].text()
    )
    assert "steps skipped: 1; last good checkpoint: none" in told[0].text()


def test_an_interval_without_a_good_step_has_no_mean():
    fitted = count(start(0.0), data=data_with(5, 6, 7, 8), on_nonfinite="skip")
    np.testing.assert_allclose(numbers(fitted, "train_loss"), [-1.5, NAN, -5.5])
    assert fitted.state.best.step == 12
    assert fitted.state.best.value == -5.5


def test_a_seed_that_only_skips_stops(monkeypatch):
    monkeypatch.setattr(_nonfinite, "MOST_SKIPPED", 3)
    with pytest.raises(train.NonFiniteError, match=r"batch\[1, 1\] is nan .*; it stopped at step 7; last good"):
        count(start(0.5), data=data_with(5, 6, 7), loss=lambda *both: counting(*both), on_nonfinite="skip")


def explodes(params, batch, key):
    """Gradient -g: a step adds g. From 10 on there is no logarithm."""
    w = params["w"].sum()
    return -w + 0 * jnp.log(10 - w), {}


def test_halving_goes_back_to_the_last_record_and_on_with_half_the_rate():
    """Before step n, w is n - 1 = 4 at step 5, the first after the record; at step 11 w is 10, and so goes to 8."""
    told = []
    hooks = train.Hooks(on_nonfinite=[told.append])
    fitted = count(start(0.0), loss=explodes, data=data_with(), on_nonfinite="halve", hooks=hooks)
    assert numbers(fitted, "halvings") == [0, 0, 1]
    assert numbers(fitted, "rate_factor") == [1, 1, 0.5]
    assert numbers(fitted, "skipped") == [0, 0, 1]
    # Steps 9 and 10 added 1 each, 11 went back to 8, 12 added a half.
    assert fitted.state.params["w"] == 8.5
    assert [(event.step, event.halvings) for event in told] == [(11, 1)]
    assert "it went back, and on with 1/2 of the learning rate" in told[0].text()
    longer = count(start(0.0), loss=explodes, data=data_with(), on_nonfinite="halve", steps=24)
    # 8.5 at step 13, 9 at 14, 9.5 at 15, 10 at 16: back to 8.5, a quarter a step: 10 at step 23, back to 9.5.
    assert numbers(longer, "halvings") == [0, 0, 1, 2, 2, 3]
    assert longer.state.params["w"] == 9.5 + 1 / 8
    assert longer.state.step == 24


def test_a_rate_that_no_halving_mends_stops_the_seed(monkeypatch):
    monkeypatch.setattr(_nonfinite, "MOST_HALVINGS", 2)
    with pytest.raises(
        train.NonFiniteError,
        match=r"; the first time, at step 2, batch.*; it stopped at step 6, at 1/4 of the learning rate",
    ):
        count(start(0.5), loss=lambda *both: counting(*both), data=data_with(2, 6), on_nonfinite="halve")


def breaks_at_4(params, batch, key):
    """One unit of descent a step; the gradient at 4 and above is not a number, by way of the second parameter."""
    w, v = params["w"], params["layer"]["v"]
    return -w.sum() + 0 * jnp.sqrt(3.5 - w[0] + 0 * v[1, 2]), {}


def seeds_at(*values):
    def one(value):
        params = {"w": jnp.array([value, 0.0]), "layer": {"v": jnp.ones((2, 3))}}
        return train.init_state(params, SGD, jax.random.key(0))

    return stack([one(value) for value in values])


@pytest.mark.parametrize("seeds_at_once", [1, 3])
def test_a_broken_seed_is_marked_and_the_others_go_on(seeds_at_once):
    told = []
    hooks = train.Hooks(on_nonfinite=[told.append])
    run = functools.partial(
        count, loss=breaks_at_4, data=data_with(), validation=jnp.ones((2, 3)), seeds_at_once=seeds_at_once
    )
    fitted = run(seeds_at(-50.0, -1.0, 2.0), hooks=hooks)
    assert fitted.finished
    assert numbers(fitted, "stopped") == [[0, 0, 3], [0, 6, 3], [0, 6, 3]]
    assert numbers(fitted, "skipped")[-1] == [0, 1, 1]
    # They stay where they were before the step that was refused.
    assert fitted.state.params["w"][:, 0].tolist() == [-38, 4, 4]
    np.testing.assert_array_equal(
        np.isnan(numbers(fitted, "val_loss")), np.array([[0, 0, 1], [0, 1, 1], [0, 1, 1]], bool)
    )
    # Loss and gradient of [0] are nan at once.
    assert [(event.seed, event.step, event.stopped) for event in sorted(told, key=lambda e: e.step)] == [
        (2, 3, 3),
        (1, 6, 6),
    ]
    assert all("loss is nan, gradient of layer.v[0, 0]" not in event.found for event in told)
    assert all("loss is nan, gradient of layer.v[1, 2] is nan (1 of its 6 entries" in event.found for event in told)
    alone = run(seeds_at(-50.0), hooks=None)
    np.testing.assert_array_equal(alone.state.params["w"][0], fitted.state.params["w"][0])


def test_a_run_ends_when_its_last_seed_breaks():
    with pytest.raises(
        train.NonFiniteError, match=r"of seed index 1 is .* at step 3;.*; none of the 2 seeds is left"
    ) as e:
        count(seeds_at(0.0, 2.0), loss=breaks_at_4, data=data_with())
    assert e.value.event.seed == 1


def test_what_is_wrong_is_named():
    """A parameter that is broken, a norm that overflows, an update that does, and what the problem says itself."""

    def message(state, loss, **options):
        with pytest.raises(train.NonFiniteError) as error:
            count(state, loss=loss, data=data_with(), **options)
        return str(error.value)

    said = message(
        seeds_at(0.0)._replace(params={"w": jnp.array([[0.0, jnp.inf]]), "layer": {"v": jnp.ones((1, 2, 3))}}),
        breaks_at_4,
    )
    assert "at step 1; " in said
    assert "; parameter w[1] is inf (1 of its 2 entries), loss is " in said
    large = lambda params, batch, key: (1e25 * params["w"].sum(), {})  # noqa: E731
    assert "norm of the gradient overflows, the largest entry, of w, is 1e+25" in message(start(0.0, 0.0), large)
    steep = lambda params, batch, key: (-1e15 * params["w"].sum(), {})  # noqa: E731
    fast = optax.sgd(1e25)
    said = message(start(0.0, 0.0), steep, optimizer=fast)
    assert "at step 1; " in said
    assert "new parameter w[0] is inf (2 of its 2 entries)" in said
    hooks = train.Hooks(explain=lambda params, batch: f"w is {params['w'][0]:g} and the batch {batch.shape}")
    assert "w is 4 and the batch (2, 3), loss is nan" in message(seeds_at(0.0), breaks_at_4, hooks=hooks)


class Rows:
    """Batches of rows that say where they stand."""

    def __init__(self, rows, at=0):
        self.rows, self.at = rows, at

    def __iter__(self):
        return self

    def __next__(self):
        self.at += 1
        return self.rows[2 * self.at - 2 : 2 * self.at]

    def get_state(self):
        return {"at": self.at}

    def set_state(self, state):
        self.at = state["at"]


@pytest.mark.parametrize("bad", [1, 7])
def test_the_batch_of_a_bad_step_from_the_host_is_looked_at_again(bad):
    told = []
    iterator = Rows(np.asarray(data_with(bad)))
    options = {"steps": 12, "eval_every": 4, "clip_norm": None, "on_nonfinite": "skip"}
    hooks = train.Hooks(on_nonfinite=[told.append])
    fitted = train.fit_batches(start(0.0), counting, SGD, iterator, **options, hooks=hooks)
    assert fitted.state.params["w"] == 11
    assert iterator.at == 12
    assert [event.step for event in told] == [bad]
    assert told[0].found.startswith("batch[1, 1] is nan (1 of its 6 entries)")
    # Batches that cannot be read again are trained on all the same.
    rows = np.asarray(data_with(bad)).reshape(12, 2, 3)
    told.clear()
    again = train.fit_batches(start(0.0), counting, SGD, iter(rows), **options, hooks=hooks)
    assert again.state.params["w"] == 11
    assert [bool(event.found) for event in told] == [bad == 1]


def raw(tree):
    def words(leaf):
        return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf

    return [np.asarray(words(leaf)) for leaf in jax.tree.leaves(tree)]


ADAM = optax.adam(0.3)


def stretched(params, batch, key):
    """With dropout, a carry, and a root that has no value where a step goes too far."""
    x = batch * jax.random.bernoulli(key, 0.7, batch.shape) if key is not None else batch
    return (x * params["w"][None]).sum() + jnp.sqrt(4.2 - params["w"].sum()), {}


@pytest.mark.parametrize("policy", train.ON_NONFINITE)
def test_bits_do_not_depend_on_the_cuts(tmp_path, policy):
    """Stopped every three steps and gone on with from its checkpoint, against a run in one."""
    rows = jnp.asarray(np.random.default_rng(0).normal(-0.5, 1, (24, 3)), jnp.float32)
    initial = [jnp.array([v, 0.0, 0.0]) for v in (-30.0, 0.0, 2.0)]
    states = stack([train.init_state({"w": w}, ADAM, jax.random.key(n), ema=True) for n, w in enumerate(initial)])
    options = {"batch_size": 2, "steps": 14, "eval_every": 5, "ema_decay": 0.9, "on_nonfinite": policy}
    run = functools.partial(train.fit, states, stretched, ADAM, rows, **options)
    whole, finished, parts = run(), False, 0
    while not finished:
        answers = iter([False, True])
        with train.Checkpoints(tmp_path) as checkpoints:
            hooks = train.Hooks(checkpoints=checkpoints, stop=lambda answers=answers: next(answers))
            part = run(hooks=hooks)
        finished, parts = part.finished, parts + 1
        assert parts < 10
    assert parts == 5
    for one, other in zip(raw(part.state), raw(whole.state), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [record.step for record in part.history] == [record.step for record in whole.history] == [5, 10, 14]
    for one, other in zip(part.history, whole.history, strict=True):
        for name, value in other.metrics.items():
            np.testing.assert_array_equal(one.metrics[name], value)
    last = whole.history[-1].metrics
    assert last["skipped"][0] == 0 < last["skipped"][1:].min()
    assert (last["stopped"] > 0).any() == (policy == "stop")
    assert (last["halvings"] > 0).any() == (policy == "halve")
    assert np.isfinite(whole.state.params["w"]).all()


def test_a_bad_validation_loss_halves_or_goes_on():
    """Validation has no logarithm at 10; training has."""

    def loss(params, batch, key):
        w = params["w"].sum()
        return (-w if key is not None else jnp.log(7.5 - w)), {}

    options = {"loss": loss, "data": data_with(), "validation": jnp.ones((2, 3))}
    told = []
    fitted = count(start(0.0), **options, on_nonfinite="halve", hooks=train.Hooks(on_nonfinite=[told.append]))
    # 4 after four steps; 8 after eight, from where it goes back to 4 and adds halves.
    assert numbers(fitted, "halvings") == [0, 1, 1]
    assert fitted.state.params["w"] == 6
    assert [event.what for event in told] == ["validation loss"]
    assert "validation loss of seed index 0 is nan after step 8; look at" in told[0].text()
    skipped = count(start(0.0), **options, on_nonfinite="skip")
    assert skipped.state.params["w"] == 12
    assert skipped.state.best.step == 4
    both = count(stack([start(0.0), start(-50.0)]), **options)
    assert numbers(both, "stopped")[-1] == [8, 0]


def test_a_carry_that_is_not_finite_is_refused():
    def loss(params, batch, key, carry):
        return -params["w"].sum(), {}, carry * batch[:, :1]

    rows = np.full((16, 1), 1e10, np.float32)
    state = train.init_state({"w": jnp.zeros(1)}, SGD, jax.random.key(0), carry=jnp.ones((2, 1)))
    with pytest.raises(train.NonFiniteError, match=r"at step 4;.* new carry\[0, 0\] is inf"):
        train.fit(state, loss, SGD, rows, batch_size=2, steps=8, shuffle=False)
    fitted = train.fit(state, loss, SGD, rows, batch_size=2, steps=8, shuffle=False, on_nonfinite="skip")
    assert fitted.state.params["w"] == 3
    np.testing.assert_allclose(fitted.state.carry, 1e30, rtol=1e-6)


def test_a_wrong_policy_is_named():
    with pytest.raises(ValueError, match="on_nonfinite: expected one of stop, skip, halve, got 'mend'"):
        count(start(0.0), data=data_with(), on_nonfinite="mend")


def test_checkpoints_of_before_there_were_counters_are_read(tmp_path):
    state = start(3.0)
    with train.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(
            6,
            state._replace(step=jnp.int32(6)),
            train.Progress(
                0.0,
                [],
                {
                    "loss": np.array(-1.5),
                    "largest": np.array(1.5),
                    "grad_norm": np.array(1.0),
                    "clipped": np.array(0.0),
                },
            ),
        )
        checkpoints.wait()
        fitted = count(start(0.0), data=data_with(), hooks=train.Hooks(checkpoints=checkpoints))
    assert fitted.state.params["w"] == 9
    # Of the steps 5 to 8 two were taken before, with a mean of -1.5.
    np.testing.assert_allclose(numbers(fitted, "train_loss"), [(2 * -1.5 - 3 - 4) / 4, -6.5])
