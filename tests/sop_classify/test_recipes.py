"""Promise: the recipes hold the published numbers, and a setting that does not fit says why."""

import dataclasses
import json
import re

import pytest

from sop_classify.methods.build import loss_for
from sop_classify.methods.catalogue import (
    METHODS,
    CoTeachingPlusRecipe,
    DivideMixRecipe,
    ELRPlusRecipe,
    ELRRecipe,
    SOPRecipe,
    read_recipe,
    recipe_for,
    register,
    with_noise_rate,
)
from sop_classify.methods.sop import SOPLoss
from sop_classify.recipes import (
    NETWORKS,
    USUAL_NUMBER,
    Recipe,
    adapted,
    describe_settings,
    resized,
    settings_of,
    with_settings,
)

NAMES = ["cpu", "fast", "paper"]
DATASETS = ["cifar10", "cifar100"]
NOISES = ["symmetric", "asymmetric"]
EVERY = [
    recipe_for(name, method, dataset=dataset, noise_type=noise)
    for name in NAMES
    for method in METHODS
    for dataset in DATASETS
    for noise in NOISES
]
CPU = recipe_for("cpu")


def test_every_name_has_every_method():
    assert list(METHODS) == ["ce", "sop", "sop+", "elr", "elr+", "coteaching+", "dividemix"]
    for name, method in METHODS.items():
        assert (method.name, list(method.recipes)) == (name, NAMES)
        for budget, recipe in method.recipes.items():
            assert (recipe.name, recipe.method, type(recipe)) == (budget, name, method.settings)
            assert recipe == recipe_for(budget, name)
            assert recipe.source
    assert [name for name in METHODS if METHODS[name].needs_noise_rate] == ["coteaching+"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "there is a method 'ce' already"),
        ({"name": "other"}, "the recipe 'cpu' of method 'other' is called 'cpu' and is of method"),
        (
            {"name": "sop+x", "settings": SOPRecipe, "recipes": {"cpu": Recipe(
                name="cpu", source="x", method="sop+x", network="fast", epochs=1, batch_size=1,
                lr=1, schedule="linear")}},
            "is a Recipe; its settings are SOPRecipe",
        ),
    ],
)  # fmt: skip
def test_a_method_that_does_not_fit_is_not_registered(changes, message):
    before = dict(METHODS)
    with pytest.raises(ValueError, match=re.escape(message)):
        register(dataclasses.replace(METHODS["ce"], **changes))
    assert before == METHODS


@pytest.mark.parametrize("recipe", EVERY)
def test_a_recipe_is_data(recipe):
    text = json.dumps(dataclasses.asdict(recipe), allow_nan=False)
    fields = json.loads(text)
    fields["milestones"] = tuple(fields["milestones"])  # JSON has no tuples
    assert type(recipe)(**fields) == read_recipe(fields) == recipe
    assert hash(recipe) == hash(read_recipe(fields))
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.epochs = 1


@pytest.mark.parametrize("recipe", EVERY)
def test_a_recipe_can_be_run(recipe):
    assert recipe.network in NETWORKS
    assert list(recipe.milestones) == sorted(set(recipe.milestones))
    assert bool(recipe.milestones) == (recipe.schedule == "steps")
    assert all(0 < milestone < recipe.epochs for milestone in recipe.milestones)
    if isinstance(recipe, SOPRecipe):
        assert recipe.activation_epochs < recipe.epochs
        assert (recipe.consistency > 0) == (recipe.balance > 0) == (recipe.method == "sop+")
        loss = loss_for(recipe, 3, 2)
        assert isinstance(loss, SOPLoss)
        assert loss.views == (("weak", "strong") if recipe.method == "sop+" else ("weak",))
    if isinstance(recipe, ELRRecipe):
        assert recipe.target_decay > 0
        assert recipe.regularisation > 0
    if isinstance(recipe, ELRPlusRecipe):
        assert recipe.teacher_decay > 0
        assert recipe.mixup > 0
    if isinstance(recipe, CoTeachingPlusRecipe):
        assert 0 < recipe.drop_ramp < recipe.epochs
        assert 0 < recipe.warmup < recipe.epochs
        assert recipe.noise_rate == 0  # nobody knows it
    if isinstance(recipe, DivideMixRecipe):
        assert 0 < recipe.warmup < recipe.epochs
        assert recipe.mixup > 0


# Table A.1 of the paper, by hand: network, epochs, milestones, final_lr, λ_C, λ_B.
BY_METHOD = {
    ("cifar10", "sop"): ("resnet34", 120, (40, 80), 0.0, 0.0, 0.0),
    ("cifar100", "sop"): ("resnet34", 150, (80, 120), 0.0, 0.0, 0.0),
    ("cifar10", "sop+"): ("preact-resnet18", 300, (), 2e-4, 0.9, 0.1),
    ("cifar100", "sop+"): ("preact-resnet18", 300, (), 2e-4, 0.9, 0.1),
}
ALPHAS = {
    ("cifar10", "symmetric"): (10, 10),
    ("cifar10", "asymmetric"): (10, 100),
    ("cifar100", "symmetric"): (1, 10),
    ("cifar100", "asymmetric"): (1, 100),
}


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(("dataset", "method"), BY_METHOD)
def test_the_papers_numbers(dataset, method, noise):
    recipe = recipe_for("paper", method, dataset=dataset, noise_type=noise)
    network, epochs, milestones, final_lr, consistency, balance = BY_METHOD[dataset, method]
    assert recipe == SOPRecipe(
        name="paper",
        source="Liu, Zhu, Qu and You, ICML 2022 (arXiv 2202.14026), Table A.1",
        method=method,
        network=network,
        epochs=epochs,
        batch_size=128,
        optimizer="sgd",
        lr=0.02,
        head_lr=0,
        bias_lr=0,
        momentum=0.9,
        nesterov=False,
        weight_decay=5e-4,
        schedule="steps" if milestones else "cosine",
        milestones=milestones,
        step_factor=0.1,
        hold=0.1,
        late_momentum=0.1,
        final_lr=final_lr,
        activation_epochs=0,
        alpha_ratio=0,
        alpha_u=ALPHAS[dataset, noise][0],
        alpha_v=ALPHAS[dataset, noise][1],
        init=1e-8,
        form="paper",
        balance=balance,
        consistency=consistency,
        pad=4,
        fill="black",
        flip="random",
        cutout=0,
        start_scale=1,
        full_scale_at=0.7,
        ema=0,
        flips=False,
    )


# Methods beside it, from their papers and released configurations, by hand: network, epochs, batch,
# rate, decay, milestones and their factor.
OTHERS = {
    ("cifar10", "elr"): ("resnet34", 120, 128, 0.02, 1e-3, (40, 80), 0.01),
    ("cifar100", "elr"): ("resnet34", 150, 128, 0.02, 1e-3, (80, 120), 0.01),
    ("cifar10", "elr+"): ("preact-resnet18", 200, 128, 0.02, 5e-4, (150,), 0.1),
    ("cifar100", "elr+"): ("preact-resnet18", 250, 128, 0.02, 5e-4, (200,), 0.1),
    ("cifar10", "coteaching+"): ("small-cnn", 200, 128, 1e-3, 0, (), 0.1),
    ("cifar100", "coteaching+"): ("cnn7", 200, 128, 1e-3, 0, (), 0.1),
    ("cifar10", "dividemix"): ("preact-resnet18", 300, 128, 0.02, 5e-4, (150,), 0.1),
    ("cifar100", "dividemix"): ("preact-resnet18", 300, 128, 0.02, 5e-4, (150,), 0.1),
}


@pytest.mark.parametrize(("dataset", "method"), OTHERS)
def test_the_other_papers_numbers(dataset, method):
    recipe = recipe_for("paper", method, dataset=dataset)
    assert (
        recipe.network,
        recipe.epochs,
        recipe.batch_size,
        recipe.lr,
        recipe.weight_decay,
        recipe.milestones,
        recipe.step_factor,
    ) == OTHERS[dataset, method]
    asymmetric = recipe_for("paper", method, dataset=dataset, noise_type="asymmetric")
    worst = recipe_for("paper", method, dataset=dataset, noise_type="worst")
    if method in ("elr", "elr+"):
        targets = [(r.target_decay, r.regularisation) for r in (recipe, asymmetric)]
        expected = [(0.7, 3), (0.9, 1)] if dataset == "cifar10" else [(0.9, 7), (0.9, 7)]
        assert targets == expected
        assert worst == recipe
    if method == "elr+":
        assert (recipe.mixup, recipe.teacher_decay, recipe.teacher_ramp) == (1, 0.997, 40_000)
        assert (recipe.ramp_steps, recipe.mix_labels) == (
            (0, False) if dataset == "cifar10" else (40_000, True)
        )
    if method == "coteaching+":
        assert (recipe.optimizer, recipe.schedule, recipe.hold) == ("adam", "linear", 0.4)
        assert (recipe.momentum, recipe.late_momentum, recipe.drop_ramp) == (0.9, 0.1, 10)
        assert recipe.warmup == {"cifar10": 20, "cifar100": 5}[dataset]
        assert (recipe.pad, recipe.flip) == (0, "none")
        assert asymmetric == worst == recipe
    if method == "dividemix":
        assert (recipe.mixup, recipe.unlabelled_ramp) == (4, 16)
        assert (recipe.warmup, recipe.unlabelled) == {"cifar10": (10, 25), "cifar100": (30, 150)}[
            dataset
        ]
        changed = [(r.unlabelled, r.entropy_penalty) for r in (asymmetric, worst)]
        # Nobody published the others for CIFAR-100.
        assert changed == ([(0, True), (0, False)] if dataset == "cifar10" else [(150, False)] * 2)


@pytest.mark.parametrize("name", NAMES)
def test_dividemix_weighs_the_unlabelled_by_the_kind_of_noise(name):
    kinds = ("symmetric", "asymmetric", "worst", "aggre")
    recipes = [recipe_for(name, "dividemix", noise_type=kind) for kind in kinds]
    assert [r.unlabelled for r in recipes] == [25, 0, 0, 0]
    assert [r.entropy_penalty for r in recipes] == [False, True, False, False]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NAMES)
def test_a_schedule_keeps_its_proportions(name, method):
    recipe = recipe_for(name, method)
    twice = resized(recipe, 2 * recipe.epochs)
    timed = {"warmup", "drop_ramp", "unlabelled_ramp", "teacher_ramp"}
    for field in (timed | {"ramp_steps"}) & settings_of(recipe).keys():
        assert getattr(twice, field) == 2 * getattr(recipe, field)
    assert twice.milestones == tuple(2 * m for m in recipe.milestones)
    assert resized(twice, recipe.epochs) == recipe
    short = resized(recipe, 3)
    assert all(1 <= m <= 3 for m in short.milestones)


@pytest.mark.parametrize("method", ["sop", "sop+"])
@pytest.mark.parametrize("name", ["cpu", "fast"])
def test_a_label_is_given_up_after_as_many_epochs_however_many_follow(name, method):
    recipe = recipe_for(name, method)
    for epochs in (recipe.epochs, 2 * recipe.epochs, 200):
        assert resized(recipe, epochs).activation_epochs == recipe.activation_epochs
        assert resized(recipe, epochs).alpha_warmup == recipe.alpha_warmup == 10
    for epochs in (1, 3, 5):
        short = resized(recipe, epochs)
        assert short.activation_epochs == pytest.approx(4 / 11 * epochs)
        assert short.alpha_warmup == pytest.approx(10 / 11 * epochs)
    chosen = with_settings(resized(recipe, 3), ["activation_epochs=2.5"])
    assert chosen.activation_epochs == 2.5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["cpu", "fast"])
def test_fewer_steps_are_larger(name, method):
    recipe = recipe_for(name, method)
    for number in (USUAL_NUMBER, 10 * USUAL_NUMBER):
        assert adapted(recipe, number) == recipe
    half = adapted(recipe, USUAL_NUMBER // 2)
    assert half == recipe.changed(lr=half.lr)
    assert half.lr == pytest.approx(recipe.lr * 2 ** (1 / 3))
    assert adapted(recipe, 1).lr == 0.24
    # What counts is the number of steps.
    assert adapted(recipe, USUAL_NUMBER // 2, epochs=2 * recipe.epochs).lr == recipe.lr
    short = adapted(recipe, USUAL_NUMBER, epochs=recipe.epochs // 2)
    assert short == resized(recipe, recipe.epochs // 2).changed(lr=short.lr)
    assert short.lr > recipe.lr


def test_what_an_epoch_costs():
    costs = {method: recipe_for("paper", method).cost for method in METHODS}
    assert costs["ce"] == costs["sop"] == costs["elr"] == 1
    assert costs["sop+"] == costs["coteaching+"] == 2
    assert costs["sop+"] < costs["elr+"] < costs["dividemix"]
    assert with_settings(recipe_for("paper", "sop+"), ["strong_share=0.25"]).cost == 1.25


@pytest.mark.parametrize("method", METHODS)
def test_published_rates_are_kept_for_any_number(method):
    recipe = recipe_for("paper", method)
    assert adapted(recipe, 100) == recipe
    assert adapted(recipe, 100, epochs=3) == resized(recipe, 3)


@pytest.mark.parametrize("noise", ["instance", "aggre", "random1", "worst", "cifar100n"])
def test_the_paper_has_no_other_row_and_symmetric_is_taken(noise):
    for dataset in DATASETS:
        other = recipe_for("paper", dataset=dataset, noise_type=noise)
        assert other == recipe_for("paper", dataset=dataset)


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("noise", NOISES)
def test_methods_of_a_name_differ_by_the_loss_alone(dataset, noise):
    """At equal cost, that is: the paper's SOP+ has a network and a length of its own."""
    pairs = [(name, "sop") for name in NAMES] + [(name, "sop+") for name in NAMES[:2]]
    for name, method in pairs:
        plain, robust = (
            dataclasses.asdict(recipe_for(name, m, dataset=dataset, noise_type=noise))
            for m in ("ce", method)
        )
        shared = plain.keys() & robust.keys()
        assert {key for key in shared if plain[key] != robust[key]} - {"source"} == {"method"}


@pytest.mark.parametrize("method", METHODS)
def test_only_paper_knows_dataset_and_noise(method):
    for name in ("cpu", "fast"):
        assert recipe_for(name, method, dataset="cifar100", noise_type="asymmetric") == recipe_for(
            name, method
        )


def test_no_such_recipe():
    with pytest.raises(
        ValueError, match="no recipe 'papers' for method 'sop'; there are cpu, fast, p"
    ):
        recipe_for("papers", "sop")
    for wrong in ("mixmatch", ""):
        with pytest.raises(ValueError, match=f"no method '{wrong}'; there are ce, sop, "):
            recipe_for("cpu", wrong)


def test_only_who_needs_the_noise_rate_is_told_it():
    for method in METHODS:
        recipe = recipe_for("cpu", method)
        told = with_noise_rate(recipe, 0.3)
        assert told == (
            dataclasses.replace(recipe, noise_rate=0.3) if method == "coteaching+" else recipe
        )
        assert with_noise_rate(recipe, None) == recipe
        assert with_noise_rate(told, 0.4) == told
    unknown = recipe_for("cpu", "coteaching+")
    assert with_noise_rate(unknown, 0.0).noise_rate == 1e-6  # 0 would mean unknown


def test_a_recipe_of_an_earlier_version_has_the_settings_of_all_methods():
    old = dataclasses.asdict(CPU) | {"mixup": 4, "noise_rate": 0.3, "warmup": 2}
    assert read_recipe(old) == CPU
    with pytest.raises(ValueError, match="no method 'magic'"):
        read_recipe(old | {"method": "magic"})


@pytest.mark.parametrize(
    ("setting", "field", "value"),
    [
        ("epochs=3", "epochs", 3),
        ("lr=1e-3", "lr", 0.001),
        ("lr=2", "lr", 2.0),
        ("nesterov=true", "nesterov", True),
        ("flips=False", "flips", False),
        ("milestones=4,9", "milestones", (4, 9)),
        ("milestones=7", "milestones", (7,)),
        ("milestones=", "milestones", ()),
        ("form=paper", "form", "paper"),
        ("network=resnet34", "network", "resnet34"),
        ("cutout=8", "cutout", 8),
    ],
)
def test_settings_are_read_as_their_fields_type(setting, field, value):
    changed = with_settings(CPU, [setting])
    assert getattr(changed, field) == value
    assert type(getattr(changed, field)) is type(value)
    assert changed == dataclasses.replace(CPU, **{field: value})


def test_several_settings_the_last_counts():
    changed = with_settings(CPU, ["epochs=3", "lr=0.5", "epochs=4"])
    assert changed == dataclasses.replace(CPU, epochs=4, lr=0.5)
    assert with_settings(CPU, []) == CPU


def test_settings_are_checked_together():
    assert with_settings(CPU, ["activation_epochs=0", "alpha_v=5", "alpha_u=5"]).alpha_v == 5


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("epochs", "setting 'epochs' has no value; write epochs=VALUE"),
        ("epochs=three", "epochs is 'three'; a whole number is needed"),
        ("epochs=3.5", "epochs is '3.5'; a whole number is needed"),
        ("epochs=", "epochs is ''; a whole number is needed"),
        ("lr=fast", "lr is 'fast'; a number is needed"),
        ("flips=yes", "flips is 'yes'; true or false is needed"),
        ("milestones=4;9", "milestones is '4;9'; a list like 40,80 is needed"),
        ("epochs=0", "epochs is 0; a whole number from 1 to 2147483647 is needed"),
        (
            "epochs=99999999999",
            "epochs is 99999999999; a whole number from 1 to 2147483647 is needed",
        ),
        ("lr=1e308", "lr is 1e+308; a finite number above 0 and at most 1e+30 is needed"),
        (
            "alpha_v=1e39",
            "alpha_v is 1e+39; a finite number at least 0 and at most 1e+30 is needed",
        ),
        ("batch_size=0", "batch_size is 0; a whole number from 1 to 2147483647 is needed"),
        ("epochs=-1", "epochs is -1; a whole number from 1 to 2147483647 is needed"),
        ("lr=nan", "lr is nan; a finite number above 0 and at most 1e+30 is needed"),
        ("lr=inf", "lr is inf; a finite number above 0 and at most 1e+30 is needed"),
        ("pad=-2", "pad is -2; a whole number from 0 to 2147483647 is needed"),
        ("momentum=1", "momentum is 1.0; a finite number at least 0 and below 1 is needed"),
        ("start_scale=0", "start_scale is 0.0; a finite number above 0 and at most 1 is needed"),
        ("start_scale=1.5", "start_scale is 1.5; a finite number above 0 and at most 1 is needed"),
        ("ema=1.5", "ema is 1.5; a finite number at least 0 and below 1 is needed"),
        (
            "network=vgg",
            "network is 'vgg'; use one of " + ", ".join((*NETWORKS, "or torchvision/NAME")),
        ),
        ("form=code", "form is 'code'; use one of projected, posterior, released, paper"),
        ("fill=grey", "fill is 'grey'; use one of black, reflect"),
        (
            "activation_epochs=0",
            "method 'sop' needs activation_epochs, or alpha_u and alpha_v",
        ),
    ],
)
def test_a_setting_that_does_not_fit(setting, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        with_settings(CPU, [setting])


@pytest.mark.parametrize(
    ("method", "setting", "hint"),
    [
        ("sop", "epoch=3", "did you mean 'epochs'? it has"),
        ("sop", "momentun=0.9", "did you mean 'momentum'? it has"),
        ("sop", "xyzzy=3", "it has"),
        ("sop", "name=mine", "it has"),
        ("sop", "source=me", "it has"),
        ("sop", "method=ce", "it has"),
        ("sop", "", "it has"),
        ("ce", "mixup=4", "it has"),
        ("ce", "alpha_u=1", "it has"),
        ("dividemix", "noise_rate=0.4", "it has"),
        ("elr", "teacher_ramp=4", "it has"),
    ],
)
def test_a_setting_that_the_method_lacks(method, setting, hint):
    recipe = recipe_for("cpu", method)
    key = setting.partition("=")[0]
    with pytest.raises(
        ValueError, match=re.escape(f"no setting {key!r}; {hint} network, ")
    ) as caught:
        with_settings(recipe, [setting])
    message = str(caught.value)
    assert message.startswith(f"method {method!r} has no setting")
    listed = message.partition(" it has ")[2].partition("; ")[0].split(", ")
    fields = {field.name for field in dataclasses.fields(recipe)}
    assert set(listed) == fields - {"name", "source", "method"}


def test_an_alpha_switches_activation_epochs_off():
    changed = with_settings(CPU, ["alpha_u=1", "alpha_v=2"])
    assert (changed.alpha_u, changed.alpha_v, changed.activation_epochs) == (1, 2, 0)
    both = with_settings(CPU, ["alpha_u=1", "activation_epochs=3"])
    assert (both.alpha_u, both.activation_epochs) == (1, 3)


@pytest.mark.parametrize(
    ("key", "name"), [("learning_rate", "lr"), ("wd", "weight_decay"), ("bs", "batch_size")]
)
def test_what_others_call_a_setting(key, name):
    with pytest.raises(ValueError, match=f"no setting '{key}'; did you mean '{name}'"):
        with_settings(CPU, [f"{key}=1"])


@pytest.mark.parametrize("method", METHODS)
def test_the_table_of_settings_has_every_setting_with_type_range_and_value(method):
    recipe = recipe_for("paper", method)
    title, *lines = describe_settings(recipe).splitlines()
    assert title == f"settings of method {method}, and their values in recipe paper:"
    assert [line.split()[0] for line in lines] == list(settings_of(recipe))
    table = {line.split()[0]: re.split("  +", line)[1:] for line in lines}
    assert table["epochs"] == ["whole number at least 1", str(recipe.epochs)]
    assert table["lr"] == ["number above 0", str(recipe.lr)]
    assert table["momentum"] == ["number at least 0 and below 1", "0.9"]
    assert table["start_scale"] == ["number above 0 and at most 1", "1.0"]
    assert table["network"] == [" | ".join((*NETWORKS, "torchvision/NAME")), recipe.network]
    assert table["nesterov"] == ["true or false", "false"]
    assert table["optimizer"][0] == "sgd | adam | muon"
    # What the table says is what is accepted.
    for key, (_, value) in table.items():
        if value != "none":
            assert with_settings(recipe, [f"{key}={value}"]) == recipe


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": "0.1"}, "lr is '0.1'; a number is needed"),
        ({"epochs": 1.5}, "epochs is 1.5; a whole number is needed"),
        ({"epochs": True}, "epochs is True; a whole number is needed"),
        ({"flips": 1}, "flips is a int; bool is needed"),
        ({"source": None}, "source is a NoneType; str is needed"),
        ({"milestones": (1.5,)}, "milestones is 1.5; a whole number is needed"),
    ],
)
def test_a_setting_of_another_type(changes, message):
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        dataclasses.replace(CPU, **changes)
