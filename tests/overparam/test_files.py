"""Promise: files are written whole, no file is harmed that may not be, and nothing is left over."""

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from overparam import files
from overparam.files import (
    FileError,
    MovedError,
    check_folder,
    check_target,
    create_file,
    discard_unfinished,
    replace_file,
    save_file,
    unfinished,
)

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
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere")
    check_target(tmp_path / "dangling.png", force=True)
    with pytest.raises(FileError, match="exists already"):
        check_target(tmp_path / "dangling.png")
    with pytest.raises(FileError, match=r"unknown suffix '\.gif'; use one of \.png"):
        check_target(tmp_path / "x.gif", suffixes=[".png"])


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_a_folder_is_tried_and_not_only_asked(tmp_path):
    """For root os.access calls /proc writable."""
    for path in ("/proc/x.png", "/proc/self/x.png"):
        with pytest.raises(FileError, match=r"cannot write '/proc/.*'"):
            check_target(path)
        with pytest.raises(FileError, match=r"cannot write '/proc/.*'"):
            create_file(path, b"")
    with pytest.raises(FileError, match="cannot write into '/proc/run/one'"):
        check_folder("/proc/run/one")


def test_a_trial_leaves_nothing(tmp_path, monkeypatch):
    check_target(tmp_path / "x.png")
    check_folder(tmp_path / "a" / "b")
    check_folder(tmp_path)
    assert names(tmp_path) == []
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match=r"file' is no folder"):
        check_folder(tmp_path / "file" / "run")
    real = Path.open

    def full(path, *arguments):
        stream = real(path, *arguments)
        stream.close()  # made, but the disk takes no byte
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(FileError, match="takes no file: No space left on device"):
        check_target(tmp_path / "x.png")
    assert names(tmp_path) == ["file"]


# --- what its own place does not take ------------------------------------------------------


@pytest.mark.parametrize("replace", [False, True])
def test_what_its_place_does_not_take_goes_elsewhere(tmp_path, monkeypatch, replace):
    current, temporary, other = (tmp_path / name for name in ("current", "temporary", "other"))
    for folder in (current, temporary, other):
        folder.mkdir()
    monkeypatch.chdir(current)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    places = [other / "x.png", Path("x.png"), temporary / "x.png"]
    for place in places:
        with pytest.raises(MovedError, match="the result is in") as caught:
            save_file(tmp_path / "none" / "x.png", b"data", replace=replace, elsewhere=[other])
        assert caught.value.path == place
        assert repr(str(place)) in str(caught.value)
        assert place.read_bytes() == b"data"
        place.unlink()
        place.parent.chmod(0)  # does not stop root
        monkeypatch.setattr(files, "require_folder", refusing(place.parent, files.require_folder))
    with pytest.raises(FileError, match="make it first") as caught:
        save_file(tmp_path / "none" / "x.png", b"data", replace=replace, elsewhere=[other])
    assert not isinstance(caught.value, MovedError)
    assert names(temporary) == []


def refusing(folder, check):
    def refuse(place):
        if place == folder:
            raise FileError("no")
        check(place)

    return refuse


def test_elsewhere_nothing_is_replaced(tmp_path):
    (tmp_path / "x.png").write_bytes(b"precious")
    for replace in (False, True):
        with pytest.raises(MovedError) as caught:
            save_file(tmp_path / "none" / "x.png", b"new", replace=replace, elsewhere=[tmp_path])
        assert caught.value.path == tmp_path / f"x-{2 + replace}.png"
    assert (tmp_path / "x.png").read_bytes() == b"precious"
    # A folder that takes the name of the result: the free name is beside it.
    (tmp_path / "y.png").mkdir()
    with pytest.raises(MovedError, match="it is a folder") as caught:
        save_file(tmp_path / "y.png", b"new", replace=True)
    assert caught.value.path == tmp_path / "y-2.png"


def test_what_is_unfinished_goes_if_the_block_fails(tmp_path):
    folder, file = tmp_path / "a", tmp_path / "a" / "x"

    def make(name, error):
        with unfinished(folder, file):
            folder.mkdir()
            (folder / name).touch()
            raise error

    with pytest.raises(KeyboardInterrupt):
        make("x", KeyboardInterrupt())
    assert names(tmp_path) == []
    with pytest.raises(ValueError, match="wrong"):
        make("of another", ValueError("wrong"))
    assert names(folder) == ["of another"]
    with unfinished(folder, file):
        file.touch()
    discard_unfinished()
    assert names(folder) == ["of another", "x"]
    with unfinished(folder, file):
        discard_unfinished()
        assert names(folder) == ["of another"]


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


@pytest.mark.timeout(20)
def test_what_is_only_called_like_a_part_is_neither_opened_nor_removed(tmp_path):
    letters = iter("abc")

    def part():
        return tmp_path / f".{next(letters) * 16}.part"

    os.mkfifo(part())  # to open it would wait for ever
    part().mkdir()
    part().symlink_to(tmp_path / "none")
    before = names(tmp_path)
    for path in tmp_path.iterdir():
        os.utime(path, (1, 1), follow_symlinks=False)
    create_file(tmp_path / "x.png", b"data")
    assert names(tmp_path) == sorted([*before, "x.png"])


def test_without_locks_stale_parts_are_removed_too(tmp_path, monkeypatch):
    """Windows, which refuses to remove a file that its writer has open."""
    monkeypatch.setattr(files, "fcntl", None)
    part = tmp_path / ".0123456789abcdef.part"
    part.touch()
    os.utime(part, (1, 1))
    assert create_file(tmp_path / "x.png", b"data") == tmp_path / "x.png"
    assert names(tmp_path) == ["x.png"]


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
