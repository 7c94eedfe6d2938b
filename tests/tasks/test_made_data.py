"""Data that come with the package: digits in all their forms, names of numbers, hand-written samples."""

import jax
import numpy as np
import pytest

from recur import tasks


@pytest.fixture(scope="module")
def digits():
    return tasks.load_digits()


def test_digits(digits):
    assert digits.images.shape == (1797, 8, 8)
    assert digits.images.dtype == np.float32
    assert (digits.images.min(), digits.images.max()) == (0.0, 1.0)
    assert sorted(set(digits.labels)) == list(range(10))
    assert [tasks.DIGIT_NAMES[language][7] for language in ("en", "ko")] == ["seven", "칠"]


def test_pixels_in_order_and_permuted(digits, key):
    plain = tasks.pixel_sequences(digits.images)
    permuted = tasks.pixel_sequences(digits.images, key=key)
    assert plain.shape == (1797, 64, 1)
    np.testing.assert_array_equal(plain[:, 8 * 3 + 2, 0], digits.images[:, 3, 2])
    # One order for all images: every step is one and the same pixel of each.
    order = [np.flatnonzero((plain[..., 0] == step[:, None]).all(axis=0)) for step in permuted[..., 0].T]
    places = [place[0] for place in order if place.size == 1]  # some pixels are dark in all images
    assert len(places) > 50
    assert len(set(places)) == len(places)
    assert places != sorted(places)
    np.testing.assert_array_equal(np.sort(permuted, axis=1), np.sort(plain, axis=1))
    np.testing.assert_array_equal(permuted, tasks.pixel_sequences(digits.images, key=key))
    assert not np.array_equal(permuted, tasks.pixel_sequences(digits.images, key=jax.random.key(1)))


def test_videos_show_their_labels(digits, key):
    videos = tasks.digit_videos(key, digits, 60, 20, size=12, noise=0.0)
    assert videos.frames.shape == (60, 20, 12, 12)
    assert videos.frames.dtype == np.float32
    known = {image.tobytes(): label for image, label in zip(digits.images, digits.labels, strict=True)}
    for frames, labels, covered in zip(*videos, strict=True):
        before = None
        for frame, label, is_covered in zip(frames, labels, covered, strict=True):
            boxes = [(r, c, frame[r : r + 8, c : c + 8]) for r in range(5) for c in range(5)]
            found = [
                (r, c)
                for r, c, box in boxes
                if np.isclose(box.sum(), frame.sum())
                and ((box == 0.5).all() if is_covered else known.get(box.tobytes()) == label)
            ]
            assert found
            # It moves by at most a pixel in each direction, wherever it went out of sight.
            place = found[0]
            if before is not None:
                assert max(abs(place[0] - before[0]), abs(place[1] - before[1])) <= 1
            before = place


def test_videos_follow_their_odds_and_their_key(digits, key):
    videos = tasks.digit_videos(key, digits, 2000, 10, size=8, noise=0.5, cover=0.3, change=0.1)
    assert abs(videos.covered.mean() - 0.3) < 4 * np.sqrt(0.21 / 20_000)
    # A change shows when the new image has another label: nine times in ten.
    changes = (videos.labels[:, 1:] != videos.labels[:, :-1]).mean()
    assert abs(changes - 0.09) < 4 * np.sqrt(0.082 / 18_000)
    noise = videos.frames[videos.covered] - 0.5
    assert abs(noise.std() - 0.5) < 0.005
    again = tasks.digit_videos(key, digits, 2000, 10, size=8, noise=0.5, cover=0.3, change=0.1)
    np.testing.assert_array_equal(videos.frames, again.frames)
    other = tasks.digit_videos(jax.random.key(1), digits, 2000, 10, size=8)
    assert not np.array_equal(videos.labels, other.labels)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"count": 0}, ValueError, "count: expected a whole number >= 1"),
        ({"size": 7}, ValueError, "size: expected at least 8"),
        ({"noise": -1.0}, ValueError, "noise: expected a standard deviation >= 0"),
        ({"cover": 1.5}, ValueError, "cover: expected a probability from 0 to 1, got 1.5"),
        ({"change": "x"}, TypeError, "change: expected a number"),
        ({"key": 3}, TypeError, "key: expected a PRNG key"),
    ],
)
def test_wrong_videos_are_named(digits, key, options, error, words):
    with pytest.raises(error, match=words):
        tasks.digit_videos(**{"key": key, "digits": digits, "count": 2} | options)


@pytest.mark.parametrize(
    ("number", "english", "german", "korean"),
    [
        (0, "zero", "null", "영"),
        (1, "one", "eins", "일"),
        (13, "thirteen", "dreizehn", "십삼"),
        (20, "twenty", "zwanzig", "이십"),
        (21, "twenty one", "einundzwanzig", "이십일"),
        (100, "one hundred", "einhundert", "백"),
        (101, "one hundred one", "einhunderteins", "백일"),
        (616, "six hundred sixteen", "sechshundertsechzehn", "육백십육"),
        (1000, "one thousand", "eintausend", "천"),
        (1984, "one thousand nine hundred eighty four", "eintausendneunhundertvierundachtzig", "천구백팔십사"),
        (10_000, "ten thousand", "zehntausend", "만"),
        (21_011, "twenty one thousand eleven", "einundzwanzigtausendelf", "이만천십일"),
        (
            *(101_001, "one hundred one thousand one"),
            *("einhunderteintausendeins", "십만천일"),
        ),
        (
            *(777_777, "seven hundred seventy seven thousand seven hundred seventy seven"),
            *("siebenhundertsiebenundsiebzigtausendsiebenhundertsiebenundsiebzig", "칠십칠만칠천칠백칠십칠"),
        ),
    ],
)
def test_names_of_numbers(number, english, german, korean):
    assert " ".join(tasks.number_words(number)) == english
    assert "".join(tasks.number_words(number, "de")) == german
    assert "".join(tasks.number_words(number, "ko")) == korean


@pytest.mark.parametrize("language", ["en", "de", "ko"])
def test_every_number_has_a_name_of_its_own(language):
    pairs = tasks.number_pairs(range(12_000), language)
    assert len(set(pairs.targets)) == len(set(pairs.sources)) == 12_000
    assert pairs.sources[1984] == "1 9 8 4"
    # Few words make up all names.
    assert len({word for name in pairs.targets for word in name.split()}) <= 33


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((-1,), "expected 0 to 999999, got -1"), ((10**6,), "expected 0 to 999999"), ((1, "fr"), "language: expected")],
)
def test_other_numbers_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        tasks.number_words(*arguments)


def test_sample_of_tagged_sentences():
    sentences = tasks.sample_tagging()
    assert len(sentences) == 60
    assert {tag for sentence in sentences for tag in sentence.tags} == set(tasks.UPOS) - {"X"}
    assert all(len(sentence.words) == len(sentence.tags) >= 3 for sentence in sentences)
    assert sum(any("가" <= letter <= "힣" for letter in sentence.words[0]) for sentence in sentences) == 16


def test_samples_of_opinions_and_translations():
    texts, labels = tasks.sample_sentiment()
    assert [labels.count(label) for label in ("neg", "pos")] == [40, 40]
    assert len(set(texts)) == 80
    sources, targets = tasks.sample_translation()
    assert len(set(sources)) == len(targets) == 60
    assert all(pair[0].split() and pair[0][-1] == pair[1][-1] for pair in zip(sources, targets, strict=True))
    assert len(tasks.sample_paragraph()) == 930


def test_hold_out():
    kept, held = tasks.hold_out(np.arange(25))
    assert held.tolist() == [9, 19]
    assert sorted([*kept, *held]) == list(range(25))
    kept, held = tasks.hold_out(tasks.Pairs(list("abcd"), list("ABCD")), every=2)
    assert (kept, held) == (tasks.Pairs(["a", "c"], ["A", "C"]), tasks.Pairs(["b", "d"], ["B", "D"]))


@pytest.mark.parametrize(
    ("arguments", "every", "words"),
    [([1, 2, 3], 1, "every: expected at least 2"), ([1, 2, 3], 4, "items: expected at least 4 to hold one out, got 3")],
)
def test_too_little_to_hold_out(arguments, every, words):
    with pytest.raises(ValueError, match=words):
        tasks.hold_out(arguments, every=every)
