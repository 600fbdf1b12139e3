"""Training: what it reports is what happened, the truth guides nothing, one seed is one result."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

import sop_classify
from overparam.errors import DivergedError, NotEnoughMemoryError
from sop_classify.data.image_data import channel_statistics
from sop_classify.methods.build import loss_for, training_for
from sop_classify.methods.catalogue import recipe_for
from sop_classify.methods.sop import SOPLoss, alpha_for
from sop_classify.training.evaluation import Evaluator
from sop_classify.training.loss import Loss
from sop_classify.training.optimizers import image_scale, schedule
from sop_classify.training.single import Training
from tests.helpers.labels import noisy, run, small_data, small_recipe

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("method", ["ce", "sop", "sop+"])
def test_every_method_learns(method):
    data = small_data()
    recipe = small_recipe(method, "epochs=6", "ema=0.8")
    training = training_for(data, data.train_labels, recipe, device="cpu")
    epochs = run(training, data)
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3, 4, 5, 6]
    assert epochs[-1].test_accuracy > 0.9
    assert epochs[-1].test_accuracy_flips > 0.9
    assert epochs[-1].test_accuracy_ema_flips is not None
    assert epochs[-1].train_fit > epochs[0].train_fit
    assert all(math.isfinite(epoch.train_loss) for epoch in epochs)


def test_the_truth_is_only_reported():
    data = small_data()
    given = noisy(data.train_labels, 30)
    known, unknown = (training_for(data, given, small_recipe(), device="cpu") for _ in range(2))
    for with_truth, without in zip(
        run(known, data, data.train_labels), run(unknown, data), strict=True
    ):
        assert with_truth.train_loss == without.train_loss
        assert without.memorized is without.recovered is without.u_wrong is None
    for name, value in known.state_dict().items():
        torch.testing.assert_close(value, unknown.state_dict()[name], rtol=0, atol=0)


def test_the_labels_of_the_data_are_not_read():
    data = small_data()
    given = noisy(data.train_labels, 30)
    other = dataclasses.replace(data, train_labels=np.roll(data.train_labels, 1))
    a = training_for(data, given, small_recipe(), device="cpu")
    b = training_for(other, given, small_recipe(), device="cpu")
    assert [e.loss for e in a.epochs()] == [e.loss for e in b.epochs()]


def test_the_reports_are_what_the_network_predicts():
    data = small_data()
    given = noisy(data.train_labels, 30)
    training = training_for(data, given, small_recipe(), device="cpu")
    *_, last = run(training, data, data.train_labels)
    probability = training.predict(data.test_images)
    torch.testing.assert_close(probability.sum(1), torch.ones(30))
    accuracy = (probability.argmax(1).numpy() == data.test_labels).mean()
    assert last.test_accuracy == pytest.approx(accuracy)
    mirrored = training.predict(data.test_images[:, :, ::-1].copy())
    both = training.predict(data.test_images, flips=True)
    torch.testing.assert_close(both, (probability + mirrored) / 2, rtol=0, atol=2e-3)
    up, down = training.loss.parts(training.given)
    wrong = given != data.train_labels
    assert last.u_wrong == pytest.approx(float(up[wrong].mean()))
    assert last.v_clean == pytest.approx(float(down[~wrong].sum(1).mean()))
    assert training.predict_training_images().shape == (96, 3)
    # Evaluation leaves the network in training mode, and its statistics alone.
    assert training.network.training


def test_probability_is_the_average_with_weights_1_2_3():
    data = small_data()
    training = training_for(data, data.train_labels, small_recipe("ce", "epochs=3"), device="cpu")
    seen = []
    observe = training.observe

    def watched(logits, index):
        seen.append((training.epoch, index, logits.softmax(1)))
        return observe(logits, index)

    training.observe = watched
    list(training.epochs())
    expected = torch.zeros(96, 3, dtype=torch.float64)
    wrong = torch.zeros(96, dtype=torch.int64)
    for epoch, index, probability in seen:
        expected[index] += (epoch + 1) * probability.double() / 6
        wrong[index] += probability.argmax(1) != training.given[index]
    torch.testing.assert_close(training.probability.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(training.disagreements, wrong)


def test_one_seed_one_result_and_nothing_global_is_touched():
    data = small_data()
    state = torch.get_rng_state()

    def trained(seed):
        training = training_for(
            data, data.train_labels, small_recipe("sop+"), seed=seed, device="cpu"
        )
        list(training.epochs())
        return training.state_dict()

    first, again, other = trained(1), trained(1), trained(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["network.head.weight"], other["network.head.weight"])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("settings", [(), ("ema=0.9", "optimizer=sgd", "lr=0.01")])
def test_a_state_continues_bit_for_bit(settings):
    data = small_data()
    given = noisy(data.train_labels, 30)
    recipe = small_recipe("sop", "epochs=3", *settings)
    whole = training_for(data, given, recipe, device="cpu")
    first = training_for(data, given, recipe, device="cpu")
    epochs = first.epochs()
    next(epochs)
    saved = {name: value.clone() for name, value in first.state_dict().items()}
    second = training_for(data, given, recipe, seed=7, device="cpu")
    second.load_state_dict(saved)
    list(whole.epochs()), list(second.epochs())
    ours, theirs = second.state_dict(), whole.state_dict()
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def test_a_state_of_another_training_is_refused():
    data = small_data()
    training = training_for(data, data.train_labels, small_recipe(), device="cpu")
    state = training.state_dict()
    with pytest.raises(ValueError, match=r"no 'loss\.u' of shape \(96, 1\)"):
        training.load_state_dict({k: v for k, v in state.items() if k != "loss.u"})
    with pytest.raises(ValueError, match=r"no 'probability' of shape \(96, 3\)"):
        training.load_state_dict(state | {"probability": torch.zeros(95, 3)})
    next(training.epochs())
    state = training.state_dict()
    forgotten = {k: v for k, v in state.items() if not k.startswith("optimizer.1.")}
    with pytest.raises(ValueError, match=r"the state has nothing of optimizer 1"):
        training.load_state_dict(forgotten)
    key = next(k for k, v in state.items() if k.startswith("optimizer.0.") and v.numel() > 3)
    with pytest.raises(ValueError, match=r"'optimizer\.0\..*' of shape \(3,\), for a weight of"):
        training.load_state_dict(state | {key: torch.zeros(3)})
    with pytest.raises(ValueError, match=r"'optimizer\.0\.99\.x', and there is no such weight"):
        training.load_state_dict(state | {"optimizer.0.99.x": torch.zeros(3)})


@pytest.mark.parametrize("colour", ["grey", "two channels"])
def test_pictures_without_colour_are_learned(colour):
    """Most directions of their patches are empty, and no channel may stay so."""
    data = small_data(classes=2)

    def fade(images):
        faded = images.copy()
        if colour == "grey":
            faded[:] = images[..., :1]
        else:
            faded[..., 2] = 7
        return faded

    data = dataclasses.replace(
        data, train_images=fade(data.train_images), test_images=fade(data.test_images)
    )
    training = training_for(data, data.train_labels, small_recipe("ce", "epochs=8"), device="cpu")
    *_, last = run(training, data)
    assert last.test_accuracy > 0.9
    assert all(value.isfinite().all() for value in training.state_dict().values())


def test_a_network_of_the_users_own():
    data = small_data()
    torch.manual_seed(0)
    mine = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, 3))
    recipe = small_recipe("sop", "optimizer=sgd", "lr=0.01", "epochs=4")
    training = training_for(data, data.train_labels, recipe, network=mine, device="cpu")
    epochs = run(training, data)
    assert training.network is mine
    assert epochs[-1].test_accuracy > 0.6


MLP = nn.Sequential(nn.Flatten(), nn.Linear(16 * 16 * 3, 16), nn.ReLU(), nn.Linear(16, 3))


def frozen():
    kernels = nn.Conv2d(3, 8, 3, stride=3).requires_grad_(False)
    return nn.Sequential(kernels, nn.ReLU(), nn.Flatten(), nn.Linear(8 * 5 * 5, 3))


def kernels_only():
    kernels = nn.Conv2d(3, 3, 3, bias=False)
    return nn.Sequential(kernels, nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize("network", [copy.deepcopy(MLP), frozen(), kernels_only()])
def test_networks_of_ones_own_without_kernels_or_without_others(network):
    data = small_data()
    recipe = small_recipe("ce", "optimizer=muon", "epochs=2")
    training = training_for(data, data.train_labels, recipe, network=network, device="cpu")
    before = [p.clone() for p in network.parameters()]
    assert all(np.isfinite(epoch.train_loss) for epoch in run(training, data))
    for old, new in zip(before, network.parameters(), strict=True):
        assert torch.equal(old, new) != new.requires_grad
    with pytest.raises(ValueError, match="nothing can be trained"):
        training_for(
            data,
            data.train_labels,
            recipe,
            network=copy.deepcopy(MLP).requires_grad_(False),
            device="cpu",
        )


def test_bad_labels():
    data = small_data()
    for labels, kind, message in [
        (data.train_labels[:-1], ValueError, r"have shape \(95,\); \(96,\) is needed"),
        (data.train_labels.astype(float), TypeError, "are float64; integers are needed"),
        (data.train_labels - 1, ValueError, "go from -1 to 1; with 3 classes 0 to 2 are possible"),
        (data.train_labels + 1, ValueError, "go from 1 to 3"),
    ]:
        with pytest.raises(kind, match=f"given_labels {message}"):
            training_for(data, labels, small_recipe(), device="cpu")
        with pytest.raises(kind, match=f"true_labels {message}"):
            Evaluator(data, true_labels=labels)


def test_a_network_may_keep_what_is_not_finite():
    """A mask of attention, say: it is no weight."""

    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(16 * 16 * 3, 3))
            self.register_buffer("mask", torch.full((2, 2), -torch.inf))

        def forward(self, x):
            return self.layers(x)

    data, recipe = small_data(), small_recipe("ce", "optimizer=sgd", "lr=0.01")
    training = training_for(data, data.train_labels, recipe, network=Masked(), device="cpu")
    assert len(list(training.epochs())) == 2


def test_divergence_is_an_error_that_names_the_rate():
    data = small_data()
    recipe = small_recipe("ce", "optimizer=sgd", "lr=1e30")
    mine = nn.Sequential(nn.Flatten(), nn.Linear(16 * 16 * 3, 64), nn.Linear(64, 3))
    training = training_for(data, data.train_labels, recipe, network=mine, device="cpu")
    with pytest.raises(DivergedError, match=r"epoch 1; a lower lr than 1e\+30"):
        list(training.epochs())
    assert sop_classify.DivergedError is DivergedError


@pytest.mark.parametrize(
    ("method", "name"),
    [("ce", "network"), ("ce", "ema"), ("coteaching+", "network2"), ("elr+", "teacher2")],
)
def test_a_weight_that_the_last_step_spoiled_is_an_error(monkeypatch, method, name):
    """Its loss is that before the step, so it does not tell."""
    data = small_data()
    settings = {"ce": ("ema=0.9",), "coteaching+": ("noise_rate=0.2",)}.get(method, ())
    recipe = small_recipe(method, "epochs=1", *settings)
    training = training_for(data, noisy(data.train_labels, 20), recipe, device="cpu")
    train_once = training.train_once

    def spoiled(on_batch):
        trained = train_once(on_batch)
        next(training.modules()[name].parameters()).data.fill_(torch.nan)
        return trained

    monkeypatch.setattr(training, "train_once", spoiled)
    with pytest.raises(DivergedError, match="weights are not finite after epoch 1; a lower lr"):
        list(training.epochs())


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    ],
)
def test_too_little_memory_is_an_error_that_names_the_batch(monkeypatch, error):
    def full(*arguments):
        raise error

    data = small_data()
    training = training_for(data, data.train_labels, small_recipe("ce"), device="cpu")
    monkeypatch.setattr(training, "step", full)
    with pytest.raises(NotEnoughMemoryError, match="batches of 32; lower batch_size"):
        list(training.epochs())


class Recording(Loss):
    """Cross entropy that notes the labels that it sees, and reports the index of each example."""

    views = ("weak", "strong")
    rates = {"alpha_u": 0.25}  # noqa: RUF012

    def __init__(self, number):
        super().__init__()
        self.register_buffer("visits", torch.zeros(number))

    def forward(self, logits, labels, index, strong_logits=None):
        assert strong_logits.shape == logits.shape
        self.visits[index] += 1
        return nn.functional.cross_entropy(logits, labels)

    def report(self, labels):
        return {"u": torch.arange(len(labels), dtype=torch.float32), "mine": labels}


def test_a_loss_of_the_users_own():
    data = small_data()
    given, loss = noisy(data.train_labels, 30), Recording(96)
    training = Training(data, given, small_recipe("ce"), loss=loss, device="cpu")
    *_, last = run(training, data, data.train_labels)
    assert training.loss is loss
    assert (loss.visits == 2).all()
    assert torch.equal(training.state_dict()["loss.visits"], loss.visits)
    assert (last.forward_passes, last.alpha_u, last.alpha_v) == (2, 0.25, 0)
    wrong = given != data.train_labels
    assert last.u == pytest.approx(np.arange(96).mean())
    assert last.u_wrong == pytest.approx(np.flatnonzero(wrong).mean())
    assert last.u_clean == pytest.approx(np.flatnonzero(~wrong).mean())
    assert last.v is last.v_wrong is None
    assert training.report()["mine"] is training.given


class Seldom(Recording):
    """Counts the strong views of each example."""

    strong_share = 0.25

    def forward(self, logits, labels, index, strong_logits=None, *, strong):
        assert len(strong) == len(strong_logits) == len(labels) / 4
        self.visits[index[strong]] += 1
        return nn.functional.cross_entropy(logits, labels) + strong_logits.mean()


def test_strong_views_of_a_quarter_of_each_batch():
    data, loss = small_data(), Seldom(96)
    recipe = small_recipe("ce", "epochs=12")
    training = Training(data, data.train_labels, recipe, loss=loss, device="cpu")
    assert [epoch.forward_passes for epoch in run(training, data)] == [1.25] * 12
    # Others in each epoch: of 12 draws with probability 1/4, none (P = 3 %) to nearly all.
    assert loss.visits.sum() == 12 * 96 / 4
    assert (loss.visits > 0).float().mean() > 0.85


def test_a_loss_without_its_parts_says_so():
    class Empty(Loss):
        pass

    data = small_data()
    with pytest.raises(NotImplementedError):
        list(Training(data, data.train_labels, small_recipe(), loss=Empty()).epochs())
    with pytest.raises(NotImplementedError, match="Empty cannot be made from a recipe"):
        Empty.from_recipe(small_recipe(), 3, 2, generator=torch.Generator())


@pytest.mark.parametrize("method", ["elr+", "coteaching+", "dividemix"])
def test_a_method_of_two_networks_is_no_loss(method):
    recipe = recipe_for("cpu", method)
    with pytest.raises(ValueError, match=r"more than a loss of one network; use training_for"):
        loss_for(recipe, 96, 3)


def test_batches_are_of_one_size_and_cover_every_example_once():
    data = small_data(number=97)
    training = training_for(data, data.train_labels, small_recipe(), device="cpu")
    seen = []
    observe = training.observe
    training.observe = lambda logits, index: (seen.append(index), observe(logits, index))[1]
    next(training.epochs())
    assert sorted(len(index) for index in seen) == [24, 24, 24, 25]  # not 32, 32, 32 and 1
    assert sorted(torch.cat(seen).tolist()) == list(range(97))
    assert isinstance(training.loss, SOPLoss)
    assert training.loss.alpha_v == alpha_for(
        training.recipe.activation_epochs, batch_size=24, init=training.recipe.init
    )
    assert training.loss.alpha_u == training.loss.alpha_v  # so few examples


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (("schedule=linear", "lr=1"), [1, 1, 1 / 1.8, 0.25 / 0.9]),
        (("schedule=steps", "milestones=1,2", "lr=1"), [1, 1, 0.1, 0.1]),
        (("schedule=cosine", "final_lr=0.2", "lr=1"), [1, 1, 0.6, 0.6]),
    ],
)
def test_schedules(settings, expected):

    recipe = small_recipe("ce", *settings)
    rates = [schedule(recipe, done) for done in (0, 0.1, 1, 1.5)]
    assert rates == pytest.approx(expected)


def test_progress_is_told_before_every_batch():
    data = small_data()
    told = []
    training = training_for(data, data.train_labels, small_recipe("ce"), device="cpu")
    list(training.epochs(on_batch=told.append))
    assert told == pytest.approx([0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3])


def test_channel_statistics():
    images = np.random.default_rng(0).integers(0, 256, (7, 5, 4, 3), dtype=np.uint8)
    images[..., 2] = 9
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, images.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std[:2], images[..., :2].std((0, 1, 2)), rtol=1e-12)
    assert std[2] == 1


def test_images_grow_to_their_full_size():
    recipe = small_recipe("sop", "epochs=10", "start_scale=0.5", "full_scale_at=0.5")

    scales = [image_scale(recipe, epoch) for epoch in range(10)]

    assert scales == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9, 1, 1, 1, 1, 1])


@pytest.mark.parametrize("method", ["ce", "sop+"])
def test_the_network_sees_small_images_first_and_is_tested_on_full_ones(method):
    recipe = small_recipe(method, "epochs=4", "start_scale=0.5", "full_scale_at=0.5")
    data = small_data(side=28)
    training = training_for(data, data.train_labels, recipe, device="cpu")
    sides = []
    training.network.register_forward_pre_hook(
        lambda network, args: sides.append((network.training, args[0].shape[2]))
    )

    seen = []
    for _ in Evaluator(data).epochs(training):
        seen.append(
            (  # of the epoch's batches and of its test
                {side for train, side in sides if train},
                {side for train, side in sides if not train},
            )
        )
        sides.clear()

    # Half, three quarters, full, full of 28 pixels, in whole multiples of 4.
    assert seen == [({12}, {28}), ({20}, {28}), ({28}, {28}), ({28}, {28})]


def test_tests_may_be_rare_and_change_nothing():
    data = small_data()
    rare = small_recipe("sop", "epochs=5", "test_every=2", "ema=0.8")
    often = dataclasses.replace(rare, test_every=1)
    some, all_of_them = (
        run(training_for(data, data.train_labels, r, device="cpu"), data) for r in (rare, often)
    )
    assert [e.test_accuracy is not None for e in some] == [False, True, False, True, True]
    assert some[-1].test_accuracy_ema_flips is not None
    untested = [f.name for f in dataclasses.fields(some[0]) if getattr(some[0], f.name) is None]
    assert {"test_accuracy", "test_accuracy_ema", "test_accuracy_ensemble"} <= set(untested)
    for few, many in zip(some, all_of_them, strict=True):
        assert few.train_loss == many.train_loss
        assert few.test_accuracy in (None, many.test_accuracy)


def test_balanced_training_adds_the_logarithm_of_the_shares():
    """By the formula: what the loss sees are the logits plus log π, what is predicted is not."""
    data = small_data(96)
    given = np.repeat([0, 1, 2], [64, 24, 8]).astype(np.int64)
    plain, balanced = (
        training_for(data, given, small_recipe("ce"), balanced=flag, device="cpu")
        for flag in (False, True)
    )
    x = next(plain.viewer.plain_inputs(data.train_images[:8]))
    share = torch.tensor([64, 24, 8]) / 96
    with torch.no_grad():
        difference = balanced.logits(x) - plain.logits(x)
    torch.testing.assert_close(difference, share.log().expand(8, 3), atol=2e-6, rtol=0)
    torch.testing.assert_close(
        balanced.predict(data.test_images), plain.predict(data.test_images), atol=0, rtol=0
    )


@pytest.mark.parametrize("method", ["elr+", "dividemix"])
def test_all_that_a_balanced_training_predicts_has_the_shares(method):
    data = small_data(96)
    given = np.repeat([0, 1, 2], [64, 24, 8]).astype(np.int64)
    plain, balanced = (
        training_for(data, given, small_recipe(method), balanced=flag, device="cpu")
        for flag in (False, True)
    )
    share = (torch.tensor([64, 24, 8]) / 96).log()
    if method == "dividemix":
        difference = balanced.evaluate(0) - plain.evaluate(0)
    else:
        x = next(plain.viewer.plain_inputs(data.train_images[:8]))
        difference = balanced.ask_teacher(x, 0) - plain.ask_teacher(x, 0)
    torch.testing.assert_close(difference, share.expand_as(difference), atol=2e-6, rtol=0)


class Random(nn.Module):
    """A network with dropout, which draws from torch's global generator."""

    def __init__(self, dropout=0.5):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(8, 3),
        )

    def forward(self, x):
        return self.layers(x)


def test_dropout_depends_on_the_seed_and_leaves_the_callers_numbers_alone():
    data, recipe = small_data(), small_recipe("ce", "optimizer=sgd", "lr=0.1")
    torch.manual_seed(5)
    network = Random()

    def losses(seed, *, noise):
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        training = training_for(
            data,
            data.train_labels,
            recipe,
            network=copy.deepcopy(network),
            seed=seed,
            device="cpu",
        )
        found = [epoch.loss for epoch in training.epochs()]
        assert torch.equal(torch.get_rng_state(), before)
        return found

    assert losses(0, noise=1) == losses(0, noise=2)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_each_seed_drops_other_features_in_each_epoch(dropout):
    """In batches of all examples without views, so that nothing else depends on the seed."""
    data = small_data()
    settings = ("optimizer=sgd", "lr=1e-6", "batch_size=96", "pad=0", "cutout=0")
    settings += ("flip=none", "flips=false")
    recipe = small_recipe("ce", *settings)
    torch.manual_seed(5)
    network = Random(dropout)

    def losses(seed):
        training = training_for(
            data, data.train_labels, recipe, network=copy.deepcopy(network), seed=seed, device="cpu"
        )
        return [epoch.loss for epoch in training.epochs()]

    found = [*losses(0), *losses(1)]  # seed + epoch is 1 in two of them
    apart = [abs(a - b) > 1e-4 for i, a in enumerate(found) for b in found[:i]]
    assert apart == [dropout > 0] * 6


def test_large_images_need_no_more_floats_than_small_ones():
    """Predictions are made in parts, by the shapes that pass through the network."""
    data = small_data(48, tests=20, side=128)
    recipe = small_recipe("sop+", "batch_size=8", "epochs=1")
    training = training_for(data, data.train_labels, recipe, device="cpu")
    sizes = []
    training.network.register_forward_pre_hook(lambda _, x: sizes.append(x[0].numel()))
    training.predict(np.repeat(data.test_images, 5, axis=0))
    # 512 images of 32x32; a hundred of these are predicted in four parts.
    assert sizes == [3 * 512 * 32 * 32] * 3 + [3 * 4 * 128 * 128]
