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
        (lambda: tasks.batches([{"ids": []}], 2, pad=PAD), ValueError, "got 'ids' empty at item 0"),
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
