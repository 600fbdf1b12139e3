"""Named, frozen settings of a training: data that `Training` reads."""

import dataclasses
import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_type_hints

__all__ = ["METHODS", "RECIPES", "Recipe", "recipe_for", "resized", "with_settings"]

Method = Literal["ce", "sop", "sop+", "elr", "elr+", "coteaching+", "dividemix"]
METHODS: tuple[str, ...] = get_args(Method)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a training, except the data, the seed and the device.

    Attributes
    ----------
    name, source : str
        What it is called and where its numbers come from.
    method : {"ce", "sop", "sop+", "elr", "elr+", "coteaching+", "dividemix"}
        Cross entropy; `sop_classify.SOPLoss`; the same with consistency and class balance;
        `sop_classify.ELRLoss`; and those of two networks, in modules of their names.
    network : str
        A key of `sop_classify.training.networks.NETWORKS`.
    epochs : int
    batch_size : int
        At most; an epoch is cut into batches of equal size, so that none is too small to normalise.
        Of DivideMix half of it are labelled.
    optimizer : {"sgd", "adam", "muon"}
        SGD or Adam on everything. Or Muon on the convolutions, SGD on the rest.
    lr : float
        SGD: its rate. Muon: see `overparam.muon.ConvolutionMuon`.
    head_lr, bias_lr : float
        With Muon: rates of SGD (momentum 0.85, Nesterov, `weight_decay`) on matrices, as the last
        layer is, and on everything else that is no convolution.
    momentum, weight_decay : float
    nesterov : bool
    schedule : {"steps", "cosine", "linear"}
        "steps": times `step_factor` after each of `milestones` (epochs). "cosine": from lr to
        `final_lr`, changed once an epoch. "linear": constant for the fraction `hold` of the epochs,
        then down to 0, every step; Adam's momentum is `late_momentum` from there on.
    milestones : tuple of int
    step_factor, hold, late_momentum : float
    final_lr : float
    activation_epochs : float
        If positive, alpha_v is `sop_classify.alpha_for` this many epochs and alpha_u `alpha_ratio`
        of it, u and v start at `init` exactly, and `alpha_u` and `alpha_v` are not read.
    alpha_ratio : float
        A slow u spares labels that are right but hard; a fast one lets less be memorised in a long
        training on few examples.
    alpha_u, alpha_v, init, form, balance, consistency
        See `sop_classify.SOPLoss`.
    label_smoothing : float
        Of the cross entropy of method "ce".
    target_decay, regularisation : float
        ELR's β, decay of the targets, and λ, weight of the agreement with them. ELR+ too.
    ramp_steps, mix_labels : int, bool
        ELR+: λ grows over so many steps (0: at once); the mixed targets sharpen the labels too.
    teacher_decay, teacher_ramp : float, int
        ELR+: decay a step of the averaged weights, approached over so many steps.
    noise_rate : float
        Co-teaching+: the fraction of wrong labels, which has to be known. Nothing else reads it.
    warmup : float
        Co-teaching+, DivideMix: epochs before disagreement, or the split, decides.
    drop_ramp : float
        Co-teaching+: epochs until the whole of `noise_rate` is left out.
    mixup : int
        ELR+, DivideMix: the parameter of mixup's Beta distribution; 0: none.
    unlabelled, unlabelled_ramp : float
        DivideMix: λ_u, weight of the examples whose labels are not trusted, and the epochs after
        the warm-up over which it grows.
    entropy_penalty : bool
        DivideMix: discourage confident predictions in the warm-up, for asymmetric noise.
    pad : int
        Random crop: the image shifts by up to so many pixels each way.
    fill : {"black", "reflect"}
        What lies beyond the border.
    flip : {"random", "alternating", "none"}
        Mirror with probability 1/2; or start so and then change every epoch, which shows both views
        of an image in any two epochs (Jordan, arXiv 2404.00498, section 3.6).
    cutout : int
        Side of the black square on the weak view; 0 for none. The strong view always has 16.
    start_scale, full_scale_at : float
        Progressive resizing: the first epoch sees images shrunk to the fraction `start_scale` of
        their side; it grows linearly, in whole multiples of 4 pixels, to 1 when the fraction
        `full_scale_at` of the epochs is done. 1: always full.
    ema : float
        Decay a step of an average of the weights, reported beside the plain network; 0: none.
    flips : bool
        Report predictions averaged over an image and its mirror image too.
    test_every : int
        Epochs from one test to the next, and in the last. On a small part of the training images a
        test may take as long as an epoch.
    """

    name: str
    source: str
    method: Method = "sop"
    network: Literal["fast", "preact-resnet18", "resnet34", "small-cnn", "cnn7"]
    epochs: int
    batch_size: int
    optimizer: Literal["sgd", "adam", "muon"] = "sgd"
    lr: float
    head_lr: float = 0.0
    bias_lr: float = 0.0
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: Literal["steps", "cosine", "linear"]
    milestones: tuple[int, ...] = ()
    step_factor: float = 0.1
    hold: float = 0.1
    late_momentum: float = 0.1
    final_lr: float = 0.0
    activation_epochs: float = 0.0
    alpha_ratio: float = 0.1
    alpha_u: float = 0.0
    alpha_v: float = 0.0
    init: float = 1e-8
    form: Literal["projected", "released", "paper"] = "projected"
    balance: float = 0.0
    consistency: float = 0.0
    label_smoothing: float = 0.0
    target_decay: float = 0.0
    regularisation: float = 0.0
    ramp_steps: int = 0
    mix_labels: bool = False
    teacher_decay: float = 0.0
    teacher_ramp: int = 0
    noise_rate: float = 0.0
    warmup: float = 0.0
    drop_ramp: float = 0.0
    mixup: int = 0
    unlabelled: float = 0.0
    unlabelled_ramp: float = 16.0
    entropy_penalty: bool = False
    pad: int = 4
    fill: Literal["black", "reflect"] = "black"
    flip: Literal["random", "alternating", "none"] = "random"
    cutout: int = 0
    start_scale: float = 1.0
    full_scale_at: float = 0.7
    ema: float = 0.0
    flips: bool = False
    test_every: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(self.milestones))  # JSON has lists
        for name, kind in get_type_hints(type(self)).items():
            value: Any = getattr(self, name)
            choices = get_args(kind)
            if kind is int and not isinstance(value, int):
                raise ValueError(f"{name} is {value!r}; a whole number is needed")
            if kind in (int, float) and not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}; it must be 0 or more")
            if choices and choices != (int, ...) and value not in choices:
                raise ValueError(f"{name} is {value!r}; use one of {', '.join(choices)}")
        if self.schedule == "steps" and (not self.milestones or min(self.milestones) < 1):
            raise ValueError(f"milestones are {self.milestones}; 'steps' needs epochs from 1 on")
        if self.optimizer == "muon" and not (self.head_lr and self.bias_lr):
            raise ValueError("optimizer 'muon' needs head_lr and bias_lr above 0 for the rest")
        if self.flips and self.flip == "none":
            raise ValueError("flips averages over mirror images, and flip is 'none'; choose one")
        if not 0 < self.start_scale <= 1:
            raise ValueError(f"start_scale is {self.start_scale}; it must be above 0 and at most 1")
        if not 0 < self.init < 1:
            raise ValueError(f"init is {self.init}; u and v must start between 0 and 1")
        for name in ("epochs", "batch_size", "test_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; at least 1 is needed")
        below_one = ("ema", "momentum", "late_momentum", "label_smoothing", "hold", "noise_rate")
        for name in (*below_one, "target_decay", "teacher_decay"):
            if getattr(self, name) >= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be below 1")
        from_alpha = self.alpha_u > 0 and self.alpha_v > 0
        if self.method in ("sop", "sop+") and not (self.activation_epochs or from_alpha):
            raise ValueError(
                f"method {self.method!r} needs activation_epochs, or alpha_u and alpha_v"
            )


_SOP = "Liu, Zhu, Qu and You, ICML 2022 (arXiv 2202.14026), Table A.1"

# The batch size, the rate and ResNet34's milestones are as in the configurations of
# KlemenVovk/noisy-labels at 3d92600, which agree with the table.
_PAPER_SOP = Recipe(
    name="paper",
    source=_SOP,
    network="resnet34",
    epochs=120,
    batch_size=128,
    lr=0.02,
    weight_decay=5e-4,
    schedule="steps",
    milestones=(40, 80),
    alpha_u=10,
    alpha_v=10,
    form="paper",
)
_PAPER_SOP_PLUS = replace(
    _PAPER_SOP,
    method="sop+",
    network="preact-resnet18",
    epochs=300,
    schedule="cosine",
    milestones=(),
    # config_cifar100.json of shengliu66/SOP at 4d991ce; a hundredth of the rate.
    final_lr=2e-4,
    consistency=0.9,
    balance=0.1,
)
_CIFAR100_STEPS = {"epochs": 150, "milestones": (80, 120)}

_CPU = Recipe(
    name="cpu",
    source="robustdip; network, views and schedule after airbench94_muon of "
    "KellerJordan/cifar10-airbench at f1c599c",
    network="fast",
    epochs=11,
    batch_size=256,
    optimizer="muon",
    lr=0.09,
    head_lr=0.5,
    bias_lr=0.05,
    momentum=0.6,
    schedule="linear",
    # From 0.03 a factor of 1.65 an epoch activates in seven; from 1e-8 it would take one of 14, at
    # which a few early contradictions count as much as many, and u and v overshoot.
    activation_epochs=7,
    init=0.03,
    pad=2,
    fill="reflect",
    flip="alternating",
    flips=True,
)
# Not measured yet. 0.17: between the rates of 256 and of airbench94_muon's 2,000 images a batch.
_FAST = replace(
    _CPU, name="fast", epochs=40, batch_size=1024, lr=0.17, activation_epochs=15, cutout=12
)

# ELR's and ELR+'s configurations of shengliu66/ELR at 2f4cd32 and c93fe05; the steps of ELR are the
# paper's, whose 100-fold drops the configuration for CIFAR-10 replaces by restarts.
_PAPER_ELR = replace(
    _PAPER_SOP,
    source="Liu et al., NeurIPS 2020 (arXiv 2007.00151), Table 1; shengliu66/ELR",
    method="elr",
    weight_decay=1e-3,
    step_factor=0.01,
    alpha_u=0,
    alpha_v=0,
    form="projected",
    target_decay=0.7,
    regularisation=3,
)
_ELR_PLUS = {"mixup": 1, "teacher_decay": 0.997}
_PAPER_ELR_PLUS = replace(
    _PAPER_ELR,
    method="elr+",
    network="preact-resnet18",
    epochs=200,
    weight_decay=5e-4,
    step_factor=0.1,
    milestones=(150,),
    teacher_ramp=40_000,
    **_ELR_PLUS,
)
_PAPER_COTEACHING_PLUS = Recipe(
    name="paper",
    source="Yu et al., ICML 2019 (arXiv 1901.04215); xingruiyu/coteaching_plus at 40d5831, but the "
    "rate falls every step, not every epoch, and images are normalised",
    method="coteaching+",
    network="small-cnn",
    epochs=200,
    batch_size=128,
    optimizer="adam",
    lr=1e-3,
    schedule="linear",
    hold=0.4,
    warmup=20,
    drop_ramp=10,
    pad=0,
    flip="none",
)
_PAPER_DIVIDEMIX = replace(
    _PAPER_ELR_PLUS,
    source="Li et al., ICLR 2020 (arXiv 2002.07394); LiJunnan1992/DivideMix at 39740b2",
    method="dividemix",
    epochs=300,
    target_decay=0,
    regularisation=0,
    teacher_decay=0,
    teacher_ramp=0,
    warmup=10,
    mixup=4,
    unlabelled=25,
)
# A tenth and a twentieth of the epochs, as 20 and 10 of the published 200.
_COTEACHING_PLUS = {"method": "coteaching+", "activation_epochs": 0}
# The published warm-up is a thirtieth, less than an epoch here: too little would be learned before
# the first split.
_DIVIDEMIX = {"method": "dividemix", "activation_epochs": 0, "mixup": 4, "unlabelled": 25}
_ELR = {"activation_epochs": 0, "target_decay": 0.7, "regularisation": 3}

RECIPES: dict[tuple[str, str], Recipe] = {
    ("cpu", "ce"): replace(_CPU, method="ce", activation_epochs=0),
    ("cpu", "sop"): _CPU,
    ("cpu", "sop+"): replace(_CPU, method="sop+", consistency=0.9, balance=0.1),
    ("cpu", "elr"): replace(_CPU, method="elr", **_ELR),
    # The teacher's ramp: half of the steps on CIFAR, as published.
    ("cpu", "elr+"): replace(_CPU, method="elr+", teacher_ramp=1000, **_ELR, **_ELR_PLUS),
    ("cpu", "coteaching+"): replace(_CPU, warmup=1.1, drop_ramp=0.55, **_COTEACHING_PLUS),
    ("cpu", "dividemix"): replace(_CPU, warmup=2, unlabelled_ramp=1, **_DIVIDEMIX),
    ("fast", "ce"): replace(_FAST, method="ce", activation_epochs=0),
    ("fast", "sop"): _FAST,
    ("fast", "sop+"): replace(_FAST, method="sop+", consistency=0.9, balance=0.1),
    ("fast", "elr"): replace(_FAST, method="elr", **_ELR),
    ("fast", "elr+"): replace(_FAST, method="elr+", teacher_ramp=1000, **_ELR, **_ELR_PLUS),
    ("fast", "coteaching+"): replace(_FAST, warmup=4, drop_ramp=2, **_COTEACHING_PLUS),
    ("fast", "dividemix"): replace(_FAST, warmup=4, unlabelled_ramp=2, **_DIVIDEMIX),
    ("paper", "ce"): replace(
        _PAPER_SOP,
        method="ce",
        source=_SOP + "; SOP's settings without u and v",
        alpha_u=0,
        alpha_v=0,
    ),
    ("paper", "sop"): _PAPER_SOP,
    ("paper", "sop+"): _PAPER_SOP_PLUS,
    ("paper", "elr"): _PAPER_ELR,
    ("paper", "elr+"): _PAPER_ELR_PLUS,
    ("paper", "coteaching+"): _PAPER_COTEACHING_PLUS,
    ("paper", "dividemix"): _PAPER_DIVIDEMIX,
}
"""The recipes for CIFAR-10 and symmetric noise, by name and method; `recipe_for` has the rest."""

# What "paper" changes on CIFAR-100, and what for asymmetric noise on CIFAR-10.
_CIFAR100: dict[str, dict[str, Any]] = {
    "ce": _CIFAR100_STEPS,
    "sop": {**_CIFAR100_STEPS, "alpha_u": 1, "alpha_v": 10},
    "sop+": {"alpha_u": 1, "alpha_v": 10},
    "elr": {**_CIFAR100_STEPS, "target_decay": 0.9, "regularisation": 7},
    "elr+": {
        "epochs": 250,
        "milestones": (200,),
        "target_decay": 0.9,
        "regularisation": 7,
        "ramp_steps": 40_000,
        "mix_labels": True,
    },
    "coteaching+": {"network": "cnn7", "warmup": 5},
    "dividemix": {"warmup": 30, "unlabelled": 150},
}
_ASYMMETRIC: dict[str, dict[str, Any]] = {
    "elr": {"target_decay": 0.9, "regularisation": 1},
    "elr+": {"target_decay": 0.9, "regularisation": 1},
    "dividemix": {"unlabelled": 0, "entropy_penalty": True},
}


def recipe_for(
    name: str, method: str = "sop", *, dataset: str = "cifar10", noise_type: str = "symmetric"
) -> Recipe:
    """The recipe of a name and method for a dataset and kind of noise.

    Only "paper" depends on the last two, DivideMix apart. SOP: Table A.1 gives alpha_u/alpha_v
    10/10 on CIFAR-10 with symmetric noise and 10/100 with asymmetric, 1/10 and 1/100 on CIFAR-100.
    CIFAR-N has no row; the authors name those for symmetric noise (shengliu66/SOP, issue 12). ELR:
    β/λ 0.7/3, asymmetric 0.9/1, on CIFAR-100 0.9/7. Co-teaching+ needs `noise_rate` besides.

    DivideMix: λ_u 25 (150 on CIFAR-100), and on CIFAR-10 0 for asymmetric noise and for the labels
    of people, where 25 costs points; so it does at 20 % symmetric, for which the authors too set 0:
    `--set unlabelled=0`. The kind of noise counts in all recipes; else those of other names than
    "paper" choose by the length of the training alone.

    Raises
    ------
    ValueError
        If there is no such recipe or method.
    """
    if (name, method) not in RECIPES:
        names, methods = (tuple(dict.fromkeys(key[i] for key in RECIPES)) for i in (0, 1))
        raise ValueError(
            f"no recipe {name!r} for method {method!r}; "
            f"recipes are {', '.join(names)}, methods {', '.join(methods)}"
        )
    recipe = RECIPES[name, method]
    if name != "paper" and method != "dividemix":
        return recipe
    if name == "paper" and dataset == "cifar100":
        recipe = replace(recipe, **_CIFAR100[method])
    if noise_type == "asymmetric":
        if method in ("sop", "sop+"):
            recipe = replace(recipe, alpha_v=recipe.alpha_v * 10)
        elif dataset == "cifar10":
            recipe = replace(recipe, **_ASYMMETRIC.get(method, {}))
    elif noise_type != "symmetric" and method == "dividemix" and dataset == "cifar10":
        recipe = replace(recipe, unlabelled=0)
    return recipe


def resized(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe over another number of epochs, its schedule in proportion.

    All that is counted in epochs or steps scales along: milestones, activation_epochs, warmup,
    drop_ramp, unlabelled_ramp, ramp_steps and teacher_ramp.
    """
    factor = epochs / recipe.epochs
    scaled = {
        name: getattr(recipe, name) * factor
        for name in ("activation_epochs", "warmup", "drop_ramp", "unlabelled_ramp")
    }
    steps = {name: round(getattr(recipe, name) * factor) for name in ("ramp_steps", "teacher_ramp")}
    milestones = tuple(max(1, round(m * factor)) for m in recipe.milestones)
    return replace(recipe, epochs=epochs, milestones=milestones, **scaled, **steps)


def with_settings(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """The recipe with ``key=value`` settings, each read as its field's type.

    Raises
    ------
    ValueError
        If a key is unknown (the nearest is named) or a value does not fit.
    """
    fields = get_type_hints(Recipe)
    fixed = ("name", "source", "method")
    changes: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if key not in fields or key in fixed:
            others = [] if key in fixed else [f for f in fields if f not in fixed]
            near = difflib.get_close_matches(key, others, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"no setting {key!r}{hint}")
        if not equals:
            raise ValueError(f"setting {setting!r} has no value; write {key}=VALUE")
        changes[key] = _read(key, text, fields[key])
    if {"alpha_u", "alpha_v"} & changes.keys():
        changes.setdefault("activation_epochs", 0.0)  # what is asked for must not be overruled
    return dataclasses.replace(recipe, **changes)


def _read(key: str, text: str, kind: Any) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind in (int, float):
            return kind(text)
        if get_args(kind) == (int, ...):
            return tuple(int(word) for word in text.split(",") if word)
    except (KeyError, ValueError):
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}
        needed = wanted.get(kind, "a list like 40,80")
        raise ValueError(f"{key} is {text!r}; {needed} is needed") from None
    return text
