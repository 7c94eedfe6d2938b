"""Readers of sentences, lines and long texts, against real files where they are, and against broken ones."""

import pathlib
import tracemalloc
import types

import numpy as np
import pytest

from recur import tasks

DATA = pathlib.Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def data():
    if not DATA.is_dir():
        pytest.skip("needs the folder ../shared/data beside the checkout")
    return DATA


def written(tmp_path, name, text, encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def conllu(*rows):
    return "".join("\t".join((i, form, "_", tag, *"______")) + "\n" for i, form, tag in rows)


DOG = conllu(
    ("1", "개가", "NOUN"), ("2-3", "didn't", "_"), ("2", "did", "AUX"), ("3", "n't", "PART"), ("3.1", "x", "X")
)


def test_conllu(tmp_path):
    text = "# text = a\n" + DOG + "\n\n# sent_id = 2\n" + conllu(("1", "짖는다", "VERB"), ("2", ".", "PUNCT"))
    sentences = tasks.read_conllu(written(tmp_path, "a.conllu", text))
    assert sentences == [
        (("개가", "did", "n't"), ("NOUN", "AUX", "PART")),
        (("짖는다", "."), ("VERB", "PUNCT")),
    ]
    windows = "\ufeff" + text.replace("\n", "\r\n")
    assert tasks.read_conllu(written(tmp_path, "b.conllu", windows)) == sentences


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (DOG + "4\tword\tNOUN\n", "expected 10 columns parted by tabs, got 3 in line 6 of .*a.conllu"),
        (DOG + conllu(("5", "a", "DET")), "expected id 4 after 3 words, got '5' in line 6 of"),
        (DOG + conllu(("4-3", "a", "DET")), "expected id 4 after 3 words, got '4-3' in line 6 of"),
        (DOG + conllu(("5-6", "a", "DET")), "expected id 4 after 3 words, got '5-6' in line 6 of"),
        (
            DOG + conllu(("4-5", "a", "_"), ("4", "a", "DET")),
            "expected words up to 5, got 4 after the range in line 6 of .*a.conllu",
        ),
        (
            DOG + conllu(("4-5", "a", "_"), ("4", "a", "DET"), ("5-6", "b", "_")),
            "expected word 5 of the range before, got a range in line 8 of .*a.conllu",
        ),
        (conllu(("1.1", "a", "DET")), "expected id 1 after 0 words, got '1.1' in line 1 of"),
        (conllu(("one", "a", "DET")), "expected an id such as 1, 1-2 or 1.1, got 'one' in line 1 of"),
        (conllu(("1", "", "DET")), "expected text or _ in every column, got column 2 empty in line 1 of"),
        (conllu(("1", "a", "_")), "expected a universal tag of ADJ, .*, got '_' in line 1 of"),
        (conllu(("1", "a", "NN")), "expected a universal tag of ADJ, .*, got 'NN' in line 1 of"),
        ("# only a comment\n\n", "expected CoNLL-U sentences, got none in .*a.conllu"),
        ("", "expected text, got the empty file .*a.conllu"),
    ],
)
def test_malformed_conllu_is_named_by_file_and_line(tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        tasks.read_conllu(written(tmp_path, "a.conllu", text))


def test_real_conllu(data):
    english = tasks.read_conllu(data / "ud_english_ewt" / "en_ewt-ud-dev.conllu")
    korean = tasks.read_conllu(data / "ud_korean_gsd" / "ko_gsd-ud-dev.conllu")
    assert (len(english), sum(len(sentence.words) for sentence in english)) == (2001, 25147)
    assert (len(korean), sum(len(sentence.words) for sentence in korean)) == (950, 11958)
    assert english[0].words[:5] == ("From", "the", "AP", "comes", "this")
    assert korean[0] == (("제일", "가까운", "스타벅스가", "어디", "있지"), ("ADV", "ADJ", "NOUN", "ADV", "ADJ"))


def test_labelled_folder(tmp_path):
    written(tmp_path, "r.pos", "좋다 \nfine\n")
    written(tmp_path, "r.neg", "bad\r\n")
    written(tmp_path, "README.md", "not a class")
    assert tasks.read_labelled(tmp_path) == (["bad", "좋다", "fine"], ["neg", "pos", "pos"])


def test_labelled_table(tmp_path):
    path = written(tmp_path, "a.tsv", "긍정\t정말 좋다\nneg\tvery\tbad\n\n")
    assert tasks.read_labelled(path) == (["정말 좋다", "very\tbad"], ["긍정", "neg"])


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "expected files named by their class, as in reviews.pos, got none in"),
        ({"a.pos": "x\n"}, "expected texts of at least two classes, got only 'pos' in"),
        ({"a.pos": "x\n", "b.neg": "y\n"}, "expected files that differ by their class alone.*got a.pos and b.neg"),
        ({"neg/a": "x\n", "pos/b/c": "y\n"}, "expected files of one text each in .*pos, got the folder b"),
        ({"neg/a": "x\n", "pos/b": " \n"}, "expected text in every file, got one of white space in .*pos"),
        ({"neg/a": "x\n", "pos/.b": "x"}, "expected files of one text each in .*pos, got none"),
        ({"neg/a": "x\n"}, "expected texts of at least two classes, got only 'neg'"),
        ({"a.pos": "x\n", "b.pos": "y\n"}, "expected one file a class, got a.pos and b.pos in"),
        ({"a.pos": "x\n", "neg": "y\n"}, "expected files named by their class, as in reviews.pos, got neg in"),
        ({"a.pos": "x\n\ny\n", "a.neg": "y\n"}, "expected text in every line, got the empty line 2 in .*a.pos"),
        ({"a.pos": "x\n", "a.neg": ""}, "expected text, got the empty file .*a.neg"),
        ({"a.pos": "x\n", "a.neg": "\n \n"}, "expected text in every line, got the empty line 1 in .*a.neg"),
    ],
)
def test_bad_labelled_folders_are_named(tmp_path, files, words):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        written(tmp_path, name, text)
    with pytest.raises(ValueError, match=words):
        tasks.read_labelled(tmp_path)


def test_a_folder_of_folders_has_a_text_a_file(tmp_path):
    """As aclImdb/train: texts without labels and lists of addresses lie beside the classes."""
    for folder in ("pos", "neg", "unsup", "__MACOSX"):
        (tmp_path / folder).mkdir()
        for name in ("0_9.txt", "1_10.txt", ".DS_Store"):
            written(tmp_path, f"{folder}/{name}", f"{folder} {name}\r\nmore\n")
    written(tmp_path, "urls_pos.txt", "http://\n")
    texts, labels = tasks.read_labelled(tmp_path)
    assert labels == ["neg", "neg", "pos", "pos"]
    assert texts[:3] == ["neg 0_9.txt\nmore", "neg 1_10.txt\nmore", "pos 0_9.txt\nmore"]


@pytest.mark.parametrize(
    "name",
    ["a.pos~", "a.pos.bak", "desktop.ini", "Thumbs.db", "license.md", "LICENCE", "#a.pos#", "._a.pos"],
)
def test_what_is_left_in_folders_is_no_class(tmp_path, name):
    for file, text in (("a.pos", "x\ny\n"), ("a.neg", "z\n"), (name, "no text\n")):
        written(tmp_path, file, text)
    assert tasks.read_labelled(tmp_path) == (["z", "x", "y"], ["neg", "pos", "pos"])


def test_headers_say_the_order(tmp_path):
    expected = (["good film", "bad one", "fine"], ["pos", "neg", "pos"])
    for header in ("label\ttext\n", "Sentiment\tReview\n", ""):
        path = written(tmp_path, "a.tsv", header + "pos\tgood film\nneg\tbad one\npos\tfine\n")
        assert tasks.read_labelled(path) == expected
    path = written(tmp_path, "a.tsv", "text\tlabel\ngood film\tpos\nbad one\tneg\nfine\tpos\n")
    assert tasks.read_labelled(path) == expected


def test_fasttext_lines(tmp_path):
    path = written(tmp_path, "a.txt", "__label__pos good film\n__label__neg\tbad\tone\n")
    assert tasks.read_labelled(path) == (["good film", "bad\tone"], ["pos", "neg"])
    for line in ("no label", "__label__a __label__b both", "__label__ none", "__label__a"):
        path = written(tmp_path, "a.txt", f"__label__pos x\n{line}\n")
        with pytest.raises(ValueError, match="expected __label__NAME and a text, one label a line, .* line 2"):
            tasks.read_labelled(path)


def test_one_class_is_enough_to_evaluate_on(tmp_path):
    path = written(tmp_path, "a.tsv", "pos\tx\npos\ty\n")
    assert tasks.read_labelled(path, least_classes=1).labels == ["pos", "pos"]
    with pytest.raises(ValueError, match="least_classes: expected a whole number >= 1"):
        tasks.read_labelled(path, least_classes=0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pos\tx\nneg y\n", "expected label<TAB>text, got 'neg y' in line 2 of .*a.tsv"),
        ("pos\tx\n\ty\n", "expected label<TAB>text, got 'y' in line 2 of .*a.tsv"),
        ("label\tmy text\npos\tx\npos\ty\n", "got the header 'label' and 'my text' in line 1"),
        ("label\ttext\n", "expected texts after the header, got none"),
        ("a b\tpos\nc d\tneg\ne f\tpos\n", "expected few labels for many texts, got 3 labels in 3 lines"),
        ("".join(f"some text {n}\tx{n}\n" for n in range(20)), "expected few labels .* got 20 labels in 20 lines"),
        ("pos\tx\npos\ty\n", "expected texts of at least two classes, got only 'pos'"),
    ],
)
def test_bad_tables_are_named(tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        tasks.read_labelled(written(tmp_path, "a.tsv", text))


def test_real_labelled_lines(data):
    texts, labels = tasks.read_labelled(data / "rt_polarity")
    assert [labels.count(label) for label in ("neg", "pos")] == [4798, 4798]
    assert texts[0] == "simplistic , silly and tedious ."


def test_pairs(tmp_path):
    written(tmp_path, "test.2016.de", "Ein Hund.\nZwei Hunde.\n\n")
    written(tmp_path, "test.2016.ko", "개 한 마리.\r\n개 두 마리.")
    assert tasks.read_pairs(tmp_path, "de", "ko") == (["Ein Hund.", "Zwei Hunde."], ["개 한 마리.", "개 두 마리."])
    assert tasks.read_pairs(tmp_path, "ko", "de", name="test.2016").targets[0] == "Ein Hund."


@pytest.mark.parametrize(
    ("files", "name", "words"),
    [
        ({"a.de": "x\ny\n", "a.en": "x\n"}, None, "got 2 in .*a.de and 1 in .*a.en"),
        ({"a.de": "x\n\ny\n", "a.en": "x\nz\ny\n"}, "a", "got the empty line 2 in .*a.de"),
        ({"a.de": "x\n"}, None, "expected one pair NAME.de and NAME.en in .*, got the pairs none; add the files"),
        ({f"{n}.{e}": "x\n" for n in "ab" for e in ("de", "en")}, None, r"got the pairs \['a', 'b'\]; name one of"),
        ({"a.de": "x\n", "a.en": "x\n"}, "train", r"expected train.de and train.en in .*, got the pairs \['a'\]"),
    ],
)
def test_bad_pairs_are_named(tmp_path, files, name, words):
    for file, text in files.items():
        written(tmp_path, file, text)
    with pytest.raises(ValueError, match=words):
        tasks.read_pairs(tmp_path, "de", "en", name=name)


def test_pairs_need_a_folder(tmp_path):
    with pytest.raises(ValueError, match="expected a folder of aligned files, got .*none"):
        tasks.read_pairs(tmp_path / "none", "de", "en")


def test_real_pairs(data):
    train = tasks.read_pairs(data / "multi30k", "de", "en", name="train")
    assert len(train.sources) == len(train.targets) == 29_000
    assert len(tasks.read_pairs(data / "multi30k", "de", "en", name="val").sources) == 1_014
    assert train.targets[0] == "Two young, White males are outside near many bushes."


def test_real_text_and_series(data):
    text = tasks.read_text(data / "tinyshakespeare" / "input.txt")
    assert (len(text), len(set(text))) == (1_115_394, 65)
    assert len(tasks.read_text(data / "paragraph" / "hello_pytorch.txt")) == 875
    assert tasks.read_series(data / "series" / "daily-min-temperatures.csv").shape == (3650, 1)
    assert tasks.read_series(data / "series" / "monthly-sunspots.csv").shape == (2820, 1)


LONG = "".join(f"줄 {n}: cafe\u0301 e\u0301te\u0301 🙂\r\n" for n in range(300))


@pytest.mark.parametrize("buffer_bytes", [1, 2, 3, 7, 64, 1000, 10**6])
def test_pieces_are_the_whole_text(tmp_path, buffer_bytes):
    path = written(tmp_path, "a.txt", "\ufeff" + LONG)
    pieces = list(tasks.text_chunks(path, buffer_bytes=buffer_bytes))
    assert "".join(pieces) == "".join(f"줄 {n}: café été 🙂\n" for n in range(300))
    assert max(map(len, pieces)) <= max(buffer_bytes + 20, 20)
    assert all(piece[0] in " \n" for piece in pieces[1:] if buffer_bytes > 20)


def test_a_text_without_white_space_is_read_in_pieces_too(tmp_path):
    path = written(tmp_path, "a.txt", "acgt" * 1000)
    pieces = list(tasks.text_chunks(path, buffer_bytes=100))
    assert "".join(pieces) == "acgt" * 1000
    assert max(map(len, pieces)) <= 200


@pytest.mark.parametrize("buffer_bytes", [1, 5, 1000])
@pytest.mark.parametrize("cut", [False, True])
def test_bytes_that_are_no_text_are_found(tmp_path, buffer_bytes, cut):
    """A wrong byte in the middle, or a character cut off at the end."""
    good = "가나다 라마\n".encode() * 5
    (tmp_path / "a.txt").write_bytes(good + ("가".encode()[:2] if cut else b"\xff" + good))
    with pytest.raises(ValueError, match=f"got byte 0x{'ea' if cut else 'ff'} at offset {len(good)} of .*a.txt"):
        list(tasks.text_chunks(tmp_path / "a.txt", buffer_bytes=buffer_bytes))


@pytest.mark.parametrize("buffer_bytes", [1, 10, 10**6])
@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_lines_are_found_where_they_are(tmp_path, buffer_bytes, ending):
    expected = ["하나", "", "셋 three", "e\u0301"]
    path = written(tmp_path, "a.txt", "\ufeff" + (ending or "\n").join(expected) + ending)
    lines = tasks.Lines(path, buffer_bytes=buffer_bytes)
    assert [lines[n] for n in range(len(lines))] == ["하나", "", "셋 three", "é"]
    assert lines[-2] == "셋 three"
    with pytest.raises(IndexError):
        lines[4]


@pytest.mark.parametrize("buffer_bytes", [1, 2, 3, 10**6])
def test_all_readers_agree_where_lines_end(tmp_path, buffer_bytes):
    """LF, CR, CR LF, and the CR CR LF that two conversions leave."""
    for end in ("\n", "\r", "\r\n", "\r\r\n"):
        path = written(tmp_path, "a.txt", "\ufeff" + end.join(["하나", "둘", "three"]) + end)
        assert list(tasks.Lines(path, buffer_bytes=buffer_bytes)) == tasks.read_lines(path) == ["하나", "둘", "three"]
        assert "".join(tasks.text_chunks(path, buffer_bytes=buffer_bytes)) == "하나\n둘\nthree\n"
    path = written(tmp_path, "b.txt", "a\r\rb\n\r\r\r\nc\r\r")
    expected = ["a", "", "b", "", "", "c", ""]
    assert list(tasks.Lines(path, buffer_bytes=buffer_bytes)) == expected
    assert "".join(tasks.text_chunks(path, buffer_bytes=buffer_bytes)) == "\n".join(expected) + "\n"
    bom = written(tmp_path, "c.txt", "\ufeff")
    for read in (tasks.read_lines, tasks.read_text, lambda path: tasks.Lines(path, buffer_bytes=buffer_bytes)):
        with pytest.raises(ValueError, match="expected text, got the empty file .*c.txt"):
            read(bom)


def test_lines_name_what_is_wrong(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"abc\nde\xfff\n")
    lines = tasks.Lines(tmp_path / "a.txt")
    assert lines[0] == "abc"
    with pytest.raises(ValueError, match="got byte 0xff at offset 6 of .*a.txt, line 2"):
        lines[1]
    with pytest.raises(ValueError, match="expected text, got the empty file"):
        tasks.Lines(written(tmp_path, "b.txt", ""))
    with pytest.raises(ValueError, match="No such file"):
        tasks.Lines(tmp_path / "c.txt")


@pytest.mark.parametrize("unit", ["characters", "words", "bytes"])
def test_a_file_on_disk_has_the_numbers_of_its_text(tmp_path, unit):
    path = written(tmp_path, "a.txt", LONG)
    vocabulary = tasks.Vocabulary.build([tasks.split_text(tasks.read_text(path)[:200], unit)])
    ids, unknown = tasks.encode_file(path, vocabulary, tmp_path / "a.ids", unit=unit, buffer_bytes=50)
    expected = vocabulary.encode_all([tasks.split_text(tasks.read_text(path), unit)])
    np.testing.assert_array_equal(ids, expected.ids[0])
    assert unknown == expected.unknown
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.ids", "a.txt"]


class Tokenizer:
    """Numbers of letters, of a kind like those of sentencepiece: `encode` returns a list."""

    def encode(self, text):
        return [ord(letter) for letter in text]

    def decode(self, ids):
        return "".join(map(chr, ids))


class Marked(Tokenizer):
    """As tokenizers of Hugging Face: an object with `ids`, and marks around them if nobody says no."""

    def encode(self, text, add_special_tokens=True):
        ids = super().encode(text)
        return types.SimpleNamespace(ids=[1, *ids, 2] if add_special_tokens else ids)


@pytest.mark.parametrize("tokenizer", [Tokenizer(), Marked()])
def test_tokenizers_of_others_stand_in_for_a_vocabulary(tmp_path, tokenizer):
    path = written(tmp_path, "a.txt", LONG)
    ids, unknown = tasks.encode_file(path, tokenizer, tmp_path / "a.ids", buffer_bytes=50)
    assert tokenizer.decode(ids) == tasks.read_text(path)
    assert (ids.dtype, unknown) == (np.int32, tasks.Unknown(0, len(ids), None))
    assert tasks.stream_batches(ids, 2, 10)[0]["inputs"][0].tolist() == ids[:10].tolist()


def test_what_is_no_tokenizer_is_named(tmp_path):
    path = written(tmp_path, "a.txt", "ab")
    returns = {"text": ("a", TypeError), "shape": ([[1]], TypeError), "large": ([2**31], ValueError)}
    for found, error in returns.values():
        tokenizer = types.SimpleNamespace(encode=lambda text, found=found: found, decode=None)
        with pytest.raises(TypeError, match="vocabulary: expected a Vocabulary, or a tokenizer with encode and decode"):
            tasks.encode_file(path, tokenizer, tmp_path / "a.ids")
        tokenizer.decode = str
        with pytest.raises(error, match="vocabulary: expected"):
            tasks.encode_file(path, tokenizer, tmp_path / "a.ids")
    with pytest.raises(ValueError, match="strict: expected False for a tokenizer that is no Vocabulary"):
        tasks.encode_file(path, Tokenizer(), tmp_path / "a.ids", strict=True)
    assert not (tmp_path / "a.ids").exists()


def test_a_large_file_takes_little_memory(tmp_path):
    """A file through small buffers: vocabulary, numbers, batches and lines in less memory than the file."""
    path = written(tmp_path, "a.txt", "큰 파일의 한 줄, one line of a large file\n" * 80_000)
    size = path.stat().st_size
    assert size > 3_500_000
    tracemalloc.start()
    pieces = tasks.text_chunks(path, buffer_bytes=1 << 14)
    vocabulary = tasks.Vocabulary.build([next(pieces)])
    ids, _ = tasks.encode_file(path, vocabulary, tmp_path / "a.ids", buffer_bytes=1 << 14)
    stream = tasks.stream_batches(ids, 4, 100)
    first, last = stream[0], stream[len(stream) - 1]
    lines = tasks.Lines(path, buffer_bytes=1 << 14)
    line = lines[79_999]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_500_000
    assert len(lines) == 80_000
    assert line == "큰 파일의 한 줄, one line of a large file"
    assert "".join(vocabulary.decode(first["inputs"][0])).startswith("큰 파일의 한 줄")
    assert last["mask"].all()


def test_a_file_of_white_space_has_no_words(tmp_path):
    vocabulary = tasks.Vocabulary(("a",))
    with pytest.raises(ValueError, match="expected words, got only white space"):
        tasks.encode_file(written(tmp_path, "a.txt", "   "), vocabulary, tmp_path / "a.ids", unit="words")
    with pytest.raises(ValueError, match="expected tokens of the vocabulary, got 'b'"):
        tasks.encode_file(written(tmp_path, "b.txt", "ab"), vocabulary, tmp_path / "b.ids", strict=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.txt", "b.txt"]
