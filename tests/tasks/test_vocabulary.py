"""Tokens and their numbers: vocabularies, labels, units of text."""

import subprocess
import sys
import unicodedata

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from recur import tasks
from recur.tasks import _words

WORDS = [["나는", "밥을", "먹는다"], ["나는", "잔다"], ["the", "cat"], ["the", "나는"]]


def test_frequent_tokens_come_first_and_ties_by_code_point():
    vocabulary = tasks.Vocabulary.build(WORDS)
    assert vocabulary.tokens == ("나는", "the", *sorted(["밥을", "먹는다", "잔다", "cat"]))
    assert len(vocabulary) == 10
    assert tasks.Vocabulary.build(reversed(WORDS)) == vocabulary


def test_rare_tokens_can_be_left_out():
    assert tasks.Vocabulary.build(WORDS, least_count=2).tokens == ("나는", "the")
    assert tasks.Vocabulary.build(WORDS, most=1).tokens == ("나는",)


def test_unknown_tokens_are_marked_counted_and_reported():
    vocabulary = tasks.Vocabulary.build(WORDS, least_count=2)
    encoded = vocabulary.encode_all([["the", "dog"], ["고양이", "나는", "dog"]], begin=True, end=True)
    assert [ids.tolist() for ids in encoded.ids] == [[2, 5, 1, 3], [2, 1, 4, 1, 3]]
    assert all(ids.dtype == np.int32 for ids in encoded.ids)
    assert encoded.unknown == tasks.Unknown(count=3, total=5, first="dog")
    assert str(encoded.unknown) == "3 of 5 tokens unknown (60.00 %), first 'dog'; each replaced by <unknown>"
    assert str(vocabulary.encode_all([["the"]]).unknown) == "0 of 1 tokens unknown"


def test_strict_refuses_the_first_unknown_token():
    vocabulary = tasks.Vocabulary.build(WORDS)
    with pytest.raises(ValueError, match="got '고양이' at place 1 of sequence 2; leave out strict"):
        vocabulary.encode_all([["the"], ["cat"], ["the", "고양이", "x"]], strict=True)


def test_marks_are_no_spellings():
    vocabulary = tasks.Vocabulary.build([["<pad>", "a", "<end>"]])
    ids = vocabulary.encode(["a", "<end>", "<pad>"], end=True)
    assert ids.min() == 3
    assert vocabulary.decode(ids) == ["a", "<end>", "<pad>"]


def test_a_text_is_a_sequence_of_its_characters():
    vocabulary = tasks.Vocabulary.build(["한글 ok", "🙂"])
    assert "".join(vocabulary.decode(vocabulary.encode("글🙂 한"))) == "글🙂 한"


def test_spelling_is_cut_and_padded():
    vocabulary = tasks.Vocabulary(("a", "b", "가"))
    assert vocabulary.encode_spelling(["가", "abbab", "x"], 3).tolist() == [[6, 0, 0], [4, 5, 5], [1, 0, 0]]


def test_vocabulary_and_labels_are_saved(tmp_path):
    vocabulary, labels = tasks.Vocabulary.build(WORDS), tasks.Labels.build(["긍정", "부정", "긍정"])
    vocabulary.save(tmp_path / "vocabulary.json")
    labels.save(tmp_path / "labels.json")
    assert tasks.Vocabulary.load(tmp_path / "vocabulary.json") == vocabulary
    assert tasks.Labels.load(tmp_path / "labels.json") == labels
    assert "나는" in (tmp_path / "vocabulary.json").read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.json", "vocabulary.json"]
    with pytest.raises(ValueError, match="expected a saved vocabulary, got something else"):
        tasks.Vocabulary.load(tmp_path / "labels.json")
    with pytest.raises(ValueError, match="expected a saved labels, got .*none.json: No such file"):
        tasks.Labels.load(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"kind": "voc')
    with pytest.raises(ValueError, match="got no JSON in .*half.json"):
        tasks.Vocabulary.load(tmp_path / "half.json")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: tasks.Vocabulary.build([]), "occurs at least 1 times, got none among 0"),
        (lambda: tasks.Vocabulary.build(["ab"], least_count=2), "occurs at least 2 times, got none among 2"),
        (lambda: tasks.Vocabulary(("a", "b", "a")), "tokens: expected each once, got 'a' twice"),
        (lambda: tasks.Labels(()), "names: expected at least one"),
        (lambda: tasks.Labels(("x", "y")).encode(["x", "z"]), r"expected a label of \['x', 'y'\], got 'z' at item 1"),
        (lambda: tasks.split_text("a", "letters"), "unit: expected one of .* got 'letters'"),
        (lambda: tasks.join_text("a", "letters"), "unit: expected one of .* got 'letters'"),
    ],
)
def test_wrong_arguments_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


TEXT = "It's 3,5 m: «나는 간다», e.g. well-known\n(so) 🙂\tend!\n"


@pytest.mark.parametrize("unit", ["characters", "bytes"])
def test_characters_and_bytes_come_back(unit):
    units = tasks.split_text(TEXT, unit)
    assert len(units) == len(TEXT if unit == "characters" else TEXT.encode())
    assert all(len(one) == 1 for one in units)
    assert tasks.join_text(units, unit) == TEXT


def test_words():
    words = tasks.split_text(TEXT, "words")
    assert words[:9] == ["It's", "3,5", "m", ":", "«", "나는", "간다", "»", ","]
    assert words[9:] == ["e", ".", "g", ".", "well-known", "\n", "(", "so", ")", "🙂", "end", "!", "\n"]
    assert tasks.join_text(words[10:], "words") == ". g. well-known\n(so) 🙂 end!\n"


SCRIPTS = {
    "Hindi": "मुझे हिन्दी पसंद है। क्या?",
    "Bengali": "আমি বাংলা ভালোবাসি।",
    "Tamil": "தமிழ் மொழி, இனிது!",
    "Telugu": "తెలుగు భాష.",
    "Malayalam": "ക്‍ഷ ന്‍",
    "Thai": "ภาษาไทย ครับ",
    "Khmer": "ភាសា​ខ្មែរ។ ល្អ",
    "Burmese": "မြန်မာ စာ။",
    "Tibetan": "བོད་སྐད།",
    "Arabic": "اَلْعَرَبِيَّةُ، كيف حالك؟ (نعم)",
    "Persian": "می‌خواهم بروم؛ باشد",
    "Urdu": "یہ اردو ہے۔ اچھا",
    "Hebrew": "אֲנִי צה״ל, בית־ספר!",
    "Yoruba": "ọ̀rọ̀ Yorùbá",
    "Amharic": "ሰላም፡ለዓለም።",
    "Armenian": "Բարեւ։ Այո",
    "Georgian": "გამარჯობა, კი.",
    "Greek": "Καλημέρα· τι κάνεις;",
    "Russian": "Привет, мир: из-за «леса».",
    "Chinese": "你好。（再见）我用Python写。",
    "Japanese": "これは「ペン」です。々ー、はい。",
    "Korean": "나는 간다, 집에!",
    "Spanish": "¿Qué? ¡Sí! l·l",
    "French": "L’été d'hier, aujourd'hui.",
    "German": "Die „Straße“ ist 3,5 km „lang“.",
    "English": "Don't “ever” (so) stop: well-known, 12:30 and 3.5.2%!\nNext [line].",
    "emoji": "👨‍👩‍👧 🇩🇪 🇫🇷 👍🏽 1️⃣ #️⃣ ❤️ x",
}


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS)
def test_words_of_every_script_come_back(text):
    words = tasks.split_text(text, "words")
    assert tasks.join_text(words, "words") == text
    # No mark and no joiner is a word of its own.
    assert not any(unicodedata.category(word[0]) in ("Mn", "Mc", "Me") or word[0] in "‌‍" for word in words)


def test_what_is_one_word():
    for script, expected in {
        "Hindi": ["मुझे", "हिन्दी", "पसंद", "है", "।", "क्या", "?"],
        "Tamil": ["தமிழ்", "மொழி", ",", "இனிது", "!"],
        "Persian": ["می‌خواهم", "بروم", "؛", "باشد"],
        "Hebrew": ["אֲנִי", "צה״ל", ",", "בית־ספר", "!"],
        "Thai": ["ภาษาไทย", "ครับ"],
        "Chinese": ["你好", "。", "（", "再见", "）", "我用Python写", "。"],
        "emoji": ["👨‍👩‍👧", "🇩🇪", "🇫🇷", "👍🏽", "1️⃣", "#️⃣", "❤️", "x"],
    }.items():
        assert tasks.split_text(SCRIPTS[script], "words") == expected
    signs = "1..2 x.5 5.x -x a--b 'b' .́ a1.5 ‏ש"
    assert tasks.split_text(signs, "words") == [
        *("1", ".", ".", "2", "x", ".", "5", "5", ".", "x", "-", "x", "a", "-", "-", "b", "'", "b", "'"),
        *(".́", "a1.5", "‏", "ש"),
    ]


@given(st.text(st.one_of(st.characters(), st.sampled_from("a1.,-'’()!́‍​।。¿ \n"))))
def test_split_words_are_split_so_again_when_joined(text):
    words = tasks.split_text(unicodedata.normalize("NFC", text), "words")
    assert tasks.split_text(tasks.join_text(words, "words"), "words") == words


def test_a_long_word_takes_little_memory():
    """A group of a pattern that is repeated takes dozens of bytes for every letter, which tracemalloc does not see."""
    code = (
        "import resource, sys\n"
        "from recur import tasks\n"
        "tasks.split_text('a-b c', 'words')\n"
        "texts = ['a-' * 2_000_000 + 'a', 'a' + '-' * 4_000_000, '1.' * 2_000_000, 'a' * 4_000_000]\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "counts = [len(tasks.split_text(text, 'words')) for text in texts]\n"
        "assert counts == [1, 4_000_001, 2, 1], counts\n"
        "kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "assert kib < 20 * 4_000_000 / 1024, kib\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_regex_words_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "regex", None)
    _words._patterns.cache_clear()
    with pytest.raises(ImportError, match=r'expected regex, got none; pip install "recur-jax\[data\]"'):
        tasks.split_text("a b", "words")
    assert tasks.split_text("a b", "characters") == ["a", " ", "b"]


def test_damaged_bytes_and_marks_can_be_shown():
    assert tasks.join_text(["í", "<unknown>", "a"], "bytes") == "�<unknown>a"


def test_korean_has_one_spelling(tmp_path):
    composed = "한글을 배운다"
    (tmp_path / "a.txt").write_text(unicodedata.normalize("NFD", composed), encoding="utf-8")
    assert tasks.read_text(tmp_path / "a.txt") == composed
    assert len(tasks.read_text(tmp_path / "a.txt", nfc=False)) > len(composed)
    assert tasks.read_lines(tmp_path / "a.txt") == [composed]
    assert list(tasks.Lines(tmp_path / "a.txt")) == [composed]
