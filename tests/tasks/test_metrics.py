"""Metrics and baselines against values computed by hand."""

import math
import pathlib

import jax
import numpy as np
import pytest

from recur import tasks

DATA = pathlib.Path(__file__).parents[3] / "shared" / "data"


def test_token_accuracy_counts_what_the_mask_shows():
    predictions, targets = np.array([[1, 2, 3], [4, 5, 6]]), np.array([[1, 0, 3], [0, 0, 6]])
    assert tasks.token_accuracy(predictions, targets) == 0.5
    mask = np.array([[True, True, True], [False, False, True]])
    assert tasks.token_accuracy(predictions, targets, mask) == 0.75


def test_exact_match_and_perplexity():
    assert tasks.exact_match(["하나", "둘", "셋", "four"], ["하나", "둘 ", "셋", "four"]) == 0.75
    assert tasks.perplexity(math.log(20)) == pytest.approx(20, rel=1e-12)
    assert tasks.perplexity(1e4) == math.inf
    assert math.isfinite(tasks.perplexity(709.5))
    assert math.isnan(tasks.perplexity(math.nan))
    assert tasks.perplexity(-math.inf) == 0


def test_exact_match_takes_lists_tuples_and_arrays_alike():
    entries = [[1, 2], (1, 2), np.array([1, 2], np.uint8), jax.numpy.array([1, 2]), [np.int64(1), 2.0]]
    assert tasks.exact_match(entries, list(reversed(entries))) == 1
    assert tasks.exact_match(entries, [(1, 3)] * 5) == 0
    assert tasks.exact_match(np.array([[1, 2], [3, 4]]), [[1, 2], [3, 5]]) == 0.5
    assert tasks.exact_match([[("a", "b")], ["c"]], [(["a", "b"],), ("c",)]) == 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: tasks.exact_match("abc", ["a", "b", "c"]), "predictions: expected a list of sentences, got 'abc'"),
        (lambda: tasks.exact_match(["a"], "a"), "references: expected a list of sentences, got 'a'"),
        (lambda: tasks.exact_match(["ab"], [["a", "b"]]), "predictions: .*'ab' beside .*'a', 'b'.*split both"),
        (lambda: tasks.bleu("ab", ["a", "b"]), "predictions: expected a list of sentences, got 'ab'"),
        (lambda: tasks.bleu(["ab"], "a"), "references: expected a list of sentences, got 'a'"),
    ],
)
def test_a_bare_string_is_no_list_of_sentences(call, words):
    with pytest.raises(TypeError, match=words):
        call()


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint32, np.uint64])
def test_ids_of_any_integers_count_alike(dtype):
    train, held = np.arange(100) % 90, np.array([89, 0, 3, 50])
    for measure in (tasks.unigram_perplexity, tasks.bigram_perplexity):
        assert measure(train.astype(dtype), held.astype(dtype), 100) == measure(train, held, 100)
    assert tasks.token_accuracy(held.astype(dtype), held) == 1


def test_bleu_by_hand():
    """Precisions 6/7, 3/6, 1/5 and none of 4, which counts as half a one; the reference is a word longer."""
    prediction, reference = "The cat is on the red mat", "the cat is still on the big mat"
    expected = 100 * math.exp(1 - 8 / 7) * (6 / 7 * 3 / 6 * 1 / 5 * 0.5 / 4) ** 0.25
    assert tasks.bleu([prediction], [reference]) == pytest.approx(expected, rel=1e-6)
    assert tasks.bleu(["Das ist gut."], ["das ist gut."], lower=False) < 100
    assert tasks.bleu(["Das ist gut."], ["das ist gut."]) == pytest.approx(100)


TRAIN, HELD = np.array([0, 1, 0, 1, 0, 2]), np.array([0, 1, 2, 0])


def test_ngrams_by_hand():
    # c = 3, 2, 1, 0 of 6; V = 4; predicted are 1, 2, 0.
    assert tasks.unigram_perplexity(TRAIN, HELD, 4) == pytest.approx((3 / 10 * 2 / 10 * 4 / 10) ** (-1 / 3))
    # 0 is followed by 1, 1, 2: (2 + 2 * 0.3) / (3 + 2); 1 by 0, 0 alone: (0 + 1 * 0.2) / (2 + 1); 2 by nothing: 0.4.
    expected = (2.6 / 5 * 0.2 / 3 * 0.4) ** (-1 / 3)
    assert tasks.bigram_perplexity(TRAIN, HELD, 4) == pytest.approx(expected)


@pytest.mark.parametrize("before", range(5))
def test_ngram_probabilities_sum_to_one(before):
    train = np.array([0, 1, 0, 1, 0, 2, 3, 3])
    total = sum(1 / tasks.bigram_perplexity(train, np.array([before, token]), 5) for token in range(5))
    assert total == pytest.approx(1, rel=1e-12)


def sentence(*pairs):
    return tasks.Sentence(*zip(*(pair.split("/") for pair in pairs), strict=True))


def test_majority_tags_by_hand():
    train = [
        sentence("can/AUX", "can/NOUN", "can/AUX", "a/DET", "dog/NOUN", "cat/NOUN"),
        sentence("saw/VERB", "saw/NOUN"),
    ]
    # can -> AUX, saw -> VERB (a tie, it came first), new words -> NOUN, the most frequent of all.
    held = [sentence("can/AUX", "can/NOUN"), sentence("saw/VERB", "saw/NOUN", "new/NOUN", "a/PRON")]
    assert tasks.majority_tag_accuracy(train, held) == 3 / 6


@pytest.mark.parametrize(
    ("file", "accuracy"),
    [("ud_english_ewt/en_ewt-ud-dev.conllu", 0.842), ("ud_korean_gsd/ko_gsd-ud-dev.conllu", 0.706)],
)
def test_majority_tags_of_real_sentences(file, accuracy):
    if not DATA.is_dir():
        pytest.skip("needs the folder ../shared/data beside the checkout")
    train, held = tasks.hold_out(tasks.read_conllu(DATA / file))
    assert tasks.majority_tag_accuracy(train, held) == pytest.approx(accuracy, abs=0.0015)


def test_forecasts_from_the_past():
    values = np.arange(10.0)[:, None] ** 2
    np.testing.assert_array_equal(tasks.naive_forecast(values, 7), values[6:9])
    np.testing.assert_array_equal(tasks.naive_forecast(values, 7, free_running=True), values[[6, 6, 6]])
    np.testing.assert_array_equal(tasks.naive_forecast(values, 7, period_steps=3), values[4:7])
    np.testing.assert_array_equal(
        tasks.naive_forecast(values, 6, period_steps=3, free_running=True), values[[3, 4, 5, 3]]
    )


def test_seasonal_series_against_its_closed_forms(key):
    """Squared errors of persistence, of the season a period ago, and of who knows all but the shock."""
    period, r, s = 12, 0.6, 0.4
    values = tasks.seasonal_series(key, 100_000, period_steps=period, correlation=r, noise=s)
    assert values.shape == (100_000, 1)
    errors = [(values[period:] - tasks.naive_forecast(values, period, period_steps=p)) ** 2 for p in (1, period)]
    season = np.sin(2 * np.pi * np.arange(100_000) / period)[:, None]
    errors.append((values[1:] - season[1:] - r * (values - season)[:-1]) ** 2)
    expected = [
        2 * np.sin(np.pi / period) ** 2 + 2 * s**2 / (1 + r),
        2 * s**2 * (1 - r**period) / (1 - r**2),
        tasks.seasonal_series_floor(noise=s),
    ]
    np.testing.assert_allclose([error.mean() for error in errors], expected, rtol=0.03)
    # Stationary from the first step on.
    first = [tasks.seasonal_series(jax.random.key(seed), 1, correlation=r, noise=s)[0, 0] for seed in range(2000)]
    assert np.var(first) == pytest.approx(s**2 / (1 - r**2), rel=0.13)


def test_sliding_windows():
    values = np.arange(10.0).reshape(5, 2)
    x, y = tasks.sliding_windows(values, 3)
    np.testing.assert_array_equal(x, [values[0:3], values[1:4]])
    np.testing.assert_array_equal(y, values[3:])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: tasks.token_accuracy(np.zeros((2, 3), int), np.zeros(2, int)),
            r"expected the shape of targets .*\(2, 3\), \(2,\)",
        ),
        (lambda: tasks.token_accuracy([1], [1], [False]), "mask: expected a token that counts, got none"),
        (lambda: tasks.exact_match(["a"], ["a", "b"]), "expected one for each reference, got 1 for 2"),
        (lambda: tasks.bleu([], []), "expected one for each reference, got 0 for 0"),
        (lambda: tasks.unigram_perplexity(TRAIN, HELD, 2), "train: expected numbers 0 to 1, got 0 to 2"),
        (lambda: tasks.bigram_perplexity(TRAIN, HELD[:1], 4), "held_out: expected at least 2 tokens, got 1"),
        (lambda: tasks.majority_tag_accuracy([], []), "train: expected sentences in both parts, got 0 and 0"),
        (lambda: tasks.naive_forecast(TRAIN, 6), "start: expected 1 to 5, .* got 6"),
        (lambda: tasks.naive_forecast(TRAIN, 2, period_steps=3), "start: expected 3 to 5, .* got 2"),
        (lambda: tasks.sliding_windows(np.zeros((3, 1)), 3), "length: expected less than the 3 values"),
        (lambda: tasks.seasonal_series(jax.random.key(0), 3, correlation=1), "correlation: expected a number between"),
        (lambda: tasks.seasonal_series(jax.random.key(0), 3, noise=-1), "noise: expected a standard deviation"),
    ],
)
def test_wrong_arguments_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
