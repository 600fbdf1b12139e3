"""Promise: files are written whole, no file is harmed that may not be, and nothing is left over."""

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from overparam.files import FileError, check_target, create_file, discard_unfinished, replace_file

ROOT = Path(__file__).parents[2]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


# --- a new file ----------------------------------------------------------------------------


def test_a_new_file_has_its_name_and_the_usual_permissions(tmp_path, umask):
    target = tmp_path / "x.png"
    assert create_file(target, b"data") == target
    assert target.read_bytes() == b"data"
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert target.stat().st_nlink == 1
    assert names(tmp_path) == ["x.png"]


@pytest.mark.parametrize("taken_by", ["file", "folder", "link", "dangling link", "pipe"])
def test_a_taken_name_is_left_alone_and_the_next_free_one_is_used(tmp_path, taken_by):
    target = tmp_path / "x.tar.gz"
    if taken_by == "file":
        target.write_bytes(b"precious")
    elif taken_by == "folder":
        target.mkdir()
    elif taken_by == "pipe":
        os.mkfifo(target)
    else:
        target.symlink_to(tmp_path / "other")
        if taken_by == "link":
            (tmp_path / "other").write_bytes(b"precious")
    before = names(tmp_path)
    (tmp_path / "x.tar-2.gz").write_bytes(b"precious too")
    assert create_file(target, b"new") == tmp_path / "x.tar-3.gz"
    assert (tmp_path / "x.tar-3.gz").read_bytes() == b"new"
    assert names(tmp_path) == sorted([*before, "x.tar-2.gz", "x.tar-3.gz"])
    assert (tmp_path / "x.tar-2.gz").read_bytes() == b"precious too"
    if taken_by in ("file", "link"):
        assert target.read_bytes() == b"precious"


@pytest.mark.parametrize("stem", ["x" * 251, "\u2603" * 83])
def test_a_free_name_is_found_also_for_the_longest_names(tmp_path, stem):
    target = tmp_path / f"{stem}.png"
    target.write_bytes(b"precious")
    written = create_file(target, b"new")
    assert written.suffix == ".png"
    assert written.read_bytes() == b"new"
    assert target.read_bytes() == b"precious"


@pytest.mark.parametrize("links", [True, False])
def test_of_many_writers_none_loses_its_data(tmp_path, monkeypatch, links):
    if not links:  # FAT, some network drives

        def link(*_):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", link)
    data = [bytes([number]) * 1000 for number in range(20)]
    written = []
    threads = [
        threading.Thread(target=lambda d=d: written.append(create_file(tmp_path / "x.png", d)))
        for d in data
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(written)) == len(data)
    assert sorted(path.read_bytes() for path in written) == sorted(data)
    assert len(names(tmp_path)) == len(data)


def test_of_many_processes_none_loses_its_data(tmp_path):
    script = (
        "import sys; from overparam.files import create_file\n"
        "for _ in range(20): print(create_file(sys.argv[1], sys.argv[2].encode() * 9999).name)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, tmp_path / "x.png", letter],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for letter in "abc"
    ]
    seen = {
        letter: process.communicate()[0].split()
        for letter, process in zip("abc", processes, strict=True)
    }
    assert sorted(name for written in seen.values() for name in written) == names(tmp_path)
    for letter, written in seen.items():
        assert len(written) == 20
        for name in written:
            assert (tmp_path / name).read_bytes() == letter.encode() * 9999


# --- a file that is replaced ---------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o640, 0o444])
def test_a_replaced_file_keeps_its_permissions(tmp_path, umask, mode):
    target = tmp_path / "x.png"
    target.write_bytes(b"old")
    target.chmod(mode)
    replace_file(target, b"new")
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == mode
    assert names(tmp_path) == ["x.png"]


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path, umask):
    target, link, hard = tmp_path / "target", tmp_path / "link", tmp_path / "hard"
    target.write_bytes(b"precious")
    target.chmod(0o600)
    link.symlink_to(target)
    hard.hardlink_to(target)
    for path in (link, hard):
        replace_file(path, b"new")
        assert path.read_bytes() == b"new"
        assert not path.is_symlink()
    assert target.read_bytes() == b"precious"
    assert stat.S_IMODE(link.stat().st_mode) == 0o644


# --- what goes wrong -----------------------------------------------------------------------


@pytest.mark.parametrize("write", [create_file, replace_file])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("fault", ["fsync", "link", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path, monkeypatch, write, error, fault
):
    target = tmp_path / "x.png"
    target.write_bytes(b"old")

    def fail(*_):
        raise error

    monkeypatch.setattr(os, fault, fail)
    if write is create_file and fault == "link" and isinstance(error, OSError):
        monkeypatch.setattr(os, "replace", fail)  # else it does without links
        target = tmp_path / "y.png"
    if (write, fault) in [(create_file, "replace"), (replace_file, "link")]:
        write(target, b"new")  # not needed for it
        return
    with pytest.raises((FileError, KeyboardInterrupt)):
        write(target, b"new")
    assert names(tmp_path) == ["x.png"]
    assert (tmp_path / "x.png").read_bytes() == b"old"


def test_places_that_cannot_be_written_are_named(tmp_path):
    for write in (create_file, replace_file):
        with pytest.raises(FileError, match="make it first"):
            write(tmp_path / "none" / "x.png", b"")
        with pytest.raises(FileError, match="too long"):
            write(tmp_path / ("x" * 300), b"")
        with pytest.raises(FileError, match="null"):
            write(tmp_path / "x\0y", b"")
    assert names(tmp_path) == []


def test_check_target_foresees_it(tmp_path):
    source = tmp_path / "x.png"
    source.touch()
    (tmp_path / "link.png").symlink_to(source)
    check_target(tmp_path / "new.png", inputs=[source])
    check_target(source, force=True)
    with pytest.raises(FileError, match="exists already"):
        check_target(source)
    with pytest.raises(FileError, match="is an input"):
        check_target(tmp_path / "link.png", inputs=[source], force=True)
    with pytest.raises(FileError, match=r"unknown suffix '\.gif'; use one of \.png"):
        check_target(tmp_path / "x.gif", suffixes=[".png"])


# --- what killed processes leave -----------------------------------------------------------

WRITER = """
import os, sys, time
from overparam import files
def wait(descriptor):
    print("writing", flush=True)
    time.sleep(60)
files.os.fsync = wait
files.{}(sys.argv[1], b"half")
"""


@pytest.fixture
def writer(tmp_path):
    """A process in the middle of its write."""
    command = [sys.executable, "-c", WRITER.format("create_file"), tmp_path / "other.png"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout.readline() == "writing\n"
    yield process
    process.kill()
    process.communicate()


def test_parts_of_living_writers_stay_and_those_of_dead_ones_go(tmp_path, writer):
    (part,) = tmp_path.iterdir()
    long_ago = time.time() - 1000
    os.utime(part, (long_ago, long_ago))  # a slow write
    foreign = tmp_path / ".not-ours.part"
    foreign.touch()
    create_file(tmp_path / "x.png", b"data")
    assert names(tmp_path) == sorted([part.name, foreign.name, "x.png"])
    writer.kill()
    writer.wait()
    replace_file(tmp_path / "x.png", b"data")
    assert names(tmp_path) == [foreign.name, "x.png"]


def test_a_part_that_has_only_just_been_made_stays(tmp_path):
    part = tmp_path / f".{os.urandom(8).hex()}.part"
    part.touch()  # its writer has not locked it yet
    create_file(tmp_path / "x.png", b"data")
    assert part.exists()


def test_a_program_that_ends_at_once_discards_what_it_has_begun(tmp_path, monkeypatch):
    def leave(_):
        assert len(names(tmp_path)) == 1
        discard_unfinished()
        assert names(tmp_path) == []
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", leave)
    with pytest.raises(KeyboardInterrupt):
        create_file(tmp_path / "x.png", b"data")
    discard_unfinished()
