"""Tasks of memory against their definitions: 100,000 draws in all, chance levels against the draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur import tasks


def drawn(task, seed, count, *sizes, **options):
    arrays = task(jax.random.key(seed), count, *sizes, **options)
    return [np.asarray(array, np.float64) for array in arrays]


def assert_uniform(counts, quantile):
    """Chi square: `quantile` is exceeded once in a thousand."""
    expected = counts.sum() / counts.size
    assert ((counts - expected) ** 2 / expected).sum() < quantile


def assert_floor_of_squares(floor, targets, guess):
    """The floor is the error of a constant guess, and no constant does better: the guess is the mean."""
    errors = (targets - guess) ** 2
    assert abs(errors.mean() - floor) < 4 * errors.std() / np.sqrt(errors.size)
    assert abs(targets.mean() - guess) < 4 * targets.std() / np.sqrt(targets.size)


@pytest.mark.parametrize(
    ("marks", "length", "pairs"),
    [
        ("halves", 7, [(p, q) for p in range(3) for q in range(3, 7)]),
        ("any", 5, [(p, q) for p in range(5) for q in range(p + 1, 5)]),
        ("hs97", 12, [(p, q) for p in range(5) for q in range(p + 1, 5)]),
    ],
)
def test_adding(marks, length, pairs):
    x, y = drawn(tasks.adding, 1, 20_000, length, marks=marks)
    values = x[..., 0]
    places = [tuple(np.flatnonzero(row)) for row in x[..., 1]]
    counts = np.array([places.count(pair) for pair in pairs])
    assert counts.sum() == len(places)  # no other pair
    assert set(np.unique(x[..., 1])) == {0.0, 1.0}
    assert_uniform(counts, {12: 31.3, 10: 27.9}[len(pairs)])
    low = -1 if marks == "hs97" else 0
    assert low <= values.min() < low + 0.001
    assert 0.999 < values.max() < 1
    total = (values * x[..., 1]).sum(axis=1)
    np.testing.assert_allclose(y[:, 0], 0.5 + total / 4 if marks == "hs97" else total, atol=1e-6)
    assert tasks.adding_floor(marks) == pytest.approx(1 / 24 if marks == "hs97" else 1 / 6, rel=1e-12)
    assert_floor_of_squares(tasks.adding_floor(marks), y, 0.5 if marks == "hs97" else 1.0)


def test_adding_of_1997_begins_early():
    x, _ = drawn(tasks.adding, 2, 2_000, 60, marks="hs97")
    places = np.array([np.flatnonzero(row) for row in x[..., 1]])
    assert places[:, 0].max() == 9
    assert places[:, 1].max() == 28  # the last of 60 // 2 - 1


@pytest.mark.parametrize("lag", [0, 4, 6])
def test_delayed_recall(lag):
    x, y = drawn(tasks.delayed_recall, 3, 5_000, 7, lag)
    np.testing.assert_array_equal(x[..., 1], np.broadcast_to(np.arange(7) == 6 - lag, (5_000, 7)))
    np.testing.assert_array_equal(y[:, 0], x[:, 6 - lag, 0])
    assert tasks.delayed_recall_floor() == pytest.approx(1 / 12, rel=1e-12)
    assert_floor_of_squares(tasks.delayed_recall_floor(), y, 0.5)


def test_copy_memory():
    x, y = drawn(tasks.copy_memory, 4, 3_000, 6, items=4, symbols=3)
    assert x.shape == (3_000, 14, 5)
    np.testing.assert_array_equal(x.sum(axis=-1), 1)
    symbols = x.argmax(axis=-1)
    assert_uniform(np.bincount(symbols[:, :4].ravel()), 13.8)
    np.testing.assert_array_equal(symbols[:, 4:], [[3] * 5 + [4] + [3] * 4] * 3_000)
    np.testing.assert_array_equal(y[:, :10], 3)
    np.testing.assert_array_equal(y[:, 10:], symbols[:, :4])


@pytest.mark.parametrize(
    ("delay", "printed"), [(100, 0.173287), (200, 0.094520), (500, 0.039989), (1000, 0.020387), (2000, 0.010294)]
)
def test_copy_floor_is_the_printed_one(delay, printed):
    assert tasks.copy_memory_floor(delay) == pytest.approx(printed, abs=5e-7)


def test_copy_floor_is_the_loss_of_blanks_and_guesses():
    _, y = drawn(tasks.copy_memory, 5, 100, 6, items=4, symbols=3)
    guess = np.zeros((14, 4))
    guess[:10, 3], guess[10:, :3] = 1.0, 1 / 3
    losses = -np.log(np.take_along_axis(guess[None].repeat(100, 0), y[..., None].astype(int), axis=-1))
    assert losses.mean() == pytest.approx(tasks.copy_memory_floor(6, items=4, symbols=3), rel=1e-12)


def test_selective_copy():
    x, y = drawn(tasks.selective_copy, 6, 6_000, 8, items=2, symbols=3)
    symbols = x.argmax(axis=-1)
    np.testing.assert_array_equal(symbols[:, 6:], 4)
    is_symbol = symbols[:, :6] < 3
    np.testing.assert_array_equal(is_symbol.sum(axis=1), 2)
    np.testing.assert_array_equal(symbols[:, :6][~is_symbol], 3)
    np.testing.assert_array_equal(symbols[:, :6][is_symbol].reshape(-1, 2), y)
    places = np.nonzero(is_symbol)[1].reshape(-1, 2)
    pairs = np.unique(places[:, 0] * 6 + places[:, 1], return_counts=True)[1]
    assert pairs.size == 15
    assert_uniform(pairs, 36.1)
    counts = np.unique(y @ [3, 1], return_counts=True)[1]
    assert_uniform(counts, 26.1)
    # Uniform over 3 symbols: no guess is better than -ln 1/3.
    assert tasks.selective_copy_floor(symbols=3) == pytest.approx(np.log(3), rel=1e-12)


@pytest.mark.parametrize(
    ("relevant", "length", "windows"),
    [
        (2, 100, [(10, 20), (50, 60)]),
        (3, 100, [(10, 20), (33, 43), (66, 76)]),
        (2, 4, [(1, 1), (2, 2)]),
        (3, 5, [(1, 1), (2, 2), (3, 3)]),
        (3, 20, [(2, 4), (6, 8), (13, 15)]),
    ],
)
def test_temporal_order(relevant, length, windows):
    x, y = drawn(tasks.temporal_order, 7, 2_000, length, relevant=relevant)
    symbols = np.array(list("abcdXYEB"))[x.argmax(axis=-1)]
    np.testing.assert_array_equal(x.sum(axis=-1), 1)
    assert set(symbols[:, 0]) == {"E"}
    assert set(symbols[:, -1]) == {"B"}
    assert set(symbols[:, 1:-1].ravel()) <= set("abcdXY")
    is_relevant = np.isin(symbols, ["X", "Y"])
    np.testing.assert_array_equal(is_relevant.sum(axis=1), relevant)
    places = np.nonzero(is_relevant)[1].reshape(-1, relevant)
    for column, (first, last) in zip(places.T, windows, strict=True):
        counts = np.bincount(column)[first:]
        assert counts.size == last - first + 1
        assert_uniform(counts, {1: 1, 3: 13.8, 11: 29.6}[counts.size])
    order = ["".join(row) for row in symbols[is_relevant].reshape(-1, relevant)]
    assert [int(word.replace("X", "0").replace("Y", "1"), 2) for word in order] == y.tolist()
    counts = np.bincount(y.astype(int))
    assert counts.size == 2**relevant
    assert_uniform(counts, {4: 16.3, 8: 24.3}[counts.size])
    # All classes equally often: the entropy is the floor.
    assert tasks.temporal_order_floor(relevant=relevant) == pytest.approx(np.log(counts.size), rel=1e-12)


@pytest.mark.parametrize(
    ("task", "sizes", "x_shape", "y_shape"),
    [
        (tasks.adding, (9,), (9, 2), (1,)),
        (tasks.delayed_recall, (9, 3), (9, 2), (1,)),
        (tasks.copy_memory, (3,), (23, 10), (23,)),
        (tasks.selective_copy, (40,), (40, 16), (16,)),
        (tasks.temporal_order, (9,), (9, 8), ()),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_tasks_can_be_traced_over_keys(task, sizes, x_shape, y_shape):
    keys = jax.random.split(jax.random.key(0), 2)
    x, y = jax.eval_shape(jax.vmap(lambda key: task(key, 3, *sizes, dtype=jnp.bfloat16)), keys)
    assert (x.shape, y.shape) == ((2, 3, *x_shape), (2, 3, *y_shape))
    assert x.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda key: tasks.adding(key, 1, 1), ValueError, "length: expected at least 2 steps with marks='halves'"),
        (lambda key: tasks.adding(key, 1, 5, marks="hs97"), ValueError, "length: expected at least 6 steps"),
        (lambda key: tasks.adding(key, 1, 5, marks="half"), ValueError, "marks: expected one of .* got 'half'"),
        (lambda key: tasks.adding_floor("half"), ValueError, "marks: expected one of"),
        (lambda key: tasks.delayed_recall(key, 1, 5, 5), ValueError, "lag: expected 0 <= lag < length = 5, got 5"),
        (lambda key: tasks.delayed_recall(key, 1, 5, 1.0), TypeError, "lag: expected a whole number, got 1.0"),
        (lambda key: tasks.copy_memory(key, 1, 0), ValueError, "delay: expected a whole number >= 1, got 0"),
        (lambda key: tasks.copy_memory_floor(0), ValueError, "delay: expected a whole number >= 1, got 0"),
        (lambda key: tasks.selective_copy(key, 1, 31), ValueError, r"length: expected at least 2 \* items = 32"),
        (lambda key: tasks.temporal_order(key, 1, 9, relevant=4), ValueError, "relevant: expected 2 .* or 3"),
        (lambda key: tasks.temporal_order(key, 1, 3), ValueError, "length: expected at least 4 steps, got 3"),
        (lambda key: tasks.temporal_order_floor(relevant=1), ValueError, "relevant: expected 2 .* or 3"),
        (lambda key: tasks.adding(0, 1, 5), TypeError, "key: expected a PRNG key"),
    ],
)
def test_a_wrong_argument_is_named(call, error, message, key):
    with pytest.raises(error, match=message):
        call(key)
