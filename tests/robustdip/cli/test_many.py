"""`denoise` over many pictures: what is found, what is made, and what a stopped run leaves."""

import contextlib
import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import robustdip
from benchmarks.images.kills import killed_and_resumed
from overparam.files import FileError
from robustdip import read_image, write_image
from robustdip.cli import pool
from robustdip.cli.job import Task, default_path
from robustdip.cli.machine import worker_count
from robustdip.cli.manifest import Manifest, settings_hash
from robustdip.cli.many import shapes_of
from robustdip.cli.masks import MaskFiles
from robustdip.cli.sources import find_sources, results_of
from robustdip.cli.standard_streams import standard_input
from robustdip.cli.worker import Restorer, settings_message
from robustdip.told import Told
from tests.helpers.command_line import LONG, ROOT, done, python, refused, run

MEDIAN = ("--method", "median")


def noise(side=32, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (side, side, 3), np.uint8, endpoint=True)


@pytest.fixture
def folder(tmp_path):
    """Three pictures in two folders, and what is none."""
    root = tmp_path / "in"
    for number, name in enumerate(("a.png", "sub/b.png", "sub/deep/c.tif")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(root / name, noise(seed=number))
    (root / ".hidden.png").write_text("no picture")
    (root / "notes.txt").write_text("no picture")
    (root / ".cache").mkdir()
    write_image(root / ".cache" / "x.png", noise())
    return root


def results(folder):
    """The bytes of all results, by their places; the manifest is none."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".robustdip.jsonl"
    }


NAMES = ["a_denoised.png", "sub/b_denoised.png", "sub/deep/c_denoised.png"]


# --- what is found -------------------------------------------------------------------------


def test_a_pattern_in_a_folder_with_brackets(tmp_path):
    folder = tmp_path / "scans [box 3]"
    folder.mkdir()
    write_image(folder / "x.png", noise())
    assert [each.path for each in find_sources([folder / "*.png"]).pictures] == [folder / "x.png"]
    assert [each.path for each in find_sources([tmp_path / "scans*" / "*.png"]).pictures] == [
        folder / "x.png"
    ]


def test_two_stars_follow_no_links_to_folders(folder, tmp_path):
    (folder / "sub" / "up").symlink_to(folder)
    found = find_sources([folder / "**" / "*.png"], out_dir=tmp_path / "out")
    assert [str(each.path.relative_to(folder)) for each in found.pictures] == ["a.png", "sub/b.png"]
    (tmp_path / "link").symlink_to(folder)  # named before them, it is
    found = find_sources([tmp_path / "link" / "**" / "*.tif"], out_dir=tmp_path / "out")
    assert [each.path for each in found.pictures] == [tmp_path / "link" / "sub" / "deep" / "c.tif"]


def test_a_folder_is_taken_whole_without_what_is_hidden_or_no_picture(folder, tmp_path):
    found = find_sources([folder], out_dir=tmp_path / "out")
    assert [str(source.path.relative_to(folder)) for source in found.pictures] == [
        "a.png", "sub/b.png", "sub/deep/c.tif",
    ]  # fmt: skip
    assert [str(source.folder) for source in found.pictures] == [".", "sub", "sub/deep"]
    assert (found.hidden, found.others, found.collected) == (1, 1, True)
    # Results inside of it are no pictures of it, unless the folder is both.
    (folder / "out").mkdir()
    write_image(folder / "out" / "a_denoised.png", noise())
    assert len(find_sources([folder], out_dir=folder / "out").pictures) == 3
    assert len(find_sources([folder], out_dir=folder).pictures) == 4


def test_a_folder_knows_other_names_of_formats(tmp_path):
    for name in ("a.jfif", "b.JPE"):  # as browsers and old programs call a JPEG
        Image.fromarray(noise()).save(tmp_path / name, "JPEG")
    Image.fromarray(noise()).save(tmp_path / "c.pnm", "PPM")
    found = find_sources([tmp_path], out_dir=tmp_path / "out")
    assert [source.path.name for source in found.pictures] == ["a.jfif", "b.JPE", "c.pnm"]
    assert found.others == 0


def test_a_folder_that_cannot_be_read_is_named(folder, tmp_path, monkeypatch):
    """Its pictures must not be missing without a word."""
    listed = os.scandir

    def scandir(place):
        if Path(place).name == "sub":  # permissions do not stop root
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return listed(place)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(FileError, match=r"cannot read '.*/sub': Permission denied"):
        find_sources([folder], out_dir=tmp_path / "out")


def test_patterns_lists_and_names_with_brackets(folder, tmp_path, monkeypatch):
    def names(*arguments, **options):
        return [source.path.name for source in find_sources(list(arguments), **options).pictures]

    assert names(folder / "*.png") == ["a.png"]
    assert names(folder / "**" / "*.[pt][ni]*") == ["a.png", "b.png", "c.tif"]
    found = find_sources([folder / "**" / "*.png"])
    assert [str(source.folder) for source in found.pictures] == [".", "sub"]
    assert names(folder / "*.png", folder / "a*") == ["a.png"]  # once
    write_image(tmp_path / "[x].png", noise())  # is a name, because it exists
    assert not find_sources([tmp_path / "[x].png"]).collected
    listed = tmp_path / "list"
    listed.write_text(f"{folder / 'a.png'}\n\n{folder / 'sub' / 'b.png'}\n")
    assert names(listed=listed) == ["a.png", "b.png"]
    listed.write_bytes(b"\xef\xbb\xbf" + listed.read_bytes().replace(b"\n", b"\r\n"))
    assert names(listed=listed) == ["a.png", "b.png"]  # as Windows writes it
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(listed.read_bytes())))
    assert names(listed=Path("-")) == ["a.png", "b.png"]


def test_what_cannot_be_is_refused_in_one_line(folder, tmp_path):
    out = ("--out-dir", tmp_path / "out")
    assert "no file matches" in refused("denoise", folder / "*.bmp", *out)
    assert "say where its results go" in refused("denoise", folder)
    (tmp_path / "empty").mkdir()
    assert refused("denoise", tmp_path / "empty", *out).endswith("it is a folder without pictures")
    (tmp_path / "empty" / "x.heic").touch()
    line = refused("denoise", tmp_path / "empty", *out)
    assert line.endswith("it is a folder without pictures of a format that is read")
    (tmp_path / "list").write_text("\n")
    assert "lists no file" in refused("denoise", "--from-file", tmp_path / "list")
    missing = refused("denoise", "--from-file", tmp_path / "none.txt")
    assert missing == f"error: cannot read '{tmp_path}/none.txt': No such file or directory"
    wrong = refused("denoise", "--from-file", folder / "a.png", *out)
    assert f"cannot read '{folder / 'a.png'}': it is no list of names" in wrong
    wrong = refused("denoise", "--from-file", tmp_path)
    assert wrong == f"error: cannot read '{tmp_path}': it is a folder"
    assert "it is no folder" in refused("denoise", folder, "--out-dir", tmp_path / "list")
    (tmp_path / "list").write_text(f"{folder / 'a.png'}\n{folder / 'sub' / '..' / 'a.png'}\n")
    twice = refused("denoise", "--from-file", tmp_path / "list", *out)
    assert twice == f"error: '{folder / 'a.png'}' is named twice; name it once"
    (tmp_path / "empty" / "a.jpg").touch()
    pair = folder / "a.png", tmp_path / "empty" / "a.jpg"
    line = refused("denoise", *pair, *out)
    assert line.endswith(f"of '{pair[0]}' and '{pair[1]}'; restore them into two folders")
    assert not (tmp_path / "out").exists()
    for wrong in (("-o", "x.png"), ("--compare", "x.png"), ("--reference", folder / "a.png")):
        result = run("denoise", folder, *out, *wrong) if wrong[0] != "-o" else run(
            "denoise", folder / "*.png", *wrong
        )  # fmt: skip
        assert result.exit_code == 2
        assert "take one IMAGE" in result.stderr


def test_pictures_of_one_name_get_results_of_two(folder, tmp_path):
    write_image(folder / "a.bmp", noise(seed=5))
    done("denoise", folder, "--out-dir", tmp_path / "out", *MEDIAN, "-q")
    twins = ["a.bmp_denoised.png", "a.png_denoised.png"]
    assert sorted(results(tmp_path / "out")) == [*twins, *NAMES[1:]]


def test_the_name_of_two_may_be_that_of_a_third(tmp_path):
    for name in ("a.bmp", "a.png", "a.png.bmp", "a.png.bmp.tif"):
        (tmp_path / name).touch()
    made = results_of(find_sources([tmp_path], out_dir=Path("out")), Path("out"))
    assert sorted(path.name for path in made) == [
        "a.bmp_denoised.png", "a.png.bmp.tif_denoised.png", "a.png.bmp_denoised.png",
        "a.png_denoised.png",
    ]  # fmt: skip


# --- how many at a time --------------------------------------------------------------------


def test_workers_are_as_many_as_pictures_cores_and_memory_allow():
    many = {"pictures": 9, "cores": 4, "memory_each": 500_000_000}
    assert worker_count(**many, memory_free=None) == (4, False)
    assert worker_count(**many | {"pictures": 3}, memory_free=10**12) == (3, False)
    assert worker_count(**many, memory_free=2_999_999_999) == (2, True)
    assert worker_count(**many, memory_free=0) == (1, True)


def test_memory_is_that_of_the_neediest_picture_which_need_not_be_the_largest():
    def needed(*shapes, **changes):
        task = Task(**{"method": "default", "steps": None, "seed": 0, "device": "cpu"} | changes)
        restorer = Restorer(settings_message(task, MaskFiles()))
        return restorer.answer({"shapes": shapes}, lambda message: None)["bytes"]

    whole, tiled, small = (1, 1024, 1024, 3), (1, 3024, 4032, 3), (1, 32, 32, 3)
    assert needed(whole, tiled, small) == needed(whole) > needed(tiled) > needed(small)
    assert needed(whole, tiled, small, tile=512) == needed(tiled)
    # Pages are held together, and worked on one after the other.
    for method in ("default", "median"):
        one, two, three = (needed((pages, 512, 512, 3), method=method) for pages in (1, 2, 3))
        assert 10 * 512 * 512 * 3 < two - one == three - two < one / 2


def test_all_pages_of_a_file_count(tmp_path):
    arrays = [np.zeros((20, 30), np.uint8), np.zeros((40, 10), np.uint8)]
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for array in arrays:
            file.write(array)
            file.write(array[::2, ::2], subfiletype=1)  # a reduced copy
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((7, 8, 3), np.float32), photometric="rgb")
    write_image(tmp_path / "c.png", arrays[1])
    (tmp_path / "d.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:100])
    np.save(tmp_path / "e.npy", np.zeros((2, 4, 4), np.float32))
    # With its header an array of 128 bytes has 256.
    shapes = shapes_of(sorted(tmp_path.iterdir()))
    assert set(shapes) == {(1, 1, 1, 3), (2, 20, 30, 3), (1, 7, 8, 3), (1, 40, 10, 3), (1, 8, 8, 3)}
    assert shapes_of([tmp_path / "none.png"]) == [(1, 1, 1, 3)]


# --- what is made --------------------------------------------------------------------------


def test_one_bad_file_does_not_stop_a_folder_and_a_second_run_skips_the_rest(folder, tmp_path):
    out, bad = tmp_path / "new" / "out", folder / "bad.png"
    bad.write_text("no picture")
    result = run("denoise", folder, "--out-dir", out, *MEDIAN, "--workers", 2)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [str(out / name) for name in NAMES]
    assert sorted(results(out)) == NAMES
    lines = result.stderr.splitlines()
    assert [line for line in lines if line.startswith("error: ")] == [
        f"error: cannot read {str(bad)!r}: not an image, or a damaged one "
        "(PNG, JPEG, TIFF, WebP, BMP, PPM are read)"
    ]
    assert lines[-1] == "3 done, 0 skipped, 1 failed; passed over: 1 hidden, 1 of other formats"
    assert any(line.startswith("4 pictures: picture 4/4, 0 s left") for line in lines)
    # The bytes are those that each picture gives alone.
    done("denoise", folder / "a.png", "-o", tmp_path / "alone.png", *MEDIAN)
    assert (tmp_path / "alone.png").read_bytes() == (out / NAMES[0]).read_bytes()

    before = {name: (out / name).stat().st_mtime_ns for name in NAMES}
    bad.write_bytes((folder / "a.png").read_bytes())
    (out / NAMES[1]).unlink()
    result = done("denoise", folder, "--out-dir", out, *MEDIAN, "--workers", 1, "--json", "-q")
    assert result.stderr == ""
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["status"] for record in records] == [
        "skipped", "completed", "completed", "skipped",
    ]  # fmt: skip
    kept = {name: (out / name).stat().st_mtime_ns for name in NAMES}
    assert [kept[name] == before[name] for name in NAMES] == [True, False, True]


def test_a_folder_and_its_results_may_be_moved_together(folder, tmp_path):
    done("denoise", folder, "--out-dir", tmp_path / "out", *MEDIAN, "--workers", 1)
    box = tmp_path / "box"
    box.mkdir()
    for name in ("in", "out"):
        (tmp_path / name).rename(box / name)
    again = ("denoise", box / "in", "--out-dir", box / "out", *MEDIAN)
    assert "0 done, 3 skipped" in done(*again).stderr
    # Either alone: the results elsewhere, or the folder by another name.
    (box / "deep").mkdir()
    (box / "out").rename(box / "deep" / "out")
    (tmp_path / "link").symlink_to(box / "deep")
    for place in (box / "deep" / "out", tmp_path / "link" / "out"):
        again = ("denoise", tmp_path / "in", "--out-dir", place, *MEDIAN)
        (box / "in").rename(tmp_path / "in")  # where it was when the results were made
        assert "0 done, 3 skipped" in done(*again).stderr
        (tmp_path / "in").rename(box / "in")
    # An entry of earlier versions has one whole path.
    manifest = box / "deep" / "out" / ".robustdip.jsonl"
    entries = [json.loads(line) for line in manifest.read_text().splitlines()]
    for entry in entries:
        entry["source"] = entry["source"].replace(str(tmp_path / "in"), str(box / "in"))
        del entry["source_from_here"]
    manifest.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    assert "0 done, 3 skipped" in done("denoise", box / "in", "--out-dir", place, *MEDIAN).stderr


def test_results_beside_the_pictures_are_no_pictures(tmp_path):
    """Also where the picture of a result is gone, or shares its name with another now."""
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, noise())
    here = ("denoise", tmp_path, "--out-dir", tmp_path, *MEDIAN, "--workers", 1)
    done(*here)
    (tmp_path / "b.png").unlink()
    write_image(tmp_path / "a.tif", noise(seed=1))
    result = done(*here)
    assert result.stderr.count("it is a result of an earlier run") == 2
    (tmp_path.parent / f"{tmp_path.name}-link").symlink_to(tmp_path)
    linked = tmp_path.parent / f"{tmp_path.name}-link"
    done("denoise", linked, "--out-dir", linked, *MEDIAN, "--workers", 1)
    assert not list(tmp_path.glob("*_denoised_denoised*"))


def test_other_settings_masks_or_pictures_are_no_earlier_result(folder, tmp_path):
    out, mask = tmp_path / "out", tmp_path / "mask.png"
    marked = np.zeros((32, 32), np.uint8)
    marked[3:5] = 255
    write_image(mask, marked)
    one = ("denoise", folder / "*.png", "--out-dir", out, "--method", "linear", "--mask", mask)
    first = done(*one)
    assert first.stderr.splitlines()[-1] == "1 done, 0 skipped, 0 failed"
    assert "0 done, 1 skipped, 0 failed (skipped: finished by" in done(*one).stderr
    marked[9] = 255
    write_image(mask, marked)
    result = run(*one)
    assert result.exit_code == 1
    assert "it exists already" in result.stderr
    assert "1 done, 0 skipped" in done(*one, "--force").stderr
    assert "0 done, 1 skipped" in done(*one, "--force").stderr  # a run that was begun by force
    write_image(folder / "a.png", noise(seed=7))
    assert run(*one).exit_code == 1
    # A last line that is cut short is no line, and does not spoil the next.
    manifest = out / ".robustdip.jsonl"
    with manifest.open("ab") as stream:
        stream.write(b'{"result": "a_deno')
    assert "1 done, 0 skipped" in done(*one, "--force").stderr
    assert "0 done, 1 skipped" in done(*one).stderr


def test_a_folder_of_results_takes_one_run_at_a_time(folder, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    out = tmp_path / "out"
    out.mkdir()
    with (out / ".robustdip.jsonl").open("wb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        line = refused("denoise", folder, "--out-dir", out, *MEDIAN)
    assert "another run is writing into this folder" in line


def test_a_file_system_without_locks_takes_results(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def flock(stream, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    manifest = Manifest(tmp_path, "settings")
    manifest.begin(tmp_path, tmp_path / "x.png")
    manifest.close()
    again = Manifest(tmp_path, "settings")
    assert again.was_begun(tmp_path, tmp_path / "x.png")
    again.close()


@pytest.fixture
def entered(tmp_path):
    """A manifest in which one result is finished; the picture, and the result."""
    source, result = tmp_path / "in.png", tmp_path / "out.png"
    source.write_bytes(b"picture")
    manifest = Manifest(tmp_path, "settings")
    manifest.begin(source, result)
    result.write_bytes(b"restored")
    manifest.finish(source, result, {"status": "completed"})
    yield manifest, source, result
    manifest.close()


def test_what_was_finished_is_known_until_something_changes(entered):
    manifest, source, result = entered
    assert manifest.finished(source, result) == {"status": "completed"}
    assert manifest.finished(source, result.with_name("other.png")) is None
    result.write_bytes(b"cropped by hand")
    assert manifest.finished(source, result) is None
    assert not manifest.was_begun(source, result)  # nor is it to be replaced
    result.write_bytes(b"restored")
    old = source.stat()
    os.utime(source, ns=(old.st_atime_ns, old.st_mtime_ns + 1))  # another picture of its size
    assert manifest.finished(source, result) is None
    os.utime(source, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert manifest.finished(source, result) == {"status": "completed"}
    source.write_bytes(b"a larger picture")
    os.utime(source, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert manifest.finished(source, result) is None


def test_a_picture_that_is_changed_during_the_run_is_not_finished(entered):
    manifest, source, result = entered
    manifest.begin(source, result)
    source.write_bytes(b"another picture")
    manifest.finish(source, result, {"status": "completed"})
    assert manifest.finished(source, result) is None


def test_a_picture_that_is_removed_during_the_run_costs_nothing(entered):
    manifest, source, result = entered
    manifest.begin(source, result)
    source.unlink()
    manifest.finish(source, result, {"status": "completed"})
    manifest.fail(source, result)


def test_a_file_at_the_place_of_a_result_that_failed_is_not_our_own(entered):
    manifest, source, result = entered
    manifest.begin(source, result)
    assert manifest.was_begun(source, result)
    assert manifest.finished(source, result) is None
    manifest.fail(source, result)
    assert not manifest.was_begun(source, result)
    assert manifest.finished(source, result) is None


def test_settings_are_all_that_decides_a_result(tmp_path, monkeypatch):
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    task = Task(method="default", steps=None, seed=0, device="cpu")
    masks = MaskFiles(defects=first)
    cases = [
        (task, masks),
        (replace(task, seed=1), masks),
        (replace(task, told=Told(strength=0.5)), masks),
        (task, MaskFiles()),
        (task, MaskFiles(defects=second)),
        (task, MaskFiles(defects=first, exact=True)),
        (task, MaskFiles(add_mask=first)),
    ]
    hashes = [settings_hash(*case) for case in cases]
    assert len(set(hashes)) == len(cases)
    assert hashes == [settings_hash(*case) for case in cases]
    monkeypatch.setattr(robustdip, "__version__", "0")
    assert settings_hash(task, masks) not in hashes


# --- processes that end --------------------------------------------------------------------


ECHO = """
import json, os, sys, time
sys.stdin.readline()  # the settings
for line in sys.stdin:
    told = json.loads(line)
    if told.get("deadly"):
        os._exit(5)
    if meeting := told.pop("meeting", None):
        # One that starts late would find that the other has done everything.
        open(os.path.join(meeting, str(os.getpid())), "w").close()
        end = time.monotonic() + 60
        while len(os.listdir(meeting)) < 2 and time.monotonic() < end:
            time.sleep(0.01)
    said = {**told, "pid": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"]}
    print(json.dumps(said), flush=True)
"""


def test_each_process_has_one_device_and_one_thread(monkeypatch, tmp_path):
    """Also the process that was asked before, and those that take the place of dead ones."""
    monkeypatch.setattr(pool, "_START", ECHO)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    jobs = [
        (number, {"deadly": True} if number < 2 else {"meeting": str(tmp_path)})
        for number in range(8)
    ]
    with pool.Pool({}) as processes:
        processes.ask({})
        answers = dict(processes.work(iter(jobs), devices=["cuda:0", "cuda:1"]))
    assert sorted(answers) == list(range(8))
    for number in (0, 1):
        assert answers.pop(number) == {"died": "its process ended with status 5, twice"}
    devices = {answer["pid"]: answer["device"] for answer in answers.values()}
    assert all(answer["device"] == devices[answer["pid"]] for answer in answers.values())
    assert set(devices.values()) == {"cuda:0", "cuda:1"}
    assert {answer["threads"] for answer in answers.values()} == {"1"}
    with pool.Pool({}) as processes:
        first = processes.ask({})["pid"]
        (answer,) = dict(processes.work(iter([(0, {})]), devices=["cuda:1"])).values()
    assert (answer["pid"], answer["device"]) == (first, "cuda:1")


def started(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "robustdip", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **LONG},
    )


def children(process):
    """The processes that a process has started; only Linux tells."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        return [int(word) for word in path.read_text().split()]
    except OSError:
        return []


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)
    return found


linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the processes")


def test_a_process_that_cannot_start_is_one_line(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "_START", "import sys; sys.exit(3)")
    line = refused("denoise", folder, "--out-dir", tmp_path / "out", *MEDIAN, "-q")
    assert line == "error: no process can be used: its process ended with status 3"


def test_a_process_that_dies_after_it_has_written_costs_nothing(folder, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    dying = (
        "import os, robustdip.cli.worker as worker\n"
        "made = worker._restored\n"
        "def restored(*arguments):\n"
        "    answer = made(*arguments)\n"
        f"    if not os.path.exists({str(gone)!r}):\n"
        f"        open({str(gone)!r}, 'w').close()\n"
        "        os._exit(9)\n"
        "    return answer\n"
        "worker._restored = restored\n"
        "worker.main()\n"
    )
    whole = pool._START.removesuffix("from robustdip.cli.worker import main; main()")
    monkeypatch.setattr(pool, "_START", f"{whole}exec({dying!r})")
    result = done("denoise", folder, "--out-dir", tmp_path / "out", *MEDIAN, "--workers", 1)
    assert gone.exists()
    assert result.stderr.splitlines()[-1].startswith("3 done, 0 skipped, 0 failed")
    assert sorted(results(tmp_path / "out")) == NAMES  # and no second one of the first


@linux
@pytest.mark.slow
def test_a_process_that_is_killed_costs_a_retry_and_then_one_line(folder, tmp_path):
    steps = ("--steps", 2, "--device", "cpu", "--workers", 1)
    expected, out = tmp_path / "expected", tmp_path / "out"
    done("denoise", folder / "sub", "--out-dir", expected / "sub", *steps)
    with started("denoise", folder, "--out-dir", out, *steps) as process:
        manifest, seen = out / ".robustdip.jsonl", set()
        # Twice in the first picture, once in the second.
        for begun in (1, 1, 2):
            wait_for(manifest.exists)
            wait_for(lambda count=begun: manifest.read_text().count('"begun"') == count)
            pid = wait_for(lambda: set(children(process)) - seen).pop()
            seen.add(pid)
            os.kill(pid, signal.SIGKILL)
        stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 1
    assert [line for line in stderr.splitlines() if line.startswith("error: ")] == [
        f"error: cannot restore {str(folder / 'a.png')!r}: its process was ended by "
        "signal 9 (out of memory?), twice"
    ]
    assert stdout.splitlines() == [str(out / name) for name in NAMES[1:]]
    assert results(out) == results(expected)


@linux
@pytest.mark.slow
def test_ctrl_c_ends_the_processes_and_keeps_what_is_finished(folder, tmp_path):
    out = tmp_path / "out"
    # So many steps that the signal comes before the second is finished.
    options = ("--out-dir", out, "--workers", 1, "--steps", 200, "--device", "cpu", "--json")
    options += ("--report", tmp_path / "page.html")
    with started("denoise", folder, *options) as process:
        record = json.loads(process.stdout.readline())  # the first is finished
        assert record["status"] == "completed"
        pids = children(process)
        assert len(pids) == 1
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    finished = 1 + len(stdout.splitlines())
    assert f"interrupted: {finished} done, 0 skipped, 0 failed, {3 - finished} not done" in stderr
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert sorted(results(out)) == NAMES[:finished]
    page = (tmp_path / "page.html").read_text()
    assert page.count(' data-status="left"') == 3 - finished
    result = done("denoise", folder, *options, "-q")
    statuses = [json.loads(line)["status"] for line in result.stdout.splitlines()]
    assert statuses == ["skipped"] * finished + ["completed"] * (3 - finished)


@linux
@pytest.mark.slow
def test_ctrl_c_is_not_lost_while_a_line_is_written(folder, tmp_path):
    import fcntl

    out = tmp_path / "out"
    read, write = os.pipe()
    # The pipe is full, so the program waits in the middle of its first line.
    size = fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    os.write(write, b"x" * size)
    command = [sys.executable, "-m", "robustdip", "denoise", folder, "--out-dir", out, *MEDIAN]
    process = subprocess.Popen(
        [*map(str, command), "--workers", "1", "--json"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **LONG},
    )
    os.close(write)
    wait_for((out / NAMES[0]).exists)
    time.sleep(3)  # it is in the write by then, also on a busy machine
    process.send_signal(signal.SIGINT)
    time.sleep(1)  # and has seen the signal
    with open(read, "rb") as stream:
        assert stream.read().count(b"\n") == 1
    assert process.wait(60) == 130
    assert "interrupted: 1 done" in process.stderr.read()
    process.stderr.close()


@linux
@pytest.mark.slow
def test_a_run_that_is_killed_at_any_moment_resumes_to_the_same_bytes(tmp_path):
    """benchmarks/images/kills.py does the same with fits and more kills."""
    root = tmp_path / "in"
    root.mkdir()
    for number in range(8):
        write_image(root / f"{number}.png", noise(side=200, seed=number))
    made = killed_and_resumed(root, tmp_path, (*MEDIAN, "--workers", "2"), kills=4, seed=0)
    assert len(made["kills"]) == 4


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_results_are_on_standard_output_while_a_terminal_shows_the_bar(folder, tmp_path):
    import pty

    parent, child = pty.openpty()
    command = [sys.executable, "-m", "robustdip", "denoise", folder, "--out-dir", tmp_path / "out"]
    process = subprocess.Popen(
        [*command, *MEDIAN, "--json"],
        stdout=subprocess.PIPE,
        stderr=child,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(child)
    shown = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while data := os.read(parent, 65536):
            shown += data
    lines, _ = process.communicate(timeout=60)
    os.close(parent)
    assert [json.loads(line)["output"] for line in lines.splitlines()] == [
        str(tmp_path / "out" / name) for name in NAMES
    ]
    assert b"3 pictures" in shown
    assert b"3 done, 0 skipped, 0 failed" in shown


# --- standard streams ----------------------------------------------------------------------


def test_a_picture_through_standard_input_and_output(tmp_path):
    write_image(tmp_path / "in.png", noise())
    data = (tmp_path / "in.png").read_bytes()
    done("denoise", tmp_path / "in.png", "-o", tmp_path / "out.png", *MEDIAN)
    expected = (tmp_path / "out.png").read_bytes()

    def piped(*arguments, given=data):
        return python(
            "-m", "robustdip", "denoise", *arguments, *MEDIAN, input=given, text=False,
            cwd=tmp_path,
        )  # fmt: skip

    result = piped("-", "-o", "-", "--json")
    assert (result.returncode, result.stdout) == (0, expected)
    record = json.loads(result.stderr)
    assert (record["output"], record["status"]) == ("-", "completed")
    assert piped("-").stdout == expected
    assert piped("in.png", "-o", "-", given=None).stdout == expected
    result = piped("-", "-o", "named.png")
    assert result.stdout == b"named.png\n"
    assert read_image(tmp_path / "named.png").pixels.shape == (32, 32, 3)
    result = piped("-", given=b"")
    assert (result.returncode, result.stdout) == (1, b"")
    assert b"standard input is empty" in result.stderr
    assert piped("-", given=b"junk").stderr.startswith(b"error: cannot read '-': not an image")
    assert piped("-", "in.png", given=data).returncode == 2


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_numbers_through_standard_input_stay_in_their_format(tmp_path, monkeypatch, order, bigtiff):
    data = io.BytesIO()
    tifffile.imwrite(data, np.ones((4, 5), np.float32), bigtiff=bigtiff, byteorder=order)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data.getvalue())))
    path = standard_input(tmp_path)
    assert default_path(path, None).suffix == ".tif"


def test_a_folder_for_single_files_must_be_there(folder, tmp_path):
    files = [folder / name for name in ("a.png", "sub/b.png")]
    line = refused("denoise", *files, "--out-dir", tmp_path / "none", *MEDIAN)
    assert "does not exist; make it first" in line
    assert not (tmp_path / "none").exists()
    line = refused("denoise", *files, "--out-dir", files[0], *MEDIAN)
    assert "a.png' is a file; name a folder" in line


def test_the_record_of_standard_input_names_no_scratch_file(tmp_path):
    write_image(tmp_path / "x.png", noise())
    program = [sys.executable, str(ROOT / "cli.py"), "denoise", "-", *MEDIAN, "--json"]
    with (tmp_path / "x.png").open("rb") as stream:
        made = subprocess.run(program, stdin=stream, capture_output=True, check=True)
    record = json.loads(made.stderr.splitlines()[-1])
    assert (record["source"], record["output"]) == ("-", "-")


def test_a_file_that_is_called_like_standard_input_keeps_its_name(tmp_path):
    path = tmp_path / "standard-input.png"
    write_image(path, noise())
    record = json.loads(done("denoise", path, *MEDIAN, "--json").stdout)
    assert record["source"] == str(path)
