"""Bytes that are changed at random: what reads them accepts or refuses in one line.

The readers run in a process of its own that may take little more memory than it has at its start.
ROBUSTDIP_FUZZ_SECONDS sets how long all of it takes, ROBUSTDIP_FUZZ_SEED where it begins.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.hostile.tally import held
from tests.hostile.test_image_files import DAMAGED_SIZE, sound_files
from tests.hostile.warm import environment

SECONDS = float(os.environ.get("ROBUSTDIP_FUZZ_SECONDS", "60"))
SEED = int(os.environ.get("ROBUSTDIP_FUZZ_SEED", "0"))
IMAGES = ("png", "tiff", "jpeg", "webp", "bmp", "p")
READERS = ("image", "npz", "checkpoint", "run.json", "metrics.csv")
SCRIPT = """
import random, resource, sys, time, warnings
from pathlib import Path

reader, folder, seconds, seed = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
from overparam.files import FileError, file_errors
if reader == "image":
    from robustdip import read_image as read
    name = "x"
elif reader == "npz":
    from sop_classify.data.npz import read_npz
    def read(path):
        with file_errors("read", path):
            read_npz(path)
    name = "x.npz"
elif reader == "checkpoint":
    from sop_classify.records.checkpoint import CHECKPOINT as name, read_checkpoint as read
else:
    from sop_classify.records.record import read_metrics, read_record
    def read(path):
        (read_metrics if reader == "metrics.csv" else read_record)(path.parent)
    name = reader
warnings.simplefilter("error")
seeds = [path.read_bytes() for path in sorted(folder.glob("seed*"))]
work = folder / "work"
work.mkdir()
path = work / name
path.write_bytes(seeds[0])
read(path)
MARGIN = 256 * 2**20
now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + MARGIN, now + MARGIN))
rng = random.Random(seed)
WORDS = [b"\\0", b"\\xff" * 4, b"\\x7f\\xff\\xff\\xff", b"\\0\\0\\0\\x80", b"-1", b"1e999", b"null",
         b"[]", b"{}", b"NaN", b"99999999999999999999", b"\\n", b",", b"\\"", b"true",
         b"\\x80\\x04", b"IDAT"]
def changed(data):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        place = rng.randrange(len(data) + 1)
        if rng.random() < 0.4:
            place = min(place, rng.randrange(200))
        kind = rng.randrange(7)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1 and place < len(data):
            data[place] = rng.randrange(256)
        elif kind == 2:
            word = rng.choice(WORDS)
            data[place : place + len(word)] = word
        elif kind == 3:
            data[place:place] = rng.choice(WORDS)
        elif kind == 4:
            del data[place : place + rng.choice([1, 2, 4, 50])]
        elif kind == 5:
            other = rng.choice(seeds)
            begin = rng.randrange(len(other) + 1)
            data[place : place + 30] = other[begin : begin + 30]
        elif len(data) > 1 and rng.random() < 0.2:
            del data[place:]
    return bytes(data)
end, tried, accepted = time.monotonic() + seconds, 0, 0
while time.monotonic() < end:
    data = changed(rng.choice(seeds))
    path.write_bytes(data)
    begin = time.monotonic()
    try:
        read(path)
        accepted += 1
    except FileError as error:
        if "\\n" in str(error) or not str(error).startswith("cannot read"):
            (folder / "found").write_bytes(data)
            raise SystemExit(f"a message of several lines, or of another kind: {error}")
    except BaseException:
        (folder / "found").write_bytes(data)
        raise
    if time.monotonic() - begin > 10:
        (folder / "found").write_bytes(data)
        raise SystemExit("it took more than ten seconds")
    tried += 1
print(tried, accepted)
"""


def seeds_for(reader, warm, npz, folder):
    """Sound files to start from."""
    if reader == "image":
        sound = sound_files(DAMAGED_SIZE)
        return [sound[name].data for name in sound if name.startswith(IMAGES)]
    if reader == "npz":
        arrays = dict(np.load(npz))
        np.savez_compressed(folder / "compressed.npz", **arrays)
        return [npz.read_bytes(), (folder / "compressed.npz").read_bytes()]
    run = folder / "run"
    command = ("train-cifar", "--data", npz, "--noise", "0.2", "--recipe", "cpu", "--device", "cpu",
               "--epochs", "1", "--limit", "32", "--set", "batch_size=16", "-q")  # fmt: skip
    assert warm.run(*command, "--out", run, cwd=folder).status == 0
    name = "checkpoint.safetensors" if reader == "checkpoint" else reader
    data = (run / name).read_bytes()
    if reader == "run.json":
        return [data, json.dumps(json.loads(data)).encode()]
    return [data]


def fuzz(reader, warm, npz, tmp_path, *, seconds, seed):
    for number, data in enumerate(seeds_for(reader, warm, npz, tmp_path)):
        (tmp_path / f"seed{number:03}").write_bytes(data)
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, reader, tmp_path, str(seconds), str(seed)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=seconds + 120,
    )
    # C libraries may print; the program drops that (overparam.program.quiet_libraries).
    assert ended.returncode == 0, (tmp_path / "found", ended.stderr[-2000:])
    tried, accepted = map(int, ended.stdout.split())
    assert tried > 5
    held(f"fuzz: {reader}", tried)
    return accepted


@pytest.mark.parametrize("reader", ["image"])
def test_changed_bytes_for_a_moment(warm, npz, tmp_path, reader):
    fuzz(reader, warm, npz, tmp_path, seconds=2, seed=SEED)


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_changed_bytes(warm, npz, tmp_path, reader):
    share = {"image": 0.5}.get(reader, 0.125)
    fuzz(reader, warm, npz, tmp_path, seconds=share * SECONDS, seed=SEED + 1)
