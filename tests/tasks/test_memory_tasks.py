"""Tasks of memory against their definitions, chance levels against 100,000 draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur import tasks

DRAWS = 100_000


def drawn(task, seed, count, *sizes, **options):
    # One program: operation by operation there would be many to compile.
    arrays = jax.jit(lambda key: task(key, count, *sizes, **options))(jax.random.key(seed))
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
        ("hs97", 12, [(p, q) for p in range(1, 5) for q in range(p + 1, 5)]),
    ],
)
def test_adding(marks, length, pairs):
    x, y = drawn(tasks.adding, 1, DRAWS, length, marks=marks)
    values, markers = x[..., 0], x[..., 1]
    if marks == "hs97":
        np.testing.assert_array_equal(markers[:, [0, -1]], -1)
        markers[:, [0, -1]] = 0
    assert set(np.unique(markers)) == {0.0, 1.0}
    np.testing.assert_array_equal(markers.sum(axis=1), 2)
    places = np.nonzero(markers)[1].reshape(-1, 2)
    found, counts = np.unique(places, axis=0, return_counts=True)
    assert [tuple(pair) for pair in found] == pairs
    assert_uniform(counts, {12: 31.3, 10: 27.9, 6: 20.5}[len(pairs)])
    low = -1 if marks == "hs97" else 0
    assert low <= values.min() < low + 0.001
    assert 0.999 < values.max() < 1
    total = (values * markers).sum(axis=1)
    np.testing.assert_allclose(y[:, 0], 0.5 + total / 4 if marks == "hs97" else total, atol=1e-6)
    assert tasks.adding_floor(marks) == pytest.approx(1 / 24 if marks == "hs97" else 1 / 6, rel=1e-12)
    assert_floor_of_squares(tasks.adding_floor(marks), y, 0.5 if marks == "hs97" else 1.0)


def test_adding_of_1997_begins_early():
    x, _ = drawn(tasks.adding, 2, 2_000, 60, marks="hs97")
    places = np.nonzero(x[..., 1] == 1)[1].reshape(-1, 2)
    assert (places[:, 0].min(), places[:, 0].max()) == (1, 9)
    assert places[:, 1].max() == 28  # the last of 60 // 2 - 1
    # Every step of 10 to 28 is as likely to hold the second mark.
    assert_uniform(np.bincount(places[:, 1], minlength=29)[10:], 42.3)


@pytest.mark.parametrize("lag", [0, 4, 6])
def test_delayed_recall(lag):
    x, y = drawn(tasks.delayed_recall, 3, DRAWS, 7, lag)
    np.testing.assert_array_equal(x[..., 1], np.broadcast_to(np.arange(7) == 6 - lag, (DRAWS, 7)))
    np.testing.assert_array_equal(y[:, 0], x[:, 6 - lag, 0])
    assert tasks.delayed_recall_floor() == pytest.approx(1 / 12, rel=1e-12)
    assert_floor_of_squares(tasks.delayed_recall_floor(), y, 0.5)


@pytest.fixture(scope="module")
def copies():
    return drawn(tasks.copy_memory, 4, DRAWS, 6, items=4, symbols=3)


def test_copy_memory(copies):
    x, y = copies
    assert x.shape == (DRAWS, 14, 5)
    np.testing.assert_array_equal(x.sum(axis=-1), 1)
    symbols = x.argmax(axis=-1)
    assert_uniform(np.bincount(symbols[:, :4].ravel()), 13.8)
    np.testing.assert_array_equal(symbols[:, 4:], [[3] * 5 + [4] + [3] * 4] * DRAWS)
    np.testing.assert_array_equal(y[:, :10], 3)
    np.testing.assert_array_equal(y[:, 10:], symbols[:, :4])


@pytest.mark.parametrize(
    ("delay", "printed"), [(100, 0.173287), (200, 0.094520), (500, 0.039989), (1000, 0.020387), (2000, 0.010294)]
)
def test_copy_floor_is_the_printed_one(delay, printed):
    assert tasks.copy_memory_floor(delay) == pytest.approx(printed, abs=5e-7)


def test_copy_floor_is_the_loss_of_blanks_and_guesses(copies):
    y = copies[1]
    guess = np.zeros((14, 4))
    guess[:10, 3], guess[10:, :3] = 1.0, 1 / 3
    losses = -np.log(guess[np.arange(14), y.astype(int)])
    assert losses.mean() == pytest.approx(tasks.copy_memory_floor(6, items=4, symbols=3), rel=1e-12)


def test_selective_copy():
    x, y = drawn(tasks.selective_copy, 6, DRAWS, 8, items=2, symbols=3)
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
    # All draws where sequences are short: the chance level depends on the order alone.
    x, y = drawn(tasks.temporal_order, 7, DRAWS if length < 10 else 2_000, length, relevant=relevant)
    symbols = np.array(list("abcdXYEB"))[x.argmax(axis=-1)]
    np.testing.assert_array_equal(x.sum(axis=-1), 1)
    assert set(symbols[:, 0]) == {"E"}
    assert set(symbols[:, -1]) == {"B"}
    assert set(np.unique(symbols[:, 1:-1])) <= set("abcdXY")
    is_relevant = np.isin(symbols, ["X", "Y"])
    np.testing.assert_array_equal(is_relevant.sum(axis=1), relevant)
    places = np.nonzero(is_relevant)[1].reshape(-1, relevant)
    for column, (first, last) in zip(places.T, windows, strict=True):
        counts = np.bincount(column)[first:]
        assert counts.size == last - first + 1
        assert_uniform(counts, {1: 1, 3: 13.8, 11: 29.6}[counts.size])
    order = symbols[is_relevant].reshape(-1, relevant) == "Y"
    np.testing.assert_array_equal(order @ 2 ** np.arange(relevant)[::-1], y)
    counts = np.bincount(y.astype(int))
    assert counts.size == 2**relevant
    assert_uniform(counts, {4: 16.3, 8: 24.3}[counts.size])
    # All classes equally often: the entropy is the floor.
    assert tasks.temporal_order_floor(relevant=relevant) == pytest.approx(np.log(counts.size), rel=1e-12)


def test_parity():
    x, y = drawn(tasks.parity, 8, DRAWS, 5)
    assert set(np.unique(x)) == {0.0, 1.0}
    assert_uniform(np.unique(x[..., 0] @ 2 ** np.arange(5), return_counts=True)[1], 61.1)  # 32 patterns
    np.testing.assert_array_equal(y, np.logical_xor.reduce(x[..., 0] == 1, axis=1))
    # Whatever else is known: with one bit missing, both classes are as likely, and no guess is better than -ln 1/2.
    assert_uniform(np.unique(x[:, 1:, 0] @ [1, 2, 4, 8] + 16 * y, return_counts=True)[1], 61.1)
    assert tasks.parity_floor() == pytest.approx(np.log(2), rel=1e-12)


def test_parity_at_every_step():
    x, y = drawn(tasks.parity, 8, 50, 40, every_step=True)
    np.testing.assert_array_equal(y, np.logical_xor.accumulate(x[..., 0] == 1, axis=1))


def test_flip_flop():
    x, y = drawn(tasks.flip_flop, 10, 3_000, 12, bits=3, probability=0.3)
    assert set(np.unique(x)) == {-1, 0, 1}
    held = np.zeros((3_000, 3))
    for step in range(12):
        held = np.where(x[:, step] != 0, x[:, step], held)
        np.testing.assert_array_equal(y[:, step], held)
    assert (x[:, 0] != 0).all()
    # After the first step the signs of three channels, -1, 0 and 1, have their shares of 27 patterns.
    counts = np.bincount(((x[:, 1:] + 1) @ [9, 3, 1]).astype(int).ravel(), minlength=27)
    share = np.array([0.15, 0.7, 0.15])
    expected = counts.sum() * np.einsum("i,j,k->ijk", share, share, share).ravel()
    assert ((counts - expected) ** 2 / expected).sum() < 54.1  # 26 degrees of freedom
    errors = (y - x) ** 2
    floor = tasks.flip_flop_floor(12, probability=0.3)
    assert floor == pytest.approx(0.7 * 11 / 12, rel=1e-12)
    assert errors.mean() == pytest.approx(floor, abs=4 * errors.std() / np.sqrt(errors.size))
    # Without a pulse both signs are as likely, so that 0 is the best guess.
    unseen = y[x == 0]
    assert abs(unseen.mean()) < 6 / np.sqrt(unseen.size / 3)


def test_sine_with_gap():
    x, y = drawn(tasks.sine_with_gap, 9, DRAWS, 12, 4, periods_steps=(4, 9))
    np.testing.assert_array_equal(x[..., 1], np.broadcast_to(np.arange(12) < 8, (DRAWS, 12)))
    np.testing.assert_array_equal(x[:, 8:, 0], 0)
    assert tasks.sine_with_gap_floor() == 0.5
    assert_floor_of_squares(0.5, y, 0.0)
    # A sine obeys s_{t+1} = 2 cos(w) s_t - s_{t-1}: w from what is seen, then on through the gap.
    wave = x[:, :8, 0]
    middle, sides = wave[:, 1:-1], wave[:, 2:] + wave[:, :-2]
    cosine = (middle * sides).sum(axis=1) / (2 * (middle**2).sum(axis=1))
    turns = np.arccos(cosine) / (2 * np.pi)
    assert_uniform(np.histogram(turns, 20, range=(1 / 9, 1 / 4))[0], 43.8)
    before, last = wave[:, -2], wave[:, -1]
    for _ in range(4):
        before, last = last, 2 * cosine * last - before
    np.testing.assert_allclose(last, y[:, 0], atol=1e-4)


def test_a_long_sine_stays_exact():
    x, _ = drawn(tasks.sine_with_gap, 9, 2, 200_000, 1)
    wave = x[:, :-1, 0]
    cosine = [np.linalg.lstsq(w[1:-1, None], w[2:] + w[:-2], rcond=None)[0] / 2 for w in wave[:, :5000]]
    np.testing.assert_allclose(wave[:, 2:] + wave[:, :-2], 2 * np.array(cosine) * wave[:, 1:-1], atol=1e-5)


@pytest.mark.parametrize(
    ("task", "sizes", "x_shape", "y_shape"),
    [
        (tasks.adding, (9,), (9, 2), (1,)),
        (tasks.delayed_recall, (9, 3), (9, 2), (1,)),
        (tasks.copy_memory, (3,), (23, 10), (23,)),
        (tasks.selective_copy, (40,), (40, 16), (16,)),
        (tasks.temporal_order, (9,), (9, 8), ()),
        (tasks.parity, (9,), (9, 1), ()),
        (tasks.flip_flop, (9,), (9, 3), (9, 3)),
        (tasks.sine_with_gap, (9, 3), (9, 2), (1,)),
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
        (lambda key: tasks.adding(key, 1, 7, marks="hs97"), ValueError, "length: expected at least 8 steps"),
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
        (lambda key: tasks.parity(key, 1, 0), ValueError, "length: expected a whole number >= 1, got 0"),
        (lambda key: tasks.sine_with_gap(key, 1, 5, 4), ValueError, "gap: expected 1 to length - 2 = 3 steps, got 4"),
        (lambda key: tasks.sine_with_gap(key, 1, 5, 1, periods_steps=(9, 3)), ValueError, "expected 2 <= shortest <"),
        (lambda key: tasks.flip_flop(key, 1, 5, bits=0), ValueError, "bits: expected a whole number >= 1, got 0"),
        (lambda key: tasks.flip_flop(key, 1, 5, probability=0), ValueError, "probability: expected a number above 0"),
        (lambda key: tasks.flip_flop_floor(5, probability=1.5), ValueError, "probability: expected .* got 1.5"),
        (lambda key: tasks.adding(0, 1, 5), TypeError, "key: expected a PRNG key"),
    ],
)
def test_a_wrong_argument_is_named(call, error, message, key):
    with pytest.raises(error, match=message):
        call(key)
