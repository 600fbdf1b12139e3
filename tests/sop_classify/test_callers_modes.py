"""Promise: a library among libraries: what the caller's PyTorch is set to changes no result."""

import contextlib
import threading
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sop_classify import ELRLoss, ImageData, SOPLoss, training_for
from sop_classify.training.networks import FastNet
from tests.helpers.labels import noisy, run, small_data, small_recipe

pytestmark = pytest.mark.usefixtures("one_thread")


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def a_mode_of_everything():
    with torch.inference_mode(), torch.autocast("cpu"), torch.device("meta"):
        with default_dtype(torch.float64):
            yield


MODES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "meta": lambda: torch.device("meta"),
    "everything": a_mode_of_everything,
}
DATA = small_data(number=48, tests=12)
GIVEN = noisy(DATA.train_labels, 10)


def trained(method, *, between=contextlib.nullcontext, **options):
    """Losses and tensors after a training, of which each part is made in a mode of its own."""
    settings = ["noise_rate=0.2"] if method == "coteaching+" else []
    settings += ["warmup=1"] if method == "dividemix" else []
    recipe = small_recipe(method, "ema=0.8", *settings)
    with between():
        training = training_for(DATA, GIVEN, recipe, device="cpu", **options)
    with between():
        epochs = run(training, DATA, DATA.train_labels)
    with between():
        predicted = training.predict(DATA.test_images, flips=True, ema=True)
        state = training.state_dict()
        training.load_state_dict(state)
    values = [
        (e.train_loss, e.test_accuracy, e.test_accuracy_flips, e.memorized, e.u) for e in epochs
    ]
    return values, {"predicted": predicted, **training.state_dict()}


EXPECTED = {}


def assert_same(method, mode, **options):
    if method not in EXPECTED:
        EXPECTED[method] = trained(method)
    values, tensors = trained(method, between=mode, **options)
    expected_values, expected = EXPECTED[method]
    assert values == expected_values
    assert tensors.keys() == expected.keys()
    different = [
        name
        for name, tensor in expected.items()
        # A mean of whole numbers, which PyTorch rounds in the default dtype; nothing reads it.
        if not (name.startswith("ema") and name.endswith("num_batches_tracked"))
        if tensors[name].dtype != tensor.dtype or not torch.equal(tensors[name], tensor)
    ]
    assert different == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("method", ["ce", "sop+", "elr", "elr+", "coteaching+", "dividemix"])
def test_every_method_trains_the_same(method, mode):
    assert_same(method, MODES[mode])


@pytest.mark.parametrize("mode", MODES)
def test_a_training_is_the_same(mode):
    assert_same("sop", MODES[mode])


def test_trainings_in_threads_are_the_same():
    EXPECTED["sop"] = EXPECTED.get("sop") or trained("sop")
    found = [None] * 3

    def work(i):
        torch.set_num_threads(1)
        with list(MODES.values())[i]():  # of this thread alone
            found[i] = trained("sop")

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for values, tensors in found:
        assert values == EXPECTED["sop"][0]
        assert all(torch.equal(tensors[name], t) for name, t in EXPECTED["sop"][1].items())


@pytest.mark.parametrize("mode", [*MODES])
def test_the_callers_mode_is_as_it_was(mode):
    def state():
        return (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.is_autocast_cache_enabled(),
            torch.get_default_dtype(),
            torch.get_default_device(),
        )

    with MODES[mode]():
        before = state()
        training = training_for(DATA, GIVEN, small_recipe(), device="cpu")
        for _ in training.epochs():
            assert state() == before  # also while the generator waits
        training.predict(DATA.test_images)
        assert state() == before


def test_networks_of_other_dtypes_are_trained_in_float32():
    def network(dtype):
        made = FastNet(3, (8, 16, 16))
        start = torch.linspace(-1, 1, 3 * 16 * 16).reshape(1, 3, 16, 16)
        made.initialise(start, generator=torch.Generator().manual_seed(0))
        return made.to(dtype)

    expected = trained("ce", network=network(torch.float32))
    values, tensors = trained("ce", network=network(torch.float64))
    assert values == expected[0]
    assert all(torch.equal(tensors[name], tensor) for name, tensor in expected[1].items())
    with torch.inference_mode():
        made = network(torch.float32)
    with pytest.raises(ValueError, match=r"made inside torch\.inference_mode"):
        training_for(DATA, GIVEN, small_recipe(), network=made, device="cpu")


@pytest.mark.parametrize("kind", ["read-only", "strided", "reversed", "other integers"])
def test_other_arrays_train_the_same_without_a_warning(kind):
    def other(array):
        if kind == "read-only":
            array = array.copy()
            array.flags.writeable = False
            return array
        if kind == "strided":
            return np.repeat(array, 2, axis=0)[::2]
        if kind == "reversed":
            return array[::-1].copy()[::-1]
        return array.astype(">i2") if array.ndim == 1 else np.asfortranarray(array)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = ImageData(
            *(other(array) for array in (
                DATA.train_images, DATA.train_labels, DATA.test_images, DATA.test_labels
            )),
            DATA.class_names,
            "small",
        )  # fmt: skip
        training = training_for(data, other(GIVEN), small_recipe(), device="cpu")
        losses = [epoch.train_loss for epoch in run(training, data, other(DATA.train_labels))]
        predicted = training.predict(other(DATA.test_images))
    expected = training_for(DATA, GIVEN, small_recipe(), device="cpu")
    assert losses == [epoch.train_loss for epoch in run(expected, DATA, DATA.train_labels)]
    assert torch.equal(predicted, expected.predict(DATA.test_images))
    assert torch.equal(predicted, expected.predict(torch.from_numpy(DATA.test_images)))


# --- the losses in a loop of the user's ----------------------------------------------------


def made(kind):
    if kind is SOPLoss:
        return SOPLoss(8, 3, generator=torch.Generator().manual_seed(0), balance=0.1)
    return ELRLoss(8, 3)


def stepped(loss, dtype=torch.float32):
    generator = torch.Generator("cpu").manual_seed(1)
    values = []
    for _ in range(4):
        logits = torch.randn(8, 3, generator=generator, dtype=torch.float32, device="cpu") * 3
        logits = logits.to(dtype).float().to(dtype).requires_grad_()
        labels = torch.arange(8, device="cpu") % 3
        value = loss(logits, labels, torch.arange(8, device="cpu"))
        values.append(value)
        if torch.is_grad_enabled():
            value.backward()
            values.append(logits.grad)
    return [value.detach() for value in [*values, *loss.state_dict().values()]]


@pytest.mark.parametrize("kind", [SOPLoss, ELRLoss])
@pytest.mark.parametrize("mode", ["autocast", "float64", "bfloat16", "meta"])
def test_a_loss_computes_in_float32_in_every_mode(kind, mode):
    expected = stepped(made(kind))
    with MODES[mode]():
        found = stepped(made(kind))
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)


@pytest.mark.parametrize("kind", [SOPLoss, ELRLoss])
@pytest.mark.parametrize("mode", ["no_grad", "inference_mode"])
def test_a_loss_made_or_called_without_gradients(kind, mode):
    with MODES[mode]():
        loss = made(kind)
        before = {name: value.clone() for name, value in loss.state_dict().items()}
        stepped(loss)
        assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())
    # And it trains afterwards.
    for one, other in zip(stepped(loss), stepped(made(kind)), strict=True):
        assert torch.equal(one, other)
    loss.eval()
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    stepped(loss)
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())


@pytest.mark.parametrize("kind", [SOPLoss, ELRLoss])
def test_half_precision_logits_of_autocast(kind):
    network, loss = nn.Linear(5, 3), made(kind)
    x = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(x)
        value = loss(logits, torch.arange(8) % 3, torch.arange(8))
        assert logits.dtype == torch.bfloat16
    value.backward()
    assert value.dtype == torch.float32
    assert network.weight.grad.abs().sum() > 0
    expected = made(kind)(logits.detach().float(), torch.arange(8) % 3, torch.arange(8))
    assert torch.equal(value.detach(), expected)
    assert not torch.equal(value.detach(), F.cross_entropy(logits.detach(), torch.arange(8) % 3))
