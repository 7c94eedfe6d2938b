"""Text, number series and digits from files."""

import numpy as np
import pytest

from recur import tasks


def test_characters_are_numbered_by_code_point():
    numbered = tasks.characters("hihello 안녕 🙂")
    assert numbered.alphabet == "".join(sorted(set("hihello 안녕 🙂")))
    assert numbered.decode(numbered.codes) == "hihello 안녕 🙂"
    assert numbered.codes.dtype == np.int32


def test_standard_library_is_real_text_and_long_enough():
    text = tasks.standard_library_source()
    assert len(text) >= 1_000_000
    assert "def __init__(self" in text
    assert tasks.standard_library_source() == text


def test_text_is_read_as_utf8(tmp_path):
    (tmp_path / "a.txt").write_text("가나다\n", encoding="utf-8")
    assert tasks.read_text(tmp_path / "a.txt") == "가나다\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "data: expected a readable text file, got .*No such file"),
        (b"", "data: expected text, got the empty file"),
        (b"abc\xff\xfe", "data: expected UTF-8 text, got byte 0xff at offset 3"),
    ],
)
def test_bad_text_files_are_named(tmp_path, content, words):
    path = tmp_path / "a.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        tasks.read_text(path)


def test_a_folder_is_no_text(tmp_path):
    with pytest.raises(ValueError, match="expected a readable text file"):
        tasks.read_text(tmp_path)


def test_no_characters():
    with pytest.raises(ValueError, match="text: expected at least one character, got none"):
        tasks.characters("")


def test_series_with_dates(tmp_path):
    (tmp_path / "a.csv").write_text('"Date","Temp","Wind"\n"1981-01-01",20.7,1\n"1981-01-02",-17.9,2e3\n')
    np.testing.assert_array_equal(tasks.read_series(tmp_path / "a.csv"), [[20.7, 1.0], [-17.9, 2000.0]])


def test_series_of_one_column(tmp_path):
    (tmp_path / "a.csv").write_text("value\n1\n2\n3\n")
    np.testing.assert_array_equal(tasks.read_series(tmp_path / "a.csv"), [[1.0], [2.0], [3.0]])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "expected text, got the empty file"),
        ("a,b\n", "expected a header and rows of numbers, got 1 lines"),
        ("1,2\n3,4\n", r"expected a header in line 1, got the numbers \['1', '2'\]"),
        ("a,b\n1,2\n3\n", "expected 2 columns, got 1 in line 3"),
        ("a,b\n1,2\n3,\n", "expected a number in column 'b', got '' in line 3"),
        ("a,b\n1,2\n3,x\n", "expected a number in column 'b', got 'x' in line 3"),
        ("a,b\n1,2\n3,nan\n", "expected a number in column 'b', got 'nan' in line 3"),
        ("a,b\n1,2\n3,inf\n", "expected a number in column 'b', got 'inf' in line 3"),
        ("a,b\nx,2\n3,4\ny,\n", "expected a number in column 'b', got '' in line 4"),
    ],
)
def test_bad_series_are_named(tmp_path, content, words):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(ValueError, match=words):
        tasks.read_series(tmp_path / "a.csv")


def test_a_series_that_is_no_text(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"a\n\xff\n")
    with pytest.raises(ValueError, match="expected UTF-8 text"):
        tasks.read_series(tmp_path / "a.csv")
