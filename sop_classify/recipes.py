"""Named, frozen settings of a training: data that `Training` reads."""

import dataclasses
import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_type_hints

__all__ = ["METHODS", "RECIPES", "Recipe", "recipe_for", "with_settings"]

Method = Literal["ce", "sop", "sop+"]
METHODS: tuple[str, ...] = get_args(Method)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a training, except the data, the seed and the device.

    Attributes
    ----------
    name, source : str
        What it is called and where its numbers come from.
    method : {"ce", "sop", "sop+"}
        Cross entropy; `sop_classify.SOPLoss`; the same with consistency and class balance.
    network : str
        A key of `sop_classify.networks.NETWORKS`.
    epochs : int
    batch_size : int
        At most; an epoch is cut into batches of equal size, so that none is too small to normalise.
    optimizer : {"sgd", "muon"}
        SGD on everything. Or Muon on the convolutions, SGD on the rest.
    lr : float
        SGD: its rate. Muon: see `overparam.muon.ConvolutionMuon`.
    head_lr, bias_lr : float
        With Muon: rates of SGD (momentum 0.85, Nesterov, `weight_decay`) on matrices, as the last
        layer is, and on everything else that is no convolution.
    momentum, weight_decay : float
    nesterov : bool
    schedule : {"steps", "cosine", "linear"}
        "steps": times 0.1 after each of `milestones` (epochs). "cosine": from lr to `final_lr`,
        changed once an epoch. "linear": constant for a tenth, then down to 0, every step.
    milestones : tuple of int
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
    """

    name: str
    source: str
    method: Method = "sop"
    network: Literal["fast", "preact-resnet18", "resnet34"]
    epochs: int
    batch_size: int
    optimizer: Literal["sgd", "muon"] = "sgd"
    lr: float
    head_lr: float = 0.0
    bias_lr: float = 0.0
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: Literal["steps", "cosine", "linear"]
    milestones: tuple[int, ...] = ()
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
    pad: int = 4
    fill: Literal["black", "reflect"] = "black"
    flip: Literal["random", "alternating", "none"] = "random"
    cutout: int = 0
    start_scale: float = 1.0
    full_scale_at: float = 0.7
    ema: float = 0.0
    flips: bool = False

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
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; at least 1 is needed")
        for name in ("ema", "momentum", "label_smoothing"):
            if getattr(self, name) >= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be below 1")
        from_alpha = self.alpha_u > 0 and self.alpha_v > 0
        if self.method != "ce" and not (self.activation_epochs or from_alpha):
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

RECIPES: dict[tuple[str, str], Recipe] = {
    ("cpu", "ce"): replace(_CPU, method="ce", activation_epochs=0),
    ("cpu", "sop"): _CPU,
    ("cpu", "sop+"): replace(_CPU, method="sop+", consistency=0.9, balance=0.1),
    ("fast", "ce"): replace(_FAST, method="ce", activation_epochs=0),
    ("fast", "sop"): _FAST,
    ("fast", "sop+"): replace(_FAST, method="sop+", consistency=0.9, balance=0.1),
    ("paper", "ce"): replace(
        _PAPER_SOP,
        method="ce",
        source=_SOP + "; SOP's settings without u and v",
        alpha_u=0,
        alpha_v=0,
    ),
    ("paper", "sop"): _PAPER_SOP,
    ("paper", "sop+"): _PAPER_SOP_PLUS,
}
"""The recipes for CIFAR-10 and symmetric noise, by name and method; `recipe_for` has the rest."""


def recipe_for(
    name: str, method: str = "sop", *, dataset: str = "cifar10", noise_type: str = "symmetric"
) -> Recipe:
    """The recipe of a name and method for a dataset and kind of noise.

    Only "paper" depends on the last two: Table A.1 gives alpha_u/alpha_v 10/10 on CIFAR-10 with
    symmetric noise and 10/100 with asymmetric, 1/10 and 1/100 on CIFAR-100. CIFAR-N has no row; the
    authors name those for symmetric noise (shengliu66/SOP, issue 12). The others choose alpha by
    epochs to activation, from the length of the training alone.

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
    if name != "paper":
        return recipe
    if dataset == "cifar100":
        if method != "sop+":
            recipe = replace(recipe, **_CIFAR100_STEPS)
        if method != "ce":
            recipe = replace(recipe, alpha_u=1, alpha_v=10)
    if noise_type == "asymmetric" and method != "ce":
        recipe = replace(recipe, alpha_v=recipe.alpha_v * 10)
    return recipe


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
            near = difflib.get_close_matches(key, [f for f in fields if f not in fixed], n=1)
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
