"""The public functions with any input and in any state of torch: promised results, or one error.

An error is a TypeError or a ValueError of one line that names the parameter.
"""

import contextlib
import sys
import threading
import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from overparam.checks import check_count, check_real
from robustdip import METHODS, denoise
from robustdip.quality import psnr, ssim
from robustdip.synthetic import corrupt
from sop_classify import LabelNoise, asymmetric_noise, label_issues, noisy_labels, symmetric_noise
from sop_classify.data.label_arrays import check_labels
from tests.helpers.images import small
from tests.helpers.labels import small_data
from tests.hostile.tally import held, some_slow

RECIPE = small("paper", steps=2)
QUICK = [name for name in METHODS if METHODS[name].kind == "classical" and name != "two-phase"]


def bounded(examples):
    """So many examples, the same in every run."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


def refused(call, *names):
    """The call raises TypeError or ValueError, in one line that holds one of the names."""
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert any(name in message for name in names), message
    held("library")


# --- images --------------------------------------------------------------------------------

DTYPES = ("u1", "<u2", ">u2", "<f2", ">f2", "<f4", ">f4", "<f8", ">f8")


@st.composite
def images(draw):
    """Valid images of any shape, dtype, byte order, strides and flags."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    shape += draw(st.sampled_from([(), (1,), (2,), (3,), (4,)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    if dtype.kind == "f":
        image = rng.random(shape).astype(dtype)
    else:
        image = rng.integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)
    layout = draw(st.sampled_from(["plain", "Fortran", "reversed", "every second", "broadcast"]))
    if layout == "Fortran":
        image = np.asfortranarray(image)
    elif layout == "reversed":
        image = image[::-1, ::-1]
    elif layout == "every second":
        image = np.repeat(image, 2, axis=1)[:, ::2]
    elif layout == "broadcast":
        image = np.broadcast_to(image[:1], shape)
    if draw(st.booleans()) and image.flags.owndata:
        image.flags.writeable = False
    return image


def check_result(image, result):
    for name in ("image", "corruption", "mask"):
        assert getattr(result, name).shape == image.shape
    assert result.image.dtype == image.dtype
    assert result.corruption.dtype == np.float32
    assert result.mask.dtype == bool
    assert np.isfinite(result.image.astype(float)).all()
    assert np.isfinite(result.corruption).all()


@pytest.mark.filterwarnings("error")
@bounded(30)
@given(image=images(), method=st.sampled_from(QUICK))
def test_classical_methods_keep_shape_and_dtype(image, method):
    before = image.copy()
    result = denoise(image, method=method)
    check_result(image, result)
    np.testing.assert_array_equal(image, before)
    native = np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("="))
    np.testing.assert_array_equal(denoise(native, method=method).image, result.image)
    held("library")


@pytest.mark.slow
@bounded(40)
@given(image=images(), seed=st.integers(0, 2**63 - 1))
def test_a_fit_keeps_shape_and_dtype(image, seed):
    result = denoise(image, method=RECIPE, seed=seed, device="cpu")
    check_result(image, result)
    native = np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("="))
    again = denoise(native, method=RECIPE, seed=seed, device="cpu")
    np.testing.assert_array_equal(again.image, result.image)
    held("library")


@pytest.mark.slow
@bounded(60)
@given(image=images(), data=st.data())
def test_values_under_a_mask_are_not_read(image, data):
    mask = data.draw(arrays.arrays(bool, image.shape[: data.draw(st.integers(2, image.ndim))]))
    assume(not mask.all())
    result = denoise(image, method="linear", mask=mask)
    whole = np.broadcast_to(mask.reshape(mask.shape + (1,) * (image.ndim - mask.ndim)), image.shape)
    np.testing.assert_array_equal(result.image[~whole], image[~whole])
    bad = image.copy()
    bad[whole] = data.draw(
        st.sampled_from([np.nan, np.inf, -np.inf, -1, 2] if image.dtype.kind == "f" else [0, 255])
    )
    other = denoise(bad, method="linear", mask=mask)
    np.testing.assert_array_equal(other.image, result.image)
    masked = denoise(np.ma.array(image, mask=whole), method="linear") if whole.any() else other
    np.testing.assert_array_equal(masked.image, result.image)
    held("library", 3)


BAD_IMAGES = {
    "None": None,
    "text": "image",
    "number": 0.5,
    "list of text": [["a", "b"]],
    "dictionary": {"image": 1},
    "ragged": [[0.1, 0.2], [0.3]],
    "object": np.array([[None, 1], [2, 3]], object),
    "bool": np.zeros((4, 4), bool),
    "int8": np.zeros((4, 4), np.int8),
    "int64": np.zeros((4, 4), np.int64),
    "uint32": np.zeros((4, 4), np.uint32),
    "complex": np.zeros((4, 4), complex),
    "dates": np.zeros((4, 4), "M8[s]"),
    "strings": np.zeros((4, 4), "U3"),
    "bytes": np.zeros((4, 4), "S3"),
    "records": np.zeros((4, 4), [("r", "u1"), ("g", "u1")]),
    "no dimension": np.float32(0.5),
    "one dimension": np.zeros(16),
    "four dimensions": np.zeros((1, 3, 4, 4)),
    "channels first": np.zeros((5, 4, 6)),
    "no rows": np.zeros((0, 4)),
    "no columns": np.zeros((4, 0, 3)),
    "no channels": np.zeros((4, 4, 0)),
    "NaN": np.full((4, 4), np.nan),
    "infinite": np.full((4, 4), np.inf),
    "above 1": np.full((4, 4), 1.5),
    "below 0": np.full((4, 4), -0.5),
    "0 to 255 as floats": np.full((4, 4), 255.0),
    "palette": Image.new("P", (4, 4)),
    "bilevel": Image.new("1", (4, 4)),
    "CMYK": Image.new("CMYK", (4, 4)),
    "float image": Image.new("F", (4, 4)),
    "LA": Image.new("LA", (4, 4)),
    "bfloat16": torch.zeros(4, 4, dtype=torch.bfloat16),
    "sparse": torch.zeros(4, 4).to_sparse(),
    "meta": torch.zeros(4, 4, device="meta"),
    "generator": (row for row in [[0.1]]),
    "function": len,
    "type": np.ndarray,
}
BAD_PARAMETERS = {
    "seed": [-1, 2**63, 1.5, "0", None, True, np.nan, [0], np.float64(1), 1j],
    "steps": [0, -1, 1.5, "3", True, np.inf, [1], 1j],
    "method": ["", "Default", "magic", None, 3, b"median", ["median"], {}],
    "device": ["", "gpu", "cuda:99", "CPU", None, 0, "meta", "cpu:x", ["cpu"], "xla"],
    "mask": [
        np.zeros((4, 4), int), np.zeros((4, 5), bool), np.ones((4, 4), bool), "mask", 1,
        np.zeros(16, bool), np.zeros((4, 4, 2), bool), np.zeros((0, 0), bool),
        [[True], [False, True]],
    ],
    "reference": [
        np.zeros((4, 5)), "clean", 1, np.full((4, 4), np.nan), np.full((4, 4), 2.0),
        [[0.1], [1, 2]], np.zeros((4, 4, 3)),
    ],
    "on_step": [3, "print", [print]],
}  # fmt: skip


@pytest.mark.parametrize("name", some_slow(BAD_IMAGES, every=2))
@pytest.mark.parametrize("method", ["median", "default"])
def test_what_is_no_image_is_refused_by_its_name(name, method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        refused(lambda: denoise(BAD_IMAGES[name], method=method, device="auto"), "image")
        reference = BAD_IMAGES[name]
    if reference is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = np.full((4, 4), 0.5)
            refused(lambda: denoise(image, reference=reference, method=method), "reference")


@pytest.mark.parametrize(
    ("name", "value"), [(k, v) for k, vs in BAD_PARAMETERS.items() for v in vs], ids=repr
)
def test_a_parameter_that_cannot_be_is_refused_by_its_name(name, value):
    options = {"method": RECIPE if name != "mask" else "dip-l2", "device": "cpu", "steps": 1}
    options[name] = value
    refused(lambda: denoise(np.full((4, 4), 0.5), **options), name)


@bounded(150)
@given(
    st.one_of(
        st.integers(),
        st.floats(),
        st.text(),
        st.none(),
        st.booleans(),
        st.binary(),
        st.sampled_from([10**400, -(10**400), 10**5000, -(10**5000)]),
    )
)
def test_checks_of_numbers(value):
    for check, kinds in ((check_count, int), (check_real, (int, float))):
        possible = isinstance(value, kinds) and not isinstance(value, bool)
        limits = {"most": 10**300} if kinds is int else {}
        if kinds is int:
            possible = possible and 0 <= value <= 10**300
        else:
            possible = possible and abs(value) <= sys.float_info.max
        if possible:
            assert check("amount", value, **limits) == value
            held("library")
        else:
            refused(
                lambda check=check, limits=limits: check("amount", value, **limits), "amount is "
            )


@bounded(80)
@given(
    image=arrays.arrays(
        st.sampled_from([np.float16, np.float32, np.float64]),
        arrays.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=12),
        elements=st.floats(0, 1, width=16),
    ),
    kind=st.sampled_from(
        ["salt-and-pepper", "random-valued", "text", "scratches", "missing-lines"]
    ),
    amount=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_corruption_is_where_the_mask_says(image, kind, amount, seed):
    before = image.copy()
    noisy, mask = corrupt(image, kind, amount, rng=np.random.default_rng(seed))
    assert (noisy.shape, noisy.dtype) == (image.shape, image.dtype)
    assert (mask.shape, mask.dtype) == (image.shape, bool)
    np.testing.assert_array_equal(noisy[~mask], image[~mask])
    np.testing.assert_array_equal(image, before)
    assert ((noisy >= 0) & (noisy <= 1)).all()
    again, _ = corrupt(image, kind, amount, rng=np.random.default_rng(seed))
    np.testing.assert_array_equal(again, noisy)
    if min(image.shape[:2]) >= 11:
        assert ssim(image, image) == pytest.approx(1)
    assert psnr(image, image) == np.inf
    held("library")


# --- states of the caller ------------------------------------------------------------------

STATES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "autocast float16": lambda: torch.autocast("cpu", dtype=torch.float16),
    "meta device": lambda: torch.device("meta"),
    "deterministic": lambda: switched(
        torch.use_deterministic_algorithms, torch.are_deterministic_algorithms_enabled, True
    ),
    "float64": lambda: switched(torch.set_default_dtype, torch.get_default_dtype, torch.float64),
    "float16": lambda: switched(torch.set_default_dtype, torch.get_default_dtype, torch.float16),
    "anomalies": lambda: torch.autograd.set_detect_anomaly(True, check_nan=False),
    "numpy raises": lambda: np.errstate(all="raise"),
    "numpy prints little": lambda: np.printoptions(threshold=1),
    "warnings are errors": lambda: filtered("error"),
    "seeded": lambda: contextlib.nullcontext(torch.manual_seed(1)),
}


@contextlib.contextmanager
def switched(put, get, value):
    before = get()
    put(value)
    try:
        yield
    finally:
        put(before)


@contextlib.contextmanager
def filtered(action):
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        yield


def legacy_random_state():
    return tuple(np.random.get_state()[1][:9])  # noqa: NPY002


def state_of_torch():
    return (
        torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype(),
        torch.is_autocast_enabled("cpu"), torch.get_default_device(), torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(), torch.get_rng_state().sum().item(),
        torch.is_anomaly_enabled(), legacy_random_state(), str(np.geterr()),
    )  # fmt: skip


PIXELS = np.random.default_rng(3).random((8, 7, 3)).astype(np.float32)


def fitted(name):
    recipe = small(name, steps=2)
    return denoise(PIXELS, method=recipe, device="cpu").image


@pytest.fixture(scope="module")
def plain():
    return {name: fitted(name) for name in ("paper", "default", "dip-l2")}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["paper", "default", "dip-l2"])
@pytest.mark.parametrize("states", [[s] for s in STATES] + [
    ["no_grad", "float64", "meta device"], ["inference_mode", "autocast", "numpy raises"],
    ["deterministic", "warnings are errors", "float64"],
], ids=" and ".join)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_no_state_of_the_caller_changes_the_result(plain, states, name):
    with contextlib.ExitStack() as stack:
        for state in states:
            stack.enter_context(STATES[state]())
        before = state_of_torch()
        image = fitted(name)
        assert state_of_torch() == before
    np.testing.assert_array_equal(image, plain[name])
    held("library: states", 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "state", ["no_grad", "inference_mode", "float64", "autocast", "meta device"]
)
def test_threads_in_other_states_do_not_disturb(plain, state):
    failures = []

    def work(name, own):
        try:
            with STATES[own]() if own else contextlib.nullcontext():
                np.testing.assert_array_equal(fitted(name), plain[name])
        except BaseException as error:
            failures.append(error)

    with STATES[state]():
        threads = [
            threading.Thread(target=work, args=(name, own))
            for name, own in (("paper", None), ("default", "no_grad"), ("dip-l2", "inference_mode"))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures, failures
    held("library: states", 3)


# --- labels --------------------------------------------------------------------------------


@bounded(100)
@given(
    labels=arrays.arrays(
        st.sampled_from(["i1", "u1", "<i4", ">i4", "i8", "u8", ">u2"]),
        st.integers(1, 60),
        elements=st.integers(0, 9),
    ),
    rate=st.floats(0, 0.99),
    seed=st.integers(0, 2**32),
)
def test_label_noise(labels, rate, seed):
    before = labels.copy()
    noisy = symmetric_noise(labels, rate, 10, rng=np.random.default_rng(seed))
    assert noisy.shape == labels.shape
    assert ((noisy >= 0) & (noisy < 10)).all()
    np.testing.assert_array_equal(labels, before)
    given_labels = check_labels(labels, 10)
    probability = np.full((labels.size, 10), 0.1)
    issues = label_issues(given_labels, probability)
    assert not issues.is_label_issue.any()  # a tie is no evidence
    held("library", 2)


@pytest.mark.parametrize(
    "labels",
    [[], [[0, 1]], [0.5], ["a"], [10], [-1], None, "labels", 3, [None], [[0], [1, 2]], [2**70],
     np.array([np.nan]), np.array([0, 1], complex), np.array([True, False])],
    ids=repr,
)  # fmt: skip
def test_what_are_no_labels_is_refused(labels):
    refused(lambda: check_labels(labels, 10), "labels")
    refused(lambda: symmetric_noise(labels, 0.2, 10, rng=np.random.default_rng(0)), "labels")
    refused(lambda: label_issues(labels, np.full((1, 10), 0.1)), "labels")


@pytest.mark.parametrize(
    "rate", [-0.1, 1.0, 2, np.nan, np.inf, "0.2", None, True, 1j, [0.2]], ids=repr
)
def test_what_is_no_rate_is_refused(rate):
    labels = np.arange(20) % 10
    rng = np.random.default_rng(0)
    refused(lambda: symmetric_noise(labels, rate, 10, rng=rng), "rate")
    refused(lambda: asymmetric_noise(labels, rate, 10, mapping="cifar10", rng=rng), "rate")
    if rate is not None:
        refused(lambda: noisy_labels(small_data(), LabelNoise("symmetric", rate), seed=0), "rate")
