"""Training on batches from the host, against training on the device and against hand-written means."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from recur import train

OPTIMIZER = optax.adam(0.05)
LENGTHS = (2, 5)


class Batches:
    """The batches of a list, over and over; it is an iterator that says where it stands."""

    def __init__(self, batches, at=0):
        self.batches, self.at = batches, at

    def __iter__(self):
        return self

    def __next__(self):
        self.at += 1
        return self.batches[(self.at - 1) % len(self.batches)]

    def get_state(self):
        return {"at": self.at}

    def set_state(self, state):
        self.at = state["at"]


traces = []


def loss(params, batch, key):
    """Mean over the steps of sequences of unequal length, with dropout."""
    traces.append(batch["x"].shape)
    mask = jnp.arange(batch["x"].shape[1])[None] < batch["lengths"][:, None]
    hidden = jnp.tanh(batch["x"][..., None] * params["w"][None, None])
    if key is not None:
        hidden *= jax.random.bernoulli(key, 0.8, hidden.shape)
    error = jnp.where(mask, (hidden.sum(axis=-1) - batch["scale"] * batch["x"]) ** 2, 0)
    return error.sum() / mask.sum(), {"largest": error.max(), "weight": mask.sum()}


def batch_of(seed, length, rows=4):
    rng = np.random.default_rng(seed)
    return {
        "x": rng.normal(size=(rows, length)).astype(np.float32),
        "lengths": rng.integers(1, length + 1, rows).astype(np.int32),
        "scale": np.float32(0.5),
    }


TRAINING = [batch_of(n, LENGTHS[n % 2]) for n in range(5)]
VALIDATION = [batch_of(10, 2), batch_of(11, 5), batch_of(12, 5)]


def start(seed):
    key = jax.random.key(seed)
    return train.init_state({"w": jax.random.normal(key, (3,))}, OPTIMIZER, key)


def stack(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def fit(state, **options):
    fixed = {"eval_every": 3, "validation": VALIDATION, "steps": 7}
    return train.fit_batches(state, loss, OPTIMIZER, **{"batches": Batches(TRAINING), **fixed, **options})


@pytest.fixture(scope="module")
def alone():
    before = len(traces)
    fitted = fit(start(0))
    return fitted, traces[before:]


def assert_same_bits(got, wanted):
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        if jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        np.testing.assert_array_equal(one, other)


def test_steps_and_records_are_the_plain_loop(alone):
    fitted, _ = alone
    step = jax.jit(train.make_step(loss, OPTIMIZER))
    state, losses, validated = start(0), [], {}
    for index in range(7):
        state, metrics = step(state, TRAINING[index % 5])
        losses.append(metrics["loss"])
        # Over all steps of all sequences, whatever batch they are in.
        each = [loss(state.params, batch, None) for batch in VALIDATION]
        counts = [batch["lengths"].sum() for batch in VALIDATION]
        validated[index + 1] = np.average([value for value, _ in each], weights=counts)
    np.testing.assert_allclose(fitted.state.params["w"], state.params["w"], rtol=1e-5)
    assert [record.step for record in fitted.history] == [3, 6, 7]
    means = [np.mean(losses[:3]), np.mean(losses[3:6]), losses[6]]
    np.testing.assert_allclose([record.metrics["train_loss"] for record in fitted.history], means, rtol=1e-5)
    wanted = [validated[step] for step in (3, 6, 7)]
    np.testing.assert_allclose([record.metrics["val_loss"] for record in fitted.history], wanted, rtol=1e-5)
    assert fitted.state.best.step == (3, 6, 7)[int(np.argmin(wanted))]
    assert "train_weight" not in fitted.history[0].metrics


def test_every_shape_is_compiled_once(alone):
    """Twice for training, of which once for the names of the metrics, and likewise for evaluation."""
    _, shapes = alone
    assert sorted(shapes) == sorted([(4, 2), (4, 5)] * 2 + [(4, 2)] * 2)


def test_a_run_that_goes_on_takes_the_batches_where_it_stopped(alone, tmp_path):
    whole, _ = alone
    answers = iter([False, True])
    with train.Checkpoints(tmp_path) as checkpoints:
        hooks = train.Hooks(checkpoints=checkpoints, stop=lambda: next(answers))
        first = fit(start(0), hooks=hooks)
    assert not first.finished
    with train.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.progress().position == {"at": checkpoints.latest()}
        second = fit(start(5), hooks=train.Hooks(checkpoints=checkpoints))
    assert_same_bits(second.state, whole.state)
    for one, other in zip(second.history, whole.history, strict=True):
        assert one.metrics == other.metrics


@pytest.mark.parametrize("data_axis", [None, 0])
def test_seeds_together_equal_single_runs(alone, data_axis):
    options = {"data_axis": data_axis}
    if data_axis == 0:
        both = lambda batches: [jax.tree.map(lambda leaf: np.stack([leaf, leaf]), batch) for batch in batches]  # noqa: E731
        options |= {"batches": Batches(both(TRAINING)), "validation": both(VALIDATION)}
    together = fit(stack([start(0), start(1)]), **options)
    np.testing.assert_allclose(together.state.params["w"][0], alone[0].state.params["w"], rtol=1e-5)
    for one, other in zip(together.history, alone[0].history, strict=True):
        for name, value in other.metrics.items():
            assert one.metrics[name].shape == (2,)
            np.testing.assert_allclose(one.metrics[name][0], value, rtol=1e-4)


def test_wrong_batches_are_named(tmp_path):
    with pytest.raises(ValueError, match="batches: expected one for every step, got 5; let them repeat"):
        fit(start(0), batches=TRAINING)
    with (
        train.Checkpoints(tmp_path) as checkpoints,
        pytest.raises(TypeError, match="batches: expected an iterator with get_state and set_state, got list_iterator"),
    ):
        fit(start(0), batches=TRAINING, hooks=train.Hooks(checkpoints=checkpoints))
    with pytest.raises(TypeError, match="validation: expected batches that can be read again, got list_iterator"):
        fit(start(0), validation=iter(VALIDATION))
    with pytest.raises(ValueError, match="validation: expected at least one batch, got none; leave it out"):
        fit(start(0), validation=[])
    uneven = {**TRAINING[0], "x": TRAINING[0]["x"][:3]}
    with pytest.raises(
        ValueError, match=r"batches: expected arrays \[B, ...\] with one B, got shapes \[\(4,\), \(\), "
    ):
        train.fit_batches(start(0), functools.partial(loss), OPTIMIZER, [uneven], steps=1, eval_every=1)
