"""Text, number series and digits from files."""

import numpy as np
import pytest

from recur import tasks


def test_characters_are_numbered_by_code_point():
    numbered = tasks.characters("hihello 안녕 🙂")
    assert numbered.alphabet == "".join(sorted(set("hihello 안녕 🙂")))
    assert numbered.decode(numbered.codes) == "hihello 안녕 🙂"
    assert numbered.codes.dtype == np.int32
    assert numbered.decode(numbered.codes.astype(np.uint8)[None]) == "hihello 안녕 🙂"
    for wrong, error in ((-1, ValueError), (2**32 + 1, ValueError), (0.5, TypeError)):
        with pytest.raises(error, match="codes: expected"):
            numbered.decode(np.array([wrong]))


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
