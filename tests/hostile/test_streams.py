"""Standard streams that are closed, full or read by nobody, for every command."""

import itertools
import json

import pytest

from robustdip import read_image
from tests.hostile.tally import held

STREAMS = list(itertools.product(("file", "closed", "full", "unread"), repeat=2))
FIT = ("--steps", "2", "--method", "paper", "--device", "cpu")
TINY = ("--recipe", "cpu", "--device", "cpu", "--epochs", "1", "--set", "batch_size=16",
        "--limit", "32")  # fmt: skip
GRID = ("--methods", "ce,elr", "--noise", "0.2", "--out", "grid")
# What is typed; the exit status if all can be printed; what exists afterwards beside in.png.
COMMANDS = {
    "median": (("denoise", "in.png", "-o", "out.png", "--method", "median"), 0, ["out.png"]),
    "fit": (("denoise", "in.png", "-o", "out.png", *FIT), 0, ["out.png"]),
    "fit --json": (("denoise", "in.png", "-o", "out.png", "--json", *FIT), 0, ["out.png"]),
    "fit -q": (
        ("denoise", "in.png", "-q", "--compare", "strip.png", "--reference", "in.png", *FIT),
        0,
        ["in_denoised.png", "strip.png"],
    ),
    "two images": (
        ("denoise", "in.png", "none.png", "--method", "median"),
        1,
        ["in_denoised.png"],
    ),
    "corrupt": (("corrupt", "in.png", "-o", "out.png"), 0, ["out.png"]),
    "corrupt --json": (("corrupt", "in.png", "-o", "out.tif", "--json"), 0, ["out.tif"]),
    "compare": (("compare", "in.png", "in.png"), 0, []),
    "compare --json": (("compare", "in.png", "in.png", "--json"), 0, []),
    "train-cifar": (("train-cifar", "--data", "NPZ", "--out", "run", *TINY), 0, ["run"]),
    "train-cifar --json": (
        ("train-cifar", "--data", "NPZ", "--out", "run", "--json", "--method", "ce", *TINY),
        0,
        ["run"],
    ),
    "compare-methods": (("compare-methods", "--data", "NPZ", *GRID, *TINY), 0, ["grid"]),
    "--version": (("--version",), 0, []),
    "--help": (("--help",), 0, []),
    "denoise --help": (("denoise", "--help"), 0, []),
    "train-cifar --help": (("train-cifar", "--help"), 0, []),
    "compare-methods --help": (("compare-methods", "--help"), 0, []),
    "missing file": (("denoise", "none.png"), 1, []),
    "missing data": (("train-cifar", "--data", "none.npz"), 1, []),
    "unknown option": (("denoise", "--none"), 2, []),
    "unknown command": (("restore",), 2, []),
    "nothing": ((), 2, []),
}
FAST = [("fit", ("unread", "full")), ("corrupt", ("closed", "closed")),
        ("compare", ("full", "file")), ("train-cifar", ("closed", "full")),
        ("missing file", ("file", "unread"))]  # fmt: skip
SLOW = [case for case in itertools.product(COMMANDS, STREAMS) if case not in FAST]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def named(value):
    return value if isinstance(value, str) else f"stdout {value[0]}, stderr {value[1]}"


@pytest.mark.parametrize(
    ("command", "streams"),
    [*FAST, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)],
    ids=named,
)
def test_a_stream_that_fails_costs_no_result(warm, folder, npz, command, streams):
    arguments, status, made = COMMANDS[command]
    typed = [str(npz) if word == "NPZ" else word for word in arguments]
    out, err = streams
    ended = warm.run(*typed, cwd=folder, stdout=out, stderr=err)
    # Nothing is printed on standard output in an error: that it is full does not matter then.
    expected = 1 if out == "full" and status == 0 else status
    assert ended.status == expected, ended
    for text in (ended.stdout, ended.stderr):
        assert "Traceback" not in text
        assert "Exception ignored" not in text
    if out == "full" and status == 0 and err == "file":
        last = ended.stderr.splitlines()[-1]
        assert last == "error: cannot write to standard output: No space left on device"
    if out == "file" and "--json" in arguments:
        json.loads(ended.stdout)
    if out == "file" and status == 0:
        assert ended.stdout
    assert names(folder) == sorted(["in.png", *made])
    for name in made:
        if (folder / name).is_dir():
            runs = list((folder / name).rglob("run.json"))
            assert len(runs) == (2 if name == "grid" else 1)
            for run in runs:
                assert json.loads(run.read_text())["status"] == "completed"
            assert (name == "grid") == (folder / name / "comparison.csv").exists()
            assert not list((folder / name).rglob(".*.part"))
        else:
            assert read_image(folder / name).pixels.shape[0] == 12
    held("streams")
