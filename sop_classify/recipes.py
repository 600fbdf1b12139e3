"""The settings of a training: those that all methods share, and how settings are changed.

`Recipe` has the settings of every method. A method with settings of its own has a subclass in
`sop_classify.methods.catalogue`, where the named recipes are too.
"""

import dataclasses
import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args, get_type_hints

__all__ = ["BUDGETS", "NETWORKS", "Recipe", "resized", "setting", "settings_of", "with_settings"]

BUDGETS = ("cpu", "fast", "paper")
"""How much a recipe may cost: minutes on a CPU, minutes on a GPU, or as much as published."""

NETWORKS: dict[str, str] = {
    "fast": "sop_classify.training.networks:FastNet",
    "preact-resnet18": "sop_classify.training.networks:preact_resnet18",
    "resnet34": "sop_classify.training.networks:resnet34",
    "small-cnn": "sop_classify.training.networks:SmallCNN",
    "cnn7": "sop_classify.training.networks:CNN7",
}
"""Every network by name: ``"module:callable"``, called with the number of classes.

An entry of your own adds a network. Modules are named, not imported: PyTorch takes seconds to load.
"""

# Twice a setting, and its product with a count, must still be a float32.
_LARGEST_FLOAT, _LARGEST_INT = 1e30, 2**31 - 1
_FIXED = ("name", "source", "method")


def setting(default: Any, *, below_one: bool = False, scales: bool = False) -> Any:
    """Declare a field of a `Recipe` that is checked or scaled in a special way.

    Parameters
    ----------
    default
        Value if the recipe does not give one.
    below_one : bool
        Refuse values of 1 or more.
    scales : bool
        The value counts epochs or steps: `resized` multiplies it.
    """
    return dataclasses.field(default=default, metadata={"below_one": below_one, "scales": scales})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a training, except the data, the seed and the device.

    Attributes
    ----------
    name : str
        One of `BUDGETS`, or a name of your own.
    source : str
        Where the numbers come from.
    method : str
        A key of `sop_classify.methods.catalogue.METHODS`.
    network : str
        A key of `NETWORKS`.
    epochs : int
    batch_size : int
        Upper limit. An epoch is cut into batches of equal size, because batch normalisation fails
        on a very small last batch. In DivideMix half of a batch is labelled.
    optimizer : {"sgd", "adam", "muon"}
        "sgd" and "adam" train all weights. "muon" trains the convolutions with Muon and everything
        else with SGD.
    lr : float
        Learning rate of SGD or Adam, or of Muon, see `overparam.muon.ConvolutionMuon`.
    head_lr, bias_lr : float
        Only with Muon: learning rates of SGD (momentum 0.85, Nesterov, `weight_decay`) for matrices
        such as the last layer, and for all other weights that are not convolutions.
    momentum, weight_decay : float
    nesterov : bool
    schedule : {"steps", "cosine", "linear"}
        "steps" multiplies the learning rate by `step_factor` after each of the `milestones`
        (epochs). "cosine" goes from `lr` to `final_lr` and changes once an epoch. "linear" is
        constant for the fraction `hold` of the epochs and then falls to 0, changing every step;
        from there on Adam's momentum is `late_momentum`.
    milestones : tuple of int
    step_factor, hold, late_momentum : float
    final_lr : float
    pad : int
        Random crop: an image is shifted by up to this many pixels in each direction.
    fill : {"black", "reflect"}
        What is shown beyond the border of a shifted image.
    flip : {"random", "alternating", "none"}
        "random" mirrors an image with probability 1/2. "alternating" starts that way and then
        changes every epoch, so that any two consecutive epochs show both views of an image (Jordan,
        arXiv 2404.00498, section 3.6).
    cutout : int
        Side in pixels of the black square on the weak view; 0 for none. The strong view always has
        one of 16 pixels.
    start_scale, full_scale_at : float
        Progressive resizing. The first epoch sees images reduced to the fraction `start_scale` of
        their side. The side grows linearly, in multiples of 4 pixels, and is complete when the
        fraction `full_scale_at` of the epochs is done. 1 always shows full images.
    ema : float
        Decay per step of an average of the weights, which is tested beside the plain network; 0
        for none.
    flips : bool
        Also report predictions averaged over an image and its mirror image.
    test_every : int
        Epochs from one test to the next; the last epoch is always tested. With few training images
        a test may take as long as an epoch.

    Raises
    ------
    ValueError
        If a value is outside its range, or settings contradict each other.
    """

    name: str
    source: str
    method: str
    network: str
    epochs: int
    batch_size: int
    optimizer: Literal["sgd", "adam", "muon"] = "sgd"
    lr: float
    head_lr: float = 0.0
    bias_lr: float = 0.0
    momentum: float = setting(0.9, below_one=True)
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: Literal["steps", "cosine", "linear"]
    milestones: tuple[int, ...] = ()
    step_factor: float = 0.1
    hold: float = setting(0.1, below_one=True)
    late_momentum: float = setting(0.1, below_one=True)
    final_lr: float = 0.0
    pad: int = 4
    fill: Literal["black", "reflect"] = "black"
    flip: Literal["random", "alternating", "none"] = "random"
    cutout: int = 0
    start_scale: float = 1.0
    full_scale_at: float = 0.7
    ema: float = setting(0.0, below_one=True)
    flips: bool = False
    test_every: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(self.milestones))  # JSON has lists
        for name, kind in get_type_hints(type(self)).items():
            _check(name, kind, getattr(self, name))
        for field in dataclasses.fields(self):
            if field.metadata.get("below_one") and getattr(self, field.name) >= 1:
                value = getattr(self, field.name)
                raise ValueError(f"{field.name} is {value}; it must be below 1")
        for name in ("epochs", "batch_size", "test_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; at least 1 is needed")
        if self.network not in NETWORKS:
            raise ValueError(f"network is {self.network!r}; use one of {', '.join(NETWORKS)}")
        if self.schedule == "steps" and (not self.milestones or min(self.milestones) < 1):
            raise ValueError(f"milestones are {self.milestones}; 'steps' needs epochs from 1 on")
        if self.optimizer == "muon" and not (self.head_lr and self.bias_lr):
            raise ValueError("optimizer 'muon' needs head_lr and bias_lr above 0 for the rest")
        if self.flips and self.flip == "none":
            raise ValueError("flips averages over mirror images, and flip is 'none'; choose one")
        if not 0 < self.start_scale <= 1:
            raise ValueError(f"start_scale is {self.start_scale}; it must be above 0 and at most 1")

    def changed(self, **changes: Any) -> Self:
        """A copy with other settings; a method may adjust settings that depend on them."""
        return dataclasses.replace(self, **changes)


def _check(name: str, kind: Any, value: Any) -> None:
    choices = get_args(kind)
    if kind is int and not (isinstance(value, int) and value <= _LARGEST_INT):
        raise ValueError(f"{name} is {value!r}; a whole number up to {_LARGEST_INT} is needed")
    if kind in (int, float) and not 0 <= value < math.inf:
        raise ValueError(f"{name} is {value}; it must be 0 or more")
    if kind is float and value > _LARGEST_FLOAT:
        raise ValueError(f"{name} is {value}; more than {_LARGEST_FLOAT:g} overflows float32")
    if choices and choices != (int, ...) and value not in choices:
        raise ValueError(f"{name} is {value!r}; use one of {', '.join(choices)}")


def resized(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe with another number of epochs and a schedule in proportion.

    Milestones, and all settings that count epochs or steps (see `setting`), scale along.
    """
    factor, kinds = epochs / recipe.epochs, get_type_hints(type(recipe))
    scaled: dict[str, Any] = {}
    for field in dataclasses.fields(recipe):
        if field.metadata.get("scales"):
            value = getattr(recipe, field.name) * factor
            scaled[field.name] = round(value) if kinds[field.name] is int else value
    milestones = tuple(max(1, round(m * factor)) for m in recipe.milestones)
    return dataclasses.replace(recipe, epochs=epochs, milestones=milestones, **scaled)


def settings_of(recipe: Recipe | type[Recipe]) -> dict[str, Any]:
    """The settings that a user may change, and the type of each."""
    kind = recipe if isinstance(recipe, type) else type(recipe)
    return {key: hint for key, hint in get_type_hints(kind).items() if key not in _FIXED}


def with_settings(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """The recipe with ``key=value`` settings, each read as the type of its field.

    Raises
    ------
    ValueError
        If the recipe's method does not have a key (the message lists those that it has), or a
        value does not fit.
    """
    kinds = settings_of(recipe)
    changes: dict[str, Any] = {}
    for item in settings:
        key, equals, text = item.partition("=")
        if key not in kinds:
            near = difflib.get_close_matches(key, kinds, n=1)
            hint = f"; did you mean {near[0]!r}?" if near and key not in _FIXED else ";"
            raise ValueError(
                f"method {recipe.method!r} has no setting {key!r}{hint} it has {', '.join(kinds)}"
            )
        if not equals:
            raise ValueError(f"setting {item!r} has no value; write {key}=VALUE")
        changes[key] = _read(key, text, kinds[key])
    return recipe.changed(**changes)


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
