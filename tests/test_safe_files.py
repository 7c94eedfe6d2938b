"""Files that are written: whole or not at all, never through a link or over another file; what is read is regular."""

import os
import stat

import pytest

from recur import report, tasks
from recur._files import open_regular, replacing, write_text

VOCABULARY = tasks.Vocabulary(("a", "b"))


def test_a_new_file_is_whole_and_has_the_permissions_of_others(tmp_path):
    assert write_text(tmp_path / "new" / "a.txt", "가\ud800") == tmp_path / "new" / "a.txt"
    assert (tmp_path / "new" / "a.txt").read_text(encoding="utf-8") == "가\\ud800"
    (tmp_path / "plain").write_text("x")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "new/a.txt")}
    assert len(modes) == 1


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(TypeError), replacing(tmp_path / "a.txt") as file:
        file.writelines([b"new", "no bytes"])
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


WRITERS = {
    "write_json": lambda path: report.write_json(path, {"a": 1}),
    "vocabulary": VOCABULARY.save,
    "labels": tasks.Labels(("a", "b")).save,
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_names_that_can_be_guessed_are_not_written_to(tmp_path, write):
    """Links and files of others that carry the old temporary names keep what they hold."""
    (tmp_path / "outside").write_text("theirs")
    guessed = [tmp_path / "a.json.tmp", tmp_path / f".a.json.{os.getpid()}.tmp"]
    for path in guessed:
        path.symlink_to(tmp_path / "outside")
    (tmp_path / "a.json").symlink_to(tmp_path / "outside")
    write(tmp_path / "a.json")
    assert (tmp_path / "outside").read_text() == "theirs"
    assert all(path.is_symlink() for path in guessed)
    # The link itself made room.
    assert not (tmp_path / "a.json").is_symlink()
    assert len(list(tmp_path.iterdir())) == 4


def test_encode_file_leaves_a_file_named_tmp_alone(tmp_path):
    (tmp_path / "a.txt").write_text("ab")
    (tmp_path / "spaces.txt").write_text("  ")
    (tmp_path / "ids.bin.tmp").write_text("theirs")
    with pytest.raises(ValueError, match="got only white space"):
        tasks.encode_file(tmp_path / "spaces.txt", VOCABULARY, tmp_path / "ids.bin", unit="words")
    assert not (tmp_path / "ids.bin").exists()
    assert tasks.encode_file(tmp_path / "a.txt", VOCABULARY, tmp_path / "ids.bin")[0].tolist() == [4, 5]
    assert (tmp_path / "ids.bin.tmp").read_text() == "theirs"
    (tmp_path / "link").symlink_to(tmp_path / "a.txt")
    for out in ("a.txt", "link"):
        with pytest.raises(ValueError, match="out: expected another file than the text"):
            tasks.encode_file(tmp_path / "a.txt", VOCABULARY, tmp_path / out)
    assert (tmp_path / "a.txt").read_text() == "ab"


def test_devices_pipes_and_folders_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/null", tmp_path):
        with pytest.raises(OSError, match="no regular file|Is a directory"):
            write_text(path, "x")
    assert stat.S_ISFIFO((tmp_path / "pipe").lstat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_link_is_not_appended_to(tmp_path):
    (tmp_path / "outside").write_text("theirs\n")
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "outside")
    os.mkfifo(tmp_path / "pipe")
    for name in ("a.jsonl", "pipe"):
        with pytest.raises(OSError, match="symbolic links|no regular file"):
            report.append_jsonl(tmp_path / name, {"a": 1})
    assert (tmp_path / "outside").read_text() == "theirs\n"


READERS = {
    "text": tasks.read_text,
    "lines": tasks.Lines,
    "conllu": tasks.read_conllu,
    "labelled": tasks.read_labelled,
    "series": tasks.read_series,
    "arrays": lambda path: tasks.read_arrays(path, {"x": ("N",)}),
    "vocabulary": tasks.Vocabulary.load,
    "encoded": lambda path: tasks.encode_file(path, VOCABULARY, path.parent / "ids.bin"),
    "records": report.read_jsonl,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_only_regular_files_are_read(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(ValueError, match="no regular file|is no file"):
            read(tmp_path / name)


def test_a_link_to_a_file_is_read(tmp_path):
    (tmp_path / "a.txt").write_text("ab")
    (tmp_path / "link").symlink_to(tmp_path / "a.txt")
    assert tasks.read_text(tmp_path / "link") == "ab"
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"ab"
