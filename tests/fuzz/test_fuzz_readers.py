"""Files that are no good, for every reader of data: bytes, Unicode, cut off, spoiled at one place."""

import io
import json
import re
import tracemalloc
import unicodedata

import hypothesis.strategies as st
import numpy as np
import pytest
from fuzz_cases import WITHIN_S, answer, cases, time_limit
from fuzz_strategies import hostile

from recur import report, tasks

CONLLU = "# text = a\n" + "".join(
    "\t".join((number, word, "_", tag, *"______")) + "\n"
    for number, word, tag in [("1", "개가", "NOUN"), ("2-3", "didn't", "_"), ("2", "did", "AUX"), ("3", "n't", "PART")]
)
SERIES = "date,a,b\n2020-01-01,1,-2.5e3\n2020-01-02, 3 ,.5\n"
LABELLED = "pos\ta good film\nneg\ta bad one\n"
LINES = "one line\nzwei Zeilen\n세 줄\n"
JSONL = '{"kind": "run", "x": [1, "inf", null]}\n{"kind": "done", "job": "a"}\n'
VOCABULARY = json.dumps({"kind": "vocabulary", "tokens": ["a", "b", "가"]})
LABELS = json.dumps({"kind": "labels", "names": ["neg", "pos"]})
PIECES = [
    "\t",
    "\n",
    "\r\n",
    "\r",
    "\r\r\n",
    ",",
    '"',
    "\ufeff",
    "e\u0301",
    "\u1100\u1161",
    "[" * 3000,
    "9" * 5000,
    "1" * 50_000 + "x",
    "nan",
    "1e999",
    "\0",
    "\x85",
    "\u2028",
    "null",
    "NaN",
    "{}",
    "[]",
    '"tokens"',
    "<script>",
]


def archive(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


ARCHIVE = archive(x=np.ones((2, 3, 1)), y=np.ones((2, 1)))
SHAPES = {"x": ("N", "T", 1), "y": ("N", 1)}


@st.composite
def spoiled_files(draw, good):
    """A good file that is cut, or has something put in, taken out or changed; or no file of that kind at all."""
    data = good if isinstance(good, bytes) else good.encode()
    kind = draw(st.sampled_from(["cut", "put in", "put in", "change", "take out", "repeat", "bytes", "text"]))
    place = draw(st.integers(0, len(data)))
    more = draw(st.one_of(st.binary(max_size=4), st.sampled_from(PIECES).map(str.encode), hostile.map(encoded)))
    if kind == "cut":
        return data[:place]
    if kind == "put in":
        return data[:place] + more + data[place:]
    if kind == "change":
        return data[:place] + more + data[place + len(more) :]
    if kind == "take out":
        return data[:place] + data[place + draw(st.integers(1, 9)) :]
    if kind == "repeat":
        return data + data[place:]
    return draw(st.binary(max_size=200)) if kind == "bytes" else encoded(draw(st.text(max_size=50)))


def encoded(text):
    return text.encode("utf-8", "surrogatepass")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzzed")


def written(folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return path


READERS = {
    "conllu": (tasks.read_conllu, CONLLU),
    "series": (tasks.read_series, SERIES),
    "labelled": (tasks.read_labelled, LABELLED),
    "lines": (tasks.read_lines, LINES),
    "text": (tasks.read_text, LINES),
    "jsonl": (report.read_jsonl, JSONL),
    "vocabulary": (tasks.Vocabulary.load, VOCABULARY),
    "labels": (tasks.Labels.load, LABELS),
    "arrays": (lambda path: tasks.read_arrays(path, SHAPES), ARCHIVE),
    "encoded": (lambda path: tasks.encode_file(path, tasks.Vocabulary(("a", "b")), path.with_suffix(".ids")), LINES),
}


@st.composite
def files(draw):
    reader = draw(st.sampled_from(sorted(READERS)))
    return reader, None, draw(spoiled_files(READERS[reader][1]))


@cases(126, call=files())
def test_readers(call, folder):
    reader, _, data = call
    path = written(folder, f"file.{reader}", data)
    found, error = answer({"data", "path", path.name}, READERS[reader][0], path)
    if error is not None:
        assert path.name in str(error)
    else:
        check_found(reader, found, data)


def check_found(reader, found, data):
    """What any file that is read has to give."""
    if reader == "text":
        assert found == plain(data)
    elif reader == "conllu":
        assert all(words and len(words) == len(tags) and set(tags) <= set(tasks.UPOS) for words, tags in found)
    elif reader == "series":
        assert found.ndim == 2
        assert np.isfinite(found).all()
    elif reader == "labelled":
        assert len(found.texts) == len(found.labels)
        assert all(found.texts)
        assert len(set(found.labels)) > 1
    elif reader == "lines":
        assert found == [line.strip() for line in plain(data).rstrip().split("\n")]
    elif reader == "arrays":
        assert all(np.isfinite(array).all() for array in found.values())


def plain(data):
    """The text that bytes are: in normal form C, line ends as line feeds, no byte order mark."""
    text = re.sub("\r\r?\n|\r", "\n", data.decode("utf-8-sig"))
    return unicodedata.normalize("NFC", text)


@cases(17, data=spoiled_files(LINES), buffer_bytes=st.integers(1, 9))
def test_lines_and_chunks_of_any_size(data, buffer_bytes, folder):
    path = written(folder, "any.txt", data)
    whole, error = answer({"data"}, tasks.read_text, path)
    pieces, same = answer({"data"}, lambda: "".join(tasks.text_chunks(path, buffer_bytes=buffer_bytes)))
    assert pieces == whole
    assert (error is None) == (same is None)
    lines, refused = answer({"data"}, lambda: list(tasks.Lines(path, buffer_bytes=buffer_bytes)))
    assert (refused is None) == (error is None)
    if error is None:
        rows = whole.split("\n")
        assert lines == (rows[:-1] if rows[-1] == "" else rows)


@cases(13, sources=spoiled_files(LINES), targets=spoiled_files(LINES))
def test_pairs(sources, targets, folder):
    written(folder, "a.de", sources)
    written(folder, "a.en", targets)
    pairs, error = answer({"data"}, tasks.read_pairs, folder, "de", "en")
    if error is None:
        assert len(pairs.sources) == len(pairs.targets)
        assert all(pairs.sources)


@cases(
    13, text=st.one_of(st.text(), hostile), unit=st.sampled_from(["characters", "bytes", "words", "letters", None, 3])
)
def test_units(text, unit):
    tokens, error = answer({"unit", "text"}, tasks.split_text, text, unit)
    if error is None and unit != "words":
        assert tasks.join_text(tokens, unit) == text


HUGE = {
    "ascii": b"x" * 100,
    "letters without a space": "가".encode() * 33,
    "vowels that join": "\u1161".encode() * 33,
    "combining marks": "\u0301\u0316".encode() * 25,
    "digits": b"1" * 99 + b",",
    "brackets": b"[" * 100,
    "tabs": b"\t" * 100,
}


@pytest.fixture(scope="module")
def one_line(folder):
    """Makes files of one line of 100 MB."""

    def make(kind):
        path = folder / "one_line"
        with path.open("wb") as file:
            for _ in range(100):
                file.write(HUGE[kind] * 10_000)
        return path

    return make


@pytest.mark.parametrize("kind", [*HUGE])
def test_a_line_of_100_mb_is_streamed_in_little_memory(kind, one_line):
    path = one_line(kind)
    tracemalloc.start()
    with time_limit(WITHIN_S):
        count, error = answer({"data"}, lambda: sum(map(len, tasks.text_chunks(path))))
        lines, _ = answer({"data"}, tasks.Lines, path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 << 20
    assert len(lines) == 1
    if kind == "combining marks":
        assert "more than 255 combining marks in a row" in str(error)
    else:
        assert count == len((HUGE[kind] * 10_000).decode()) * 100


@pytest.mark.parametrize("reader", [name for name in READERS if name not in ("text", "lines", "encoded", "arrays")])
@pytest.mark.parametrize("kind", ["digits", "brackets"])
def test_a_line_of_100_mb_is_refused_in_a_word(kind, reader, one_line):
    path = one_line(kind)
    with time_limit(WITHIN_S):
        found, error = answer({"data", "path", path.name}, READERS[reader][0], path)
    if reader == "jsonl":
        # A last line that does not end was torn by a crash: it is no record, and so there is none.
        assert "holds no record" in str(error)
    assert found is None
    assert len(str(error)) < 500


@cases(13, before=st.integers(0, 300), count=st.integers(250, 260), mark=st.sampled_from(["\u0301", "\u0316"]))
def test_marks_are_counted_exactly(before, count, mark, folder):
    text = "x" * before + mark * count + "y"
    found, error = answer({"data"}, tasks.read_text, written(folder, "marks.txt", text.encode()))
    assert (error is None) == (count <= 255)
