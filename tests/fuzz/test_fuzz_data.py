"""Junk where data functions want arrays, texts, items: batches, baselines, metrics, vocabularies."""

import hypothesis.strategies as st
import jax
import numpy as np
from fuzz_cases import answer, cases
from fuzz_strategies import arrays, hostile, numbers, sizes, spoiled

from recur import tasks

KEY = jax.random.key(0)
IDS = np.arange(9, dtype=np.int32) % 4
VALUES = np.arange(12.0).reshape(6, 2)
SENTENCE = tasks.Sentence(("a", "b"), ("NOUN", "VERB"))
WORDS = [["a", "b"], ["b", "c"]]
VOCABULARY = tasks.Vocabulary.build(WORDS)
NAMES = tasks.Labels(("neg", "pos"))
ITEMS = [{"ids": np.arange(1, n + 1), "label": n} for n in (3, 1, 2)]
DIGITS = tasks.Digits(np.ones((3, 8, 8), np.float32), np.arange(3, dtype=np.int32))
ids = st.one_of(arrays(), st.sampled_from([IDS, IDS[:1], -IDS, IDS * 9, IDS.astype(float), IDS[None]]))
words = st.lists(st.one_of(hostile, st.lists(hostile, max_size=3)), max_size=3)
items = st.sampled_from(
    [
        ITEMS,
        [],
        [{}],
        [{"ids": []}],
        [{"ids": 3}],
        [ITEMS[0], {"label": 1}],
        [ITEMS[0], {"ids": np.ones((2, 2)), "label": 1}],
        [{"ids": "abc", "label": "x"}],
        ["abc"],
        [{"ids": np.array(["a"]), "label": None}, ITEMS[1]],
    ]
)


def row(call, own=None, **arguments):
    return call, arguments, own or {}


def first(batches):
    """Makes a few batches; ids that all epochs begin with."""
    return [batches[step] for step in range(min(len(batches), 4))]


DATA = {
    "batches": row(
        lambda **given: first(tasks.batches(**given)),
        {
            "items": items,
            "batch_size": sizes,
            "buckets": st.one_of(sizes, st.lists(sizes, max_size=3)),
            "max_length": sizes,
        }
        | {
            "remainder": hostile,
            "epochs": sizes,
            "pad": st.dictionaries(st.sampled_from(["ids", "x"]), numbers, max_size=2),
        },
        items=ITEMS,
        batch_size=2,
        pad={"ids": 0},
        key=KEY,
    ),
    "stream_batches": row(
        lambda **given: first(tasks.stream_batches(**given)),
        {"ids": ids, "batch_size": sizes, "length": sizes, "epochs": sizes, "remainder": hostile},
        ids=IDS,
        batch_size=2,
        length=2,
    ),
    "hold_out": row(
        tasks.hold_out, {"items": st.one_of(words, arrays()), "every": sizes}, items=list("abcdefg"), every=3
    ),
    "sliding_windows": row(tasks.sliding_windows, {"values": arrays(), "length": sizes}, values=VALUES, length=2),
    "naive_forecast": row(
        tasks.naive_forecast,
        {"values": arrays(), "start": sizes, "period_steps": sizes, "free_running": st.booleans()},
        values=VALUES,
        start=3,
    ),
    "unigram_perplexity": row(
        tasks.unigram_perplexity, {"train": ids, "held_out": ids, "size": sizes}, train=IDS, held_out=IDS, size=4
    ),
    "bigram_perplexity": row(
        tasks.bigram_perplexity, {"train": ids, "held_out": ids, "size": sizes}, train=IDS, held_out=IDS, size=4
    ),
    "majority_accuracy": row(tasks.majority_accuracy, {"train": words, "held_out": words}, train=["a"], held_out=["b"]),
    "majority_tag_accuracy": row(
        tasks.majority_tag_accuracy,
        {"train": st.lists(st.one_of(st.just(SENTENCE), hostile), max_size=2)},
        train=[SENTENCE],
        held_out=[SENTENCE],
    ),
    "token_accuracy": row(
        tasks.token_accuracy, {"predictions": ids, "targets": ids, "mask": arrays()}, predictions=IDS, targets=IDS
    ),
    "exact_match": row(
        tasks.exact_match, {"predictions": words, "references": words}, predictions=["a"], references=["b"]
    ),
    "bleu": row(tasks.bleu, {"predictions": words, "references": words}, predictions=["a b"], references=["a b"]),
    "perplexity": row(tasks.perplexity, {"nats": numbers}, nats=1.0),
    "characters": row(tasks.characters, {"text": hostile}, text="abc"),
    "join_text": row(tasks.join_text, {"tokens": words, "unit": hostile}, tokens=["a"], unit="words"),
    "Vocabulary": row(tasks.Vocabulary, {"tokens": words.map(tuple)}, tokens=("a",)),
    "build": row(
        tasks.Vocabulary.build,
        {"sequences": words, "least_count": sizes, "most": sizes},
        sequences=WORDS,
        least_count=1,
    ),
    "encode": row(VOCABULARY.encode, {"tokens": words, "begin": st.booleans(), "strict": st.booleans()}, tokens=["a"]),
    "encode_spelling": row(VOCABULARY.encode_spelling, {"words": words, "length": sizes}, words=["ab"], length=3),
    "decode": row(VOCABULARY.decode, {"ids": ids}, ids=[1, 4]),
    "Labels": row(tasks.Labels, {"names": words.map(tuple)}, names=("a",)),
    "labels build": row(tasks.Labels.build, {"labels": words}, labels=["a"]),
    "labels encode": row(NAMES.encode, {"labels": words}, labels=["pos"]),
    "labels decode": row(NAMES.decode, {"ids": ids}, ids=[1]),
    "pixel_sequences": row(tasks.pixel_sequences, {"images": arrays()}, images=DIGITS.images, key=KEY),
    "digit_videos": row(
        tasks.digit_videos,
        dict.fromkeys(("count", "frames", "size"), sizes) | dict.fromkeys(("noise", "cover", "change"), numbers),
        key=KEY,
        digits=DIGITS,
        count=2,
    ),
    "read_pairs": row(tasks.read_pairs, {"source": hostile, "target": hostile}, folder="tests", source="a", target="b"),
    "standard_library_source": row(tasks.standard_library_source, {"least_characters": sizes}, least_characters=1),
    "Lines": row(tasks.Lines, {"buffer_bytes": sizes}, path=__file__, buffer_bytes=100),
}


@cases(84, call=spoiled(DATA))
def test_data_functions(call):
    _, function, arguments = call
    answer({*arguments, "data", "names", "tokens"}, function, **arguments)


@cases(17, sequences=st.lists(st.lists(st.text(max_size=2), max_size=4), max_size=4))
def test_a_vocabulary_gives_back_what_it_knows(sequences):
    vocabulary, error = answer({"sequences"}, tasks.Vocabulary.build, sequences)
    if error is None:
        for sequence in sequences:
            assert vocabulary.decode(vocabulary.encode(sequence, begin=True, end=True, strict=True)) == sequence
