"""Promise: human labels are read from the published files, of these images, and nothing is run."""

import os
import pickle
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy._core.multiarray import _reconstruct  # what a pickled array names

from overparam.files import FileError
from sop_classify.data.label_arrays import noise_rate, transition_matrix
from sop_classify.labels.cifar_n import read_human_labels
from sop_classify.labels.label_noise import HUMAN_NOISE

KEYS = {
    "aggre": "aggre_label",
    "random1": "random_label1",
    "random2": "random_label2",
    "random3": "random_label3",
    "worst": "worse_label",
    "cifar100n": "noisy_label",
}
IN_DATA_FILE = {
    "aggre": "cifar10n_aggre",
    "random1": "cifar10n_random1",
    "random2": "cifar10n_random2",
    "random3": "cifar10n_random3",
    "worst": "cifar10n_worse",
}
COUNT = 60
ALLOWED_AT_FIRST = set(torch.serialization.get_safe_globals())

OFFICIAL = os.environ.get("ROBUSTDIP_CIFAR_N")
official = pytest.mark.skipif(
    not OFFICIAL, reason="ROBUSTDIP_CIFAR_N, the folder of the published files, is not set"
)


def drawn(classes, seed):
    return np.random.default_rng(seed).integers(classes, size=COUNT)


TEN = {
    "clean_label": drawn(10, 9),
    **{KEYS[name]: drawn(10, i) for i, name in enumerate(IN_DATA_FILE)},
}
HUNDRED = {
    "clean_label": drawn(100, 7),
    "noisy_label": drawn(100, 8),
    # Of the published file, though of no use here: lists, one of them of strings.
    "clean_coarse_label": [3, 1],
    "noisy_coarse_label": ["fish", "people"],
}


def write(path, contents, *, module=b"numpy.core", folder="archive"):
    """As the published files are: a zip of a pickle that names numpy's functions, and a version.

    numpy 1 wrote them and called the module numpy.core; in numpy 2 it is numpy._core.
    """
    pickled = pickle.dumps(contents, protocol=2).replace(b"cnumpy._core", b"c" + module)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{folder}/data.pkl", pickled)
        archive.writestr(f"{folder}/version", "3\n")
    return path


@pytest.fixture
def ten(tmp_path):
    return write(tmp_path / "CIFAR-10_human.pt", TEN)


@pytest.fixture
def hundred(tmp_path):
    return write(tmp_path / "CIFAR-100_human.pt", HUNDRED, folder="CIFAR-100_human")


def refusal(path, name="worst", **options):
    """The message of a refusal, which is one line and names the file."""
    with pytest.raises(FileError) as caught:
        read_human_labels(path, name, **options)
    message = str(caught.value)
    assert message.startswith(f"cannot read {os.fspath(path)!r}: ")
    assert message.isprintable()  # so it is on one line, without the colours of torch's messages
    return message


def test_names():
    assert {name: keys[0] for name, keys in HUMAN_NOISE.items()} == KEYS
    assert {name: keys[1] for name, keys in HUMAN_NOISE.items() if keys[1:]} == IN_DATA_FILE


@pytest.mark.parametrize("module", [b"numpy.core", b"numpy._core"])
@pytest.mark.parametrize("name", HUMAN_NOISE)
def test_published_format(name, module, tmp_path):
    contents = HUNDRED if name == "cifar100n" else TEN
    path = write(tmp_path / "labels.pt", contents, module=module)
    assert module in path.read_bytes()
    for clean in (None, contents["clean_label"], contents["clean_label"].tolist()):
        labels = read_human_labels(path, name, clean_labels=clean)
        np.testing.assert_array_equal(labels, contents[KEYS[name]], strict=True)
        labels[:] = 0  # the caller's own


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "<i8", ">i8", ">u2"])
@pytest.mark.parametrize("zipped", [True, False])
def test_any_integers_as_torch_saves_them(dtype, zipped, tmp_path):
    path = tmp_path / "labels.pth"
    contents = {"worse_label": TEN["worse_label"].astype(dtype)}
    torch.save(contents, path, _use_new_zipfile_serialization=zipped)
    labels = read_human_labels(str(path), "worst", clean_labels=TEN["clean_label"])
    np.testing.assert_array_equal(labels, TEN["worse_label"], strict=True)


@pytest.mark.parametrize("name", HUMAN_NOISE)
def test_npz_with_the_published_keys(name, tmp_path):
    contents = {
        key: values
        for key, values in (HUNDRED if name == "cifar100n" else TEN).items()
        if isinstance(values, np.ndarray)
    }
    np.savez_compressed(tmp_path / "labels.npz", **contents)
    labels = read_human_labels(tmp_path / "labels.npz", name, clean_labels=contents["clean_label"])
    np.testing.assert_array_equal(labels, contents[KEYS[name]], strict=True)


@pytest.mark.parametrize("name", IN_DATA_FILE)
def test_npz_of_a_data_set(name, tmp_path):
    sets = {key: TEN[KEYS[name]].astype(np.uint8) for name, key in IN_DATA_FILE.items()}
    np.savez(tmp_path / "cifar.NPZ", train_labels=TEN["clean_label"].astype(np.uint8), **sets)
    os.rename(tmp_path / "cifar.NPZ.npz", tmp_path / "cifar.NPZ")
    labels = read_human_labels(tmp_path / "cifar.NPZ", name, clean_labels=TEN["clean_label"])
    np.testing.assert_array_equal(labels, TEN[KEYS[name]], strict=True)
    other = (TEN["clean_label"] + 1) % 10
    assert "differ" in refusal(tmp_path / "cifar.NPZ", name, clean_labels=other)


def test_npz_with_columns(tmp_path):
    """Labels of images may be (N, 1), as Keras has them."""
    clean = TEN["clean_label"]
    for human in (TEN["worse_label"], TEN["worse_label"][:, None]):
        np.savez(tmp_path / "x.npz", train_labels=clean[:, None], worse_label=human)
        labels = read_human_labels(tmp_path / "x.npz", "worst", clean_labels=clean)
        np.testing.assert_array_equal(labels, TEN["worse_label"], strict=True)


def test_labels_of_other_images_are_refused(ten, tmp_path):
    clean = TEN["clean_label"]
    swapped = clean.copy()
    i, j = 0, int(np.flatnonzero(clean != clean[0])[0])
    swapped[[i, j]] = swapped[[j, i]]
    assert "differ from those given in 2 of 60 places" in refusal(ten, clean_labels=swapped)
    assert "it labels 60 images and 59 are given" in refusal(ten, clean_labels=clean[:-1])
    # Without clean labels of its own a file can only be counted.
    short = write(tmp_path / "short.pt", {"worse_label": TEN["worse_label"][:5]})
    assert "it labels 5 images and 60 are given" in refusal(short, clean_labels=clean)
    odd = write(tmp_path / "odd.pt", {**TEN, "clean_label": clean[:5]})
    assert "its clean labels have shape (5,); (60,)" in refusal(odd, clean_labels=clean)


def test_wrong_set_or_file(ten, hundred):
    assert "unknown label set 'agre'; use one of aggre, random1" in refusal(ten, "agre")
    assert "no 'worse_label'" in refusal(hundred, "worst")
    assert refusal(hundred, "aggre").endswith("use a file of CIFAR-10N")
    assert refusal(ten, "cifar100n").endswith("use a file of CIFAR-100N")


def test_missing_file_says_where_to_get_it(tmp_path):
    for name in ("labels.pt", "labels.npz", "no folder/labels.pt", "a\nb.pt"):
        message = refusal(tmp_path / name)
        assert "no such file; get CIFAR-10_human.pt" in message
        assert "https://github.com/UCSC-REAL/cifar-10-100n" in message
        assert "CC BY-NC 4.0" in message


def test_what_is_no_file(tmp_path):
    assert refusal(tmp_path).endswith("it is a folder")
    os.mkfifo(tmp_path / "pipe.pt")
    assert "pipe or a device" in refusal(tmp_path / "pipe.pt")  # at once: nobody writes to it
    assert "null" in refusal("a\0b.pt")
    (tmp_path / "loop.pt").symlink_to(tmp_path / "loop.pt")
    assert "symbolic links" in refusal(tmp_path / "loop.pt")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.array([0, 10]), "in its 'worse_label' the labels go from 0 to 10"),
        (np.array([-1, 1]), "the labels go from -1 to 1"),
        (np.zeros((2, 3), int), "the labels have shape (2, 3)"),
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".npz"])
def test_arrays_that_are_no_labels(values, reason, suffix, tmp_path):
    path = tmp_path / f"labels{suffix}"
    contents = {"worse_label": values}
    write(path, contents) if suffix == ".pt" else np.savez(path, **contents)
    assert reason in refusal(path)


@pytest.mark.parametrize(
    "contents",
    [
        {"worse_label": np.array([0.5, 1.0])},
        {"worse_label": np.array([1, None])},
        {"worse_label": np.array(["1"])},
        {"worse_label": [0, 1]},
        {"worse_label": "worse_label"},
        {"worse_label": 1},
        "worse_label",
        7,
        None,
    ],
    ids=str,
)
def test_other_contents(contents, tmp_path):
    message = refusal(write(tmp_path / "labels.pt", contents))
    assert "damaged, or not a file of CIFAR-N labels" in message


def test_npz_of_other_contents(tmp_path):
    for values, reason in (
        (np.array([0.5, 1]), "the labels are float64; integers are needed"),
        (np.array([1, None]), "damaged, or not a file of CIFAR-N labels"),  # a pickle
    ):
        np.savez(tmp_path / "labels.npz", worse_label=values)
        assert reason in refusal(tmp_path / "labels.npz")
    with zipfile.ZipFile(tmp_path / "big.npz", "w") as archive:  # claims 8 TB
        header = b"{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000000,)}"
        header = header.ljust(117) + b"\n"
        archive.writestr("worse_label.npy", b"\x93NUMPY\x01\x00\x76\x00" + header)
    assert "damaged" in refusal(tmp_path / "big.npz")


class Calls:
    """Pickles as a call of any function: what an attacker writes."""

    def __init__(self, function, *args, state=None):
        self.reduced = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.reduced


def attacks(marker):
    return {
        "os.system": Calls(os.system, f"touch {marker}"),
        "eval": Calls(eval, f"open({str(marker)!r}, 'w')"),
        "subprocess": Calls(subprocess.call, ["touch", str(marker)]),
        "fromfile": Calls(np.fromfile, "/dev/zero", "i8", 3),
        "load": Calls(np.load, str(marker)),
    }


@pytest.mark.parametrize("form", ["published", "zip", "legacy", "pickle", "npz"])
@pytest.mark.parametrize("attack", attacks(""))
def test_nothing_in_a_file_is_run(attack, form, tmp_path):
    marker = tmp_path / "was run"
    contents = {**TEN, "worse_label": attacks(marker)[attack]}
    path = tmp_path / ("labels.npz" if form == "npz" else "labels.pt")
    if form == "published":
        write(path, contents)
    elif form == "npz":
        np.savez(path, worse_label=np.array([contents["worse_label"]], object))
    elif form == "pickle":
        path.write_bytes(pickle.dumps(contents, protocol=2))
    else:
        torch.save(contents, path, _use_new_zipfile_serialization=form == "zip")
    assert "damaged, or not a file of CIFAR-N labels" in refusal(path)
    assert not marker.exists()


def test_the_attacks_above_would_work(tmp_path):
    marker = tmp_path / "marker"
    pickle.loads(pickle.dumps(attacks(marker)["os.system"], protocol=2))
    assert marker.exists()


def forged(code, state, count=8):
    """An array whose type, as numpy's own unpickling would be told, has the given state."""
    dtype = Calls(np.dtype, code, False, True, state=state)
    return Calls(
        _reconstruct, np.ndarray, (0,), b"b", state=(1, (count,), dtype, False, b"\x01" * 64)
    )


@pytest.mark.parametrize(
    "array",
    [
        # Where numpy's own types are allowed each of these makes it take bytes for addresses.
        forged("O8", (3, "|", None, None, None, -1, -1, 0)),
        forged("V8", (3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 8, 0)),
        forged("i8", (3, "O8,", None, None, None, -1, -1, 0)),
        # More or fewer elements than there are bytes for.
        forged("i8", (3, "<", None, None, None, -1, -1, 0), count=9),
        forged("i8", (3, "<", None, None, None, -1, -1, 0), count=7),
        forged("i8", (3, "<", None, None, None, -1, -1, 0), count=10**15),
        forged("i8", (3, None, None, None, None, -1, -1, 0)),
        forged("i8", "<"),
        forged(8, (3, "<", None, None, None, -1, -1, 0)),
        # Never given a shape, a type or bytes.
        Calls(_reconstruct, np.ndarray, (0,), b"b"),
        Calls(np.ndarray, (10**15,)),
        np.dtype("i8"),
    ],
    ids=range(12),
)
def test_forged_arrays(array, tmp_path):
    message = refusal(write(tmp_path / "labels.pt", {"worse_label": array}))
    assert "damaged, or not a file of CIFAR-N labels" in message


def test_a_forged_type_of_integers_is_no_more_than_its_bytes(tmp_path):
    # numpy itself would read 1,000 elements for each of these 8, that is memory of others.
    array = forged("i8", (3, "<", (np.dtype("i8"), (1000,)), None, None, -1, -1, 0))
    path = write(tmp_path / "labels.pt", {"worse_label": array})
    assert f"the labels go from {0x0101010101010101} to" in refusal(path)


class Allowed:
    pass


def test_what_others_allow_is_neither_used_nor_lost(ten, tmp_path):
    mine = [Allowed, np.ndarray, np.dtype, (_reconstruct, "numpy.core.multiarray._reconstruct")]
    with torch.serialization.safe_globals(mine):
        during = torch.serialization.get_safe_globals()
        assert set(during) >= set(mine)
        # By name, numpy's own would stand beside the stand-ins.
        labels = read_human_labels(ten, "worst")
        np.testing.assert_array_equal(labels, TEN["worse_label"])
        assert set(torch.serialization.get_safe_globals()) >= set(during)
        refusal(write(tmp_path / "other.pt", {**TEN, "more": Allowed()}))
        assert set(torch.serialization.get_safe_globals()) >= set(during)
    # Other modules of torch allow types of their own when they are first imported.
    left = set(torch.serialization.get_safe_globals()) - ALLOWED_AT_FIRST
    assert not left & {Allowed, np.ndarray, np.dtype}
    assert all(kind.__module__.startswith("torch.") for kind in left)


def outcome(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read_human_labels(path, "worst")
        except FileError as error:
            return error


@settings(derandomize=True, max_examples=50, deadline=None)
@given(
    st.sampled_from(["zip", "npz", "legacy"]),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 255),
)
def test_damaged_files(tmp_path_factory, form, where, flip):
    path = tmp_path_factory.mktemp("damaged") / f"labels.{'npz' if form == 'npz' else 'pt'}"
    if form == "zip":
        write(path, TEN)
    elif form == "npz":
        np.savez(path, **TEN)
    else:
        torch.save(TEN, path, _use_new_zipfile_serialization=False)
    content = bytearray(path.read_bytes())
    place = int(where * len(content))
    content[place] ^= flip
    path.write_bytes(content if flip else content[:place])
    got = outcome(path)
    if isinstance(got, FileError):
        assert str(got).isprintable()
    else:  # what was hit is not among these labels, or turned one into another
        assert form == "legacy" or flip  # a zip that ends early is none
        assert got.shape == (COUNT,)
        assert (got != TEN["worse_label"]).sum() <= 1
        assert got.max() < 10


def test_importing_waits_for_no_torch():
    code = "import sys, sop_classify.labels.noisy; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


@official
def test_the_published_labels():
    ten, hundred = (Path(OFFICIAL or "") / f"CIFAR-{n}_human.pt" for n in (10, 100))
    truth = {}
    for path in (ten, hundred):
        with torch.serialization.safe_globals(
            [
                (_reconstruct, "numpy.core.multiarray._reconstruct"),
                np.ndarray,
                np.dtype,
                np.dtypes.Int64DType,
            ]
        ):
            contents = torch.load(path, weights_only=True)
        truth[path] = contents
    # Wei et al. 2022, table 1: in per cent 9.03, 17.23, 18.12, 17.64, 40.21 and 40.20.
    rates = {
        "aggre": 0.0903,
        "random1": 0.1723,
        "random2": 0.1812,
        "random3": 0.1764,
        "worst": 0.4021,
        "cifar100n": 0.4020,
    }
    for name, rate in rates.items():
        path = hundred if name == "cifar100n" else ten
        clean = truth[path]["clean_label"]
        labels = read_human_labels(path, name, clean_labels=clean)
        np.testing.assert_array_equal(labels, truth[path][KEYS[name]], strict=True)
        assert labels.shape == (50_000,)
        assert noise_rate(clean, labels) == pytest.approx(rate, abs=5e-4)
        assert "differ" in refusal(path, name, clean_labels=np.roll(clean, 1))
    worst = read_human_labels(ten, "worst")
    matrix = transition_matrix(truth[ten]["clean_label"], worst, 10)
    assert matrix[3].argsort()[-2] == 5  # cats are taken for dogs
