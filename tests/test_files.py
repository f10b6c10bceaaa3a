"""An output file is whole or absent."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from fnbench.errors import OutputError
from fnbench.files import check_space, check_writable, replacing, write_text


def test_a_written_file_replaces_the_old_one(tmp_path):
    path = tmp_path / "new" / "a.txt"
    write_text(path, "one\n")
    write_text(path, "two\n")
    assert path.read_bytes() == b"two\n"
    assert [item.name for item in path.parent.iterdir()] == ["a.txt"]


def test_a_failure_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_is_one_clear_line(tmp_path):
    with pytest.raises(OutputError, match="a.txt: cannot be written: the disk is full"), replacing(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file, not a folder"):
        write_text(tmp_path / "file" / "a.txt", "text")


def test_asking_whether_a_file_can_be_written_leaves_no_folder(tmp_path):
    check_writable(tmp_path / "a" / "b" / "file.txt")
    assert not list(tmp_path.iterdir())
    (tmp_path / "a").mkdir()
    check_writable(tmp_path / "a" / "b" / "file.txt")
    assert [item.name for item in tmp_path.iterdir()] == ["a"]
    assert not list((tmp_path / "a").iterdir())


@pytest.mark.parametrize("name", ["n" * 300, "n" * 300 + "/x", "new/" + "n" * 300 + "/x"])
def test_a_name_that_is_too_long_is_one_clear_line(tmp_path, name):
    with pytest.raises(OutputError, match="the name is too long; choose a shorter one"):
        check_writable(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_processes_that_ask_at_the_same_time_do_not_disturb_each_other(tmp_path):
    asked = "from fnbench.files import Path, check_writable\nfor _ in range(300): check_writable(Path('a/b/x'))"
    running = [subprocess.Popen([sys.executable, "-c", asked], cwd=tmp_path) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]


def test_space_is_asked_for_where_the_folder_will_be(tmp_path):
    check_space(tmp_path / "not" / "yet" / "there", 1)
    with pytest.raises(OutputError, match=r"there: cannot be written: .* MB are free"):
        check_space(tmp_path / "not" / "yet" / "there", 10**18)
