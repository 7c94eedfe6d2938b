"""Batches against plain loops, and iterators that are stopped and go on."""

import itertools
import json

import grain
import jax
import numpy as np
import pytest

from recur import tasks

RNG = np.random.default_rng(0)
ITEMS = [{"ids": RNG.integers(1, 99, n), "label": np.int32(n)} for n in RNG.integers(1, 40, 53)]
PAD = {"ids": 0}


def rows(batch):
    """What each valid row of a batch holds, without the padding."""
    kept = np.flatnonzero(batch["valid"])
    return [(int(batch["index"][row]), batch["ids"][row, : batch["ids_lengths"][row]].tolist()) for row in kept]


def expected():
    return [(place, item["ids"].tolist()) for place, item in enumerate(ITEMS)]


def assert_equal(batch, other):
    assert batch.keys() == other.keys()
    for name, array in batch.items():
        np.testing.assert_array_equal(array, other[name])


@pytest.mark.parametrize("buckets", [1, 4, [10, 20, 50]])
@pytest.mark.parametrize("shuffled", [False, True])
def test_every_item_comes_once_an_epoch(key, buckets, shuffled):
    made = tasks.batches(ITEMS, 8, pad=PAD, buckets=buckets, key=key if shuffled else None, epochs=2)
    assert (made.steps_per_epoch, len(made)) == (7, 14)
    found = list(made)
    assert len(found) == 14
    for epoch in (found[:7], found[7:]):
        assert sorted(row for batch in epoch for row in rows(batch)) == expected()
    for batch in found:
        # Padding and copies hold nothing of their own.
        after = np.arange(batch["ids"].shape[1]) >= batch["ids_lengths"][:, None]
        assert (batch["ids"][after] == 0).all()
        np.testing.assert_array_equal(batch["label"], [ITEMS[place]["label"] for place in batch["index"]])
        assert batch["ids"].shape[0] == 8
    shapes = {batch["ids"].shape[1] for batch in found}
    assert len(shapes) <= (buckets if isinstance(buckets, int) else 3)


def test_without_a_key_the_order_is_kept():
    found = [row for batch in tasks.batches(ITEMS, 8, pad=PAD) for row in rows(batch)]
    assert found == expected()


def test_buckets_save_padding(key):
    def padded(buckets):
        return sum(batch["ids"].size for batch in tasks.batches(ITEMS, 8, pad=PAD, buckets=buckets, key=key))

    assert padded(5) < 0.75 * padded(1)


@pytest.mark.parametrize("buckets", [1, 2, 3, 9])
def test_buckets_pad_the_least_that_is_possible(buckets):
    lengths = np.array([3, 3, 3, 4, 7, 7, 8, 15, 15, 40])
    items = [{"ids": np.ones(n)} for n in lengths]
    found = sum(batch["ids"].size for batch in tasks.batches(items, 1, pad=PAD, buckets=buckets))

    def padded(bounds):
        return sum(min(bound for bound in (*bounds, 40) if bound >= n) for n in lengths)

    assert found == min(map(padded, itertools.combinations([3, 4, 7, 8, 15, 40], min(buckets - 1, 6))))


def test_the_key_draws_another_order_in_every_epoch(key):
    def order(key):
        return [batch["index"].tolist() for batch in tasks.batches(ITEMS, 8, pad=PAD, key=key, epochs=2)]

    first = order(key)
    assert order(key) == first
    assert first[:7] != first[7:]
    assert order(jax.random.key(1)) != first
    assert order(jax.random.PRNGKey(0)) == first  # the old kind of key, of the same words


@pytest.mark.parametrize("buckets", [1, 4])
def test_dropping_leaves_out_others_in_every_epoch(key, buckets):
    made = tasks.batches(ITEMS, 8, pad=PAD, remainder="drop", key=key, epochs=30, buckets=buckets)
    assert made.steps_per_epoch == 6
    left_out = []
    for epoch in range(30):
        seen = np.concatenate([made[epoch * 6 + step]["index"] for step in range(6)])
        assert len(set(seen.tolist())) == 48
        left_out.append(set(range(53)) - set(seen.tolist()))
    assert len(set.union(*left_out)) > 40  # 53 (1 - (48/53)^30) = 50


@pytest.mark.parametrize("read_ahead", [0, 2])
@pytest.mark.parametrize("kind", ["padded", "stream"])
def test_an_iterator_goes_on_where_it_was_saved(key, kind, read_ahead):
    def make():
        if kind == "stream":
            return tasks.stream_batches(np.arange(100), 3, 5, epochs=None, read_ahead=read_ahead)
        return tasks.batches(ITEMS, 8, pad=PAD, buckets=3, key=key, epochs=None, read_ahead=read_ahead)

    iterator = iter(make())
    assert isinstance(iterator, grain.DatasetIterator)
    for _ in range(9):  # into the second epoch
        next(iterator)
    state = json.loads(json.dumps(iterator.get_state()))
    following = [next(iterator) for _ in range(4)]
    other = iter(make())
    other.set_state(state)
    for step, batch in enumerate(following):
        assert_equal(next(other), batch)
        assert_equal(make()[9 + step], batch)


def test_two_fields_share_a_length_and_matrices_are_padded():
    items = [{"a": np.ones((n, 2), np.float32), "b": np.arange(2 * n)} for n in (1, 3)]
    (batch,) = tasks.batches(items, 2, pad={"a": -1, "b": 7})
    assert batch["a"].shape == (2, 6, 2)
    assert batch["a"].dtype == np.float32
    np.testing.assert_array_equal(batch["a"][0, :, 0], [1, -1, -1, -1, -1, -1])
    np.testing.assert_array_equal(batch["b"], [[0, 1, 7, 7, 7, 7], [0, 1, 2, 3, 4, 5]])
    np.testing.assert_array_equal(batch["a_lengths"], [1, 3])
    np.testing.assert_array_equal(batch["b_lengths"], [2, 6])


def test_lines_of_a_file_are_items(tmp_path):
    (tmp_path / "a.txt").write_text("가나다\n라\n마바\n", encoding="utf-8")
    vocabulary = tasks.Vocabulary(tuple("가나다라마바"))
    items = grain.MapDataset.source(tasks.Lines(tmp_path / "a.txt")).map(lambda line: {"ids": vocabulary.encode(line)})
    (batch,) = tasks.batches(items, 3, pad=PAD)
    np.testing.assert_array_equal(batch["ids"], [[4, 5, 6], [7, 0, 0], [8, 9, 0]])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: tasks.batches([], 2, pad=PAD), ValueError, "items: expected at least one, got none"),
        (
            lambda: tasks.batches([{"a": 1}, {"b": 1}], 2, pad={}),
            ValueError,
            r"same fields .* \['b'\] at item 1",
        ),
        (
            lambda: tasks.batches([{"a": [1]}, {"a": [1, 2]}], 2, pad={}),
            ValueError,
            r"items\[1\]\['a'\]: .*shape",
        ),
        (lambda: tasks.batches([{"a": ["x"]}], 2, pad={"a": 0}), TypeError, r"items\[0\]\['a'\]: expected numbers"),
        (lambda: tasks.batches([{"a": np.zeros(2, "i4,f4")}], 2, pad={"a": 0}), TypeError, "expected numbers"),
        (
            lambda: tasks.batches([{"a": [2**63]}, {"a": [-1]}], 2, pad={"a": 0}),
            TypeError,
            "beside uint64 .* int64",
        ),
        (lambda: tasks.batches(ITEMS, 2, pad={"x": 0}), ValueError, r"fields \['ids', 'label'\], got 'x' at item 0"),
        (lambda: tasks.batches(ITEMS, 2, pad=PAD, max_length=30), ValueError, "at most 30, got length 3. at item"),
        (lambda: tasks.batches(ITEMS, 2, pad=PAD, buckets=[9, 20]), ValueError, r"buckets: .*got \[9, 20\]"),
        (lambda: tasks.batches(ITEMS, 2, pad=PAD, buckets=0), ValueError, "buckets: expected a whole number >= 1"),
        (lambda: tasks.batches(ITEMS, 2, pad=PAD, remainder="no"), ValueError, "remainder: expected 'keep' or"),
        (lambda: tasks.batches(ITEMS, 99, pad=PAD, remainder="drop"), ValueError, "batch_size: .* the 53 items"),
        (lambda: tasks.batches(ITEMS, 0, pad=PAD), ValueError, "batch_size: expected a whole number >= 1"),
        (lambda: tasks.batches(ITEMS, 2, pad=PAD, key=7), TypeError, "key: expected a PRNG key"),
        (lambda: tasks.batches(ITEMS, 2, pad=PAD, epochs=0), ValueError, "epochs: expected a whole number >= 1"),
        (lambda: tasks.stream_batches(np.zeros((2, 9), int), 2, 2), ValueError, r"ids: .*got shape \[2, 9\]"),
        (lambda: tasks.stream_batches(np.arange(12), 3, 4), ValueError, "ids: expected more than 12, .*got 12"),
        (lambda: tasks.stream_batches(np.arange(9), 3, 4, remainder="x"), ValueError, "remainder: expected"),
    ],
)
def test_wrong_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize(("count", "streams", "length"), [(41, 4, 5), (42, 4, 5), (60, 4, 5), (13, 3, 4), (4, 5, 3)])
def test_a_kept_stream_has_every_target_once(count, streams, length):
    made = list(tasks.stream_batches(np.arange(count), streams, length, remainder="keep"))
    targets = np.concatenate([batch["targets"][batch["mask"]] for batch in made])
    assert sorted(targets.tolist()) == list(range(1, count))
    for batch in made:
        np.testing.assert_array_equal(batch["targets"][batch["mask"]], batch["inputs"][batch["mask"]] + 1)
    assert [bool(batch["first"]) for batch in made] == [True] + [False] * (len(made) - 1)
    # Row by row, each window begins where the one before ended.
    for before, after in zip(made, made[1:], strict=False):
        kept = after["mask"][:, 0]
        np.testing.assert_array_equal(after["inputs"][kept, 0], before["targets"][kept, -1])


def test_a_dropped_stream_fills_every_window():
    made = list(tasks.stream_batches(np.arange(64), 3, 4))
    assert len(made) == 5  # 63 targets, 21 a stream
    assert all(batch["mask"].all() for batch in made)
    np.testing.assert_array_equal(made[4]["inputs"][:, 0], [16, 37, 58])


def test_the_numbers_of_all_items_are_kept():
    """The dtype of a field is that of all items, in every batch, whatever the order."""
    items = [{"x": [1, 2], "y": 1}, {"x": [0.5, 0.7, -1.9], "y": 2.5}, {"x": [], "y": True}]
    (batch,) = tasks.batches(items, 3, pad={"x": 0})
    assert batch["x"].tolist() == [[1, 2, 0], [0.5, 0.7, -1.9], [0, 0, 0]]
    assert batch["x_lengths"].tolist() == [2, 3, 0]
    assert batch["y"].tolist() == [1, 2.5, 1]
    for order in itertools.permutations(items):
        for one in tasks.batches(order, 1, pad={"x": 0}):
            assert (one["x"].dtype, one["y"].dtype) == (np.float64, np.float64)
    narrow = [{"x": np.array([1], np.uint8)}, {"x": np.array([-300], ">i2")}, {"x": []}]
    assert [batch["x"].tolist() for batch in tasks.batches(narrow, 1, pad={"x": -1})] == [[[1]], [[-300]], [[-1]]]
    half = [{"x": jax.numpy.ones(2, "bfloat16")}, {"x": np.array([1.1], np.float32)}]
    assert tasks.batches(half, 2, pad={"x": 0})[0]["x"].dtype == np.float32


def test_empty_matrices_are_padded():
    items = [{"x": []}, {"x": np.ones((2, 3), np.float32)}, {"x": np.ones((0, 3), np.float32)}]
    (batch,) = tasks.batches(items, 3, pad={"x": 7})
    assert batch["x"].shape == (3, 2, 3)
    assert batch["x"].dtype == np.float32
    assert batch["x"].sum(axis=(1, 2)).tolist() == [42, 6, 42]


def test_a_field_that_changes_its_dtype_is_refused():
    """Items that are drawn anew whenever they are asked for."""
    drawn = itertools.count()

    class Items(list):
        def __getitem__(self, place):
            return {"x": [1] if next(drawn) < 2 else [0.5]}

    made = tasks.batches(Items([0, 1]), 2, pad={"x": 0})
    with pytest.raises(TypeError, match="expected dtype int64 in 'x' as at first, got float64"):
        made[0]


@pytest.mark.parametrize("name", ["index", "valid", "ids_lengths"])
def test_names_that_a_batch_needs_are_refused(name):
    with pytest.raises(ValueError, match=f"expected no field '{name}', which a batch has of its own; rename it"):
        tasks.batches([{"ids": [1], name: 1}], 1, pad=PAD)
    # A name that clashes with nothing is any other.
    assert tasks.batches([{"ids": [1], "x_lengths": 5}], 1, pad=PAD)[0]["x_lengths"].tolist() == [5]


@pytest.mark.parametrize(
    ("values", "good", "bad"),
    [
        (np.array([1], np.uint8), (0, 255, np.int64(7), 3.0), (-1, 256, 0.5, np.nan)),
        (np.array([True]), (False, 1, np.True_), (2, -1, 0.5)),
        (np.array([1], np.float16), (0.1, np.nan, -np.inf), (1e5,)),
        (np.array([1], np.int64), (2**62,), (2**63, 1e300)),
    ],
)
def test_the_padding_must_fit(values, good, bad):
    items = [{"x": values}, {"x": values[:0]}]
    for filler in good:
        (batch,) = tasks.batches(items, 2, pad={"x": filler})
        assert batch["x"].dtype == values.dtype
        np.testing.assert_array_equal(batch["x"][1], values.dtype.type(filler))
    for filler in bad:
        with pytest.raises(ValueError, match=r"pad\['x'\]: expected a number that the field's dtype"):
            tasks.batches(items, 2, pad={"x": filler})


def test_streams_refuse_ids_that_32_bits_do_not_hold():
    made = tasks.stream_batches(np.array([0, 1, 2, 3, 2**32 + 1, 5, 6]), 1, 2)
    assert made[0]["targets"].tolist() == [[1, 2]]
    with pytest.raises(ValueError, match="ids: expected at most 2147483647, got 4294967297"):
        made[1]
