"""What people really have: optimisers that see the loss, metrics of any number, data of other kinds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from recur import train

SGD = optax.sgd(0.1)
X = np.linspace(-1, 1, 24).reshape(8, 3).astype(np.float32)


def loss(params, batch, key):
    return jnp.mean((batch @ params - 1) ** 2), {}


def start(optimizer=SGD):
    return train.init_state(jnp.ones(3), optimizer, jax.random.key(0))


fit = functools.partial(train.fit, batch_size=4, steps=4, clip_norm=None)


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.polyak_sgd(),
        optax.contrib.momo(),
        optax.chain(optax.adam(0.01), optax.contrib.reduce_on_plateau(patience=1, accumulation_size=1)),
        optax.lbfgs(),
        optax.MultiSteps(optax.polyak_sgd(), 2),
    ],
    ids=["polyak", "momo", "plateau", "lbfgs", "multi"],
)
def test_optimizers_that_see_the_loss_are_the_plain_loop(optimizer):
    """By optax's own protocol, written out."""
    fitted = fit(start(optimizer), loss, optimizer, X, shuffle=False)
    params, state = jnp.ones(3), optimizer.init(jnp.ones(3))
    for index in range(4):
        value_fn = functools.partial(lambda batch, params: loss(params, batch, None)[0], X[index % 2 * 4 :][:4])
        value, grad = jax.value_and_grad(value_fn)(params)
        updates, state = optimizer.update(grad, state, params, value=value, grad=grad, value_fn=value_fn)
        params = optax.apply_updates(params, updates)
    assert not np.allclose(params, 1, atol=1e-4)
    np.testing.assert_allclose(fitted.state.params, params, rtol=1e-4)


def test_metrics_of_any_number_are_means():
    def counted(params, batch, key):
        first = batch[0, 0]
        metrics = {"whole": (first > 0).astype(jnp.int8) + 1, "flag": first > 0, "number": 3, "truth": True}
        return loss(params, batch, key)[0], metrics | {"half": jnp.bfloat16(1.5), "numpy": np.int64(7)}

    rows = np.repeat(np.array([1, -1], np.float32), 12).reshape(8, 3)
    wanted = {"whole": 1.5, "flag": 0.5, "number": 3, "truth": 1, "half": 1.5, "numpy": 7}
    on_device = fit(start(), counted, SGD, rows, shuffle=False, steps=2, validation=rows)
    batches = [rows[:4], rows[4:]]
    from_host = train.fit_batches(start(), counted, SGD, batches, steps=2, eval_every=2, validation=batches)
    for record in (on_device.history[-1], from_host.history[-1]):
        for name, value in wanted.items():
            assert record.metrics[f"train_{name}"] == value
    for name, value in wanted.items():
        assert from_host.history[-1].metrics[f"val_{name}"] == value
        assert train.evaluate(counted, jnp.ones(3), rows, batch_size=4)[name] == value


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda value: value, r"loss: expected it to return \(scalar, {name: scalar}\), got array; without metrics"),
        (lambda value: (value, None), r"loss: expected it to return \(scalar, {name: scalar}\), got \("),
        (lambda value: (value, {}, value), r"loss: expected it to return \(scalar, {name: scalar}\), got \("),
        (lambda value: (value, {"each": jnp.ones(3)}), r"loss: metric 'each': expected a scalar, got shape \(3,\)"),
        (lambda value: (value, {"text": "abc"}), "loss: metric 'text': expected an array, got str"),
        (lambda value: (value, {3: 1.0}), "loss: expected metrics named by str, got 3"),
        (lambda value: (value[None], {}), r"loss: expected a scalar, got shape \(1,\); take its mean"),
        (lambda value: (3, {}), "loss: expected a floating scalar, got dtype int32"),
        (lambda value: (value, {"z": 1j}), "loss: metric 'z': expected a real number, got dtype complex64"),
    ],
)
def test_what_a_loss_may_not_return_is_named(returned, message):
    def wrong(params, batch, key):
        return returned(loss(params, batch, key)[0])

    for call in (
        lambda: fit(start(), wrong, SGD, X),
        lambda: train.fit_batches(start(), wrong, SGD, [X], steps=1),
        lambda: train.evaluate(wrong, jnp.ones(3), X),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            call()


class Tensor:
    """Of another library: it has a shape and a dtype, and can be made an array of NumPy."""

    shape, dtype, ndim = (8, 3), np.dtype(np.float32), 2

    def __array__(self, dtype=None, copy=None):
        return X


WRONG = {
    "list of samples": (list(X), "arrays in tuples or dicts, got a list of 8; join samples with np.stack"),
    "list of pairs": ([(X[0], 1.0)], "arrays in tuples or dicts, got a list of 1"),
    "text": ("abc", "an array of numbers, got 'abc'"),
    "tensor": (Tensor(), "an array of NumPy or JAX, got .*Tensor; convert it with np.asarray"),
    "strings": (X.astype(str), "an array of numbers, got dtype <U"),
    "dates": (X.astype("timedelta64[s]"), "an array of numbers, got dtype timedelta64"),
    "mask": (np.ma.masked_array(X), "an array without a mask, got a masked one"),
    "large": (np.full((8, 3), 2**31), "numbers that int32 holds, got 2147483648 to 2147483648"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_data_that_are_none_are_named(kind):
    wrong, message = WRONG[kind]
    for name, call in {
        "data": lambda: fit(start(), loss, SGD, {"x": wrong}),
        "validation": lambda: fit(start(), loss, SGD, X, validation=wrong),
        "batches": lambda: train.fit_batches(start(), loss, SGD, [{"x": wrong}], steps=1),
    }.items():
        with pytest.raises((TypeError, ValueError), match=rf"^{name}(\['x'\])?: expected {message}"):
            call()


def test_arrays_of_another_byte_order_are_converted():
    wanted = fit(start(), loss, SGD, X, validation=X)
    swapped = X.astype(">f4")
    found = fit(start(), loss, SGD, swapped, validation=swapped)
    batches = train.fit_batches(start(), loss, SGD, [swapped] * 4, steps=4, validation=[swapped])
    np.testing.assert_array_equal(found.state.params, wanted.state.params)
    np.testing.assert_array_equal(found.history[-1].metrics["val_loss"], wanted.history[-1].metrics["val_loss"])
    same = train.fit_batches(start(), loss, SGD, [X] * 4, steps=4, validation=[X])
    np.testing.assert_array_equal(batches.state.params, same.state.params)


def test_memory_that_is_filled_again_is_not_read_later():
    """A loader of one buffer: while steps run in the background it writes the next batch over the last."""

    def batches(memory=None):
        for index in range(40):
            buffer = np.empty((256, 64), np.float32) if memory is None else memory
            buffer[...] = np.random.default_rng(index).normal(size=buffer.shape)
            yield buffer

    # JAX takes over memory that begins at a multiple of 64 bytes as it is.
    spare = np.empty(256 * 64 + 16, np.float32)
    begin = -spare.ctypes.data % 64 // 4
    memory = spare[begin : begin + 256 * 64].reshape(256, 64)

    def slow(params, batch, key):
        return sum(jnp.mean((jnp.tanh(batch @ params["w"]) @ params["v"] - n) ** 2) for n in range(4)), {}

    params = {"w": jnp.full((64, 64), 0.1), "v": jnp.full((64, 64), 0.1)}
    state = train.init_state(params, SGD, jax.random.key(0))
    own = list(batches())
    options = {"steps": 40, "eval_every": 40, "validation": [own[0], own[1]]}
    wanted = train.fit_batches(state, slow, SGD, own, **options)
    found = train.fit_batches(state, slow, SGD, batches(memory), **options)
    np.testing.assert_array_equal(found.state.params["w"], wanted.state.params["w"])


def weighed(params, batch, key):
    weight = (batch[:, 0] > 10).sum() if key is None else len(batch)
    return loss(params, batch, key)[0], {"weight": weight}


def test_validation_that_counts_for_nothing_is_named():
    message = "validation: expected data that count for something, got a weight of 0 in all of them"
    with pytest.raises(ValueError, match=message):
        fit(start(), weighed, SGD, X, validation=X)
    with pytest.raises(ValueError, match=message):
        train.fit_batches(start(), weighed, SGD, [X] * 4, steps=4, validation=[X])
    seeds = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), start())
    with pytest.raises(ValueError, match=message):
        fit(seeds, weighed, SGD, np.stack([X, X]), validation=np.stack([X + 20, X]), data_axis=0)


class Twice:
    """Batches that can be read twice, once to look at them and once to evaluate."""

    times = 2

    def __iter__(self):
        self.times -= 1
        return iter([X] if self.times >= 0 else [])


def test_validation_that_is_used_up_is_named():
    with pytest.raises(ValueError, match="validation: expected the same batches every time, got none this time"):
        train.fit_batches(start(), loss, SGD, [X] * 4, steps=4, eval_every=2, validation=Twice())


def test_many_shapes_of_batches_are_warned_of():
    def sequences(params, batch, key):
        return (batch.mean() - params.sum()) ** 2, {}

    batches = [np.ones((2, length), np.float32) for length in range(1, 51)]
    with pytest.warns(UserWarning, match="batches: 50 shapes so far, each compiled for itself"):
        train.fit_batches(start(), sequences, SGD, batches, steps=50)


@pytest.mark.parametrize("data_axis", [None, 0])
def test_a_share_of_the_data_is_for_validation(data_axis):
    """The last samples, as in Keras."""
    state, data = start(), (X, {"y": np.arange(8.0, dtype=np.float32)})
    if data_axis == 0:
        state, data = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), (state, data))

    def fields(params, batch, key):
        return jnp.mean((batch[0] @ params - batch[1]["y"]) ** 2), {}

    own = () if data_axis is None else (slice(None),)
    before = jax.tree.map(lambda leaf: leaf[(*own, slice(6))], data)
    after = jax.tree.map(lambda leaf: leaf[(*own, slice(6, None))], data)
    options = {"batch_size": 3, "data_axis": data_axis}
    found = fit(state, fields, SGD, data, validation_split=0.25, **options)
    wanted = fit(state, fields, SGD, before, validation=after, **options)
    np.testing.assert_array_equal(found.state.params, wanted.state.params)
    np.testing.assert_array_equal(found.history[-1].metrics["val_loss"], wanted.history[-1].metrics["val_loss"])


def test_a_wrong_share_is_named():
    for share in (0, 1, -0.5, float("nan")):
        with pytest.raises(ValueError, match="validation_split: expected a number between 0 and 1"):
            fit(start(), loss, SGD, X, validation_split=share)
    with pytest.raises(ValueError, match="validation_split: expected validation or a share of the data, one of them"):
        fit(start(), loss, SGD, X, validation=X, validation_split=0.5)
    with pytest.raises(ValueError, match="validation_split: expected samples on both sides, got 0 of 8 to train on"):
        fit(start(), loss, SGD, X, validation_split=0.99)
    with pytest.raises(ValueError, match="validation_split: expected none with draw"):
        train.fit(start(), loss, SGD, draw=lambda key: jnp.ones((4, 3)), steps=1, validation_split=0.5)


def test_who_hunts_nan_finds_none_of_ours(tmp_path):
    with jax.debug_nans(True), train.Checkpoints(tmp_path) as checkpoints:
        state = train.init_state(jnp.ones(3), SGD, jax.random.key(0), ema=True)
        seeds = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), state)
        options = {"validation": X, "ema_decay": 0.9, "on_nonfinite": "halve", "eval_every": 2}
        for steps in (2, 5):
            hooks = train.Hooks(checkpoints=checkpoints, probe=jnp.copy, probe_every=2)
            assert fit(seeds, loss, SGD, X, steps=steps, hooks=hooks, **(options | {"clip_norm": 1.0})).finished
        assert train.fit_batches(state, loss, SGD, [X] * 5, steps=5, **(options | {"validation": [X]})).finished
        assert train.fit(start(), loss, SGD, draw=lambda key: jax.random.normal(key, (4, 3)), steps=3).finished

        def infinite(params, batch, key):
            return (params / 0).sum(), {}

        with pytest.raises(FloatingPointError):
            fit(start(), infinite, SGD, X)
