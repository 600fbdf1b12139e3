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

from overparam.checks import check_choice, check_count, check_real, check_type

__all__ = [
    "BUDGETS",
    "NETWORKS",
    "TORCHVISION",
    "USUAL_NUMBER",
    "Recipe",
    "adapted",
    "describe_settings",
    "read_settings",
    "resized",
    "setting",
    "settings_of",
    "with_settings",
]

BUDGETS = ("cpu", "fast", "paper")
"""How much a recipe may cost: minutes on a CPU, minutes on a GPU, or as much as published."""

NETWORKS: dict[str, str] = {
    "fast": "sop_classify.training.networks:FastNet",
    "preact-resnet18": "sop_classify.training.networks:preact_resnet18",
    "resnet34": "sop_classify.training.networks:resnet34",
    "small-cnn": "sop_classify.training.networks:SmallCNN",
    "cnn7": "sop_classify.training.networks:CNN7",
    "efficientnet-lite0": "sop_classify.training.efficientnet_lite:EfficientNetLite0",
}
"""Every network by name: ``"module:callable"``, called with the number of classes.

An entry of your own adds a network. Modules are named, not imported: PyTorch takes seconds to load.
"""

USUAL_NUMBER = 50_000
"""Training images for which the recipes are made: those of CIFAR."""

TORCHVISION = "torchvision/"
"""Before the name of a classifier of torchvision, such as ``torchvision/resnet18``."""

# Twice a setting, and its product with a count, must still be a float32.
_LARGEST_FLOAT, _LARGEST_INT = 1e30, 2**31 - 1
_FIXED = ("name", "source", "method")
# What other programs call a setting.
_OTHER_NAMES = {
    "learning_rate": "lr",
    "learning-rate": "lr",
    "batch": "batch_size",
    "bs": "batch_size",
    "wd": "weight_decay",
    "l2": "weight_decay",
}


def setting(
    default: Any = dataclasses.MISSING,
    *,
    least: float = 0,
    above: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
    scales: bool = False,
    share: float = 0.0,
) -> Any:
    """Declare a field of a `Recipe` that is checked or scaled in a special way.

    Parameters
    ----------
    default
        Value if the recipe does not give one; none by default.
    least, above, most, below : float
        Range of a number: at least 0 unless another is given.
    scales : bool
        The value counts epochs or steps: `resized` multiplies it.
    share : float
        The value counts epochs, and `resized` keeps it: only in a training that is too short for
        it, it becomes this fraction of the epochs. 0 for other settings.
    """
    limits = {"least": least, "above": above, "most": most, "below": below}
    return dataclasses.field(
        default=default, metadata={"limits": limits, "scales": scales, "share": share}
    )


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
        A key of `NETWORKS`, or `TORCHVISION` and the name of a classifier of torchvision.
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
    TypeError, ValueError
        If a value has another type or is outside its range, or settings contradict each other.
    """

    name: str
    source: str
    method: str
    network: str
    epochs: int = setting(least=1)
    batch_size: int = setting(least=1)
    optimizer: Literal["sgd", "adam", "muon"] = "sgd"
    lr: float = setting(above=0)
    head_lr: float = 0.0
    bias_lr: float = 0.0
    momentum: float = setting(0.9, below=1)
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: Literal["steps", "cosine", "linear"]
    milestones: tuple[int, ...] = ()
    step_factor: float = 0.1
    hold: float = setting(0.1, below=1)
    late_momentum: float = setting(0.1, below=1)
    final_lr: float = 0.0
    pad: int = 4
    fill: Literal["black", "reflect"] = "black"
    flip: Literal["random", "alternating", "none"] = "random"
    cutout: int = 0
    start_scale: float = setting(1.0, above=0, most=1)
    full_scale_at: float = 0.7
    ema: float = setting(0.0, below=1)
    flips: bool = False
    test_every: int = setting(1, least=1)

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(self.milestones))  # JSON has lists
        for field, kind in _fields(type(self)):
            _check(field, kind, getattr(self, field.name))
        if self.network not in NETWORKS and not self.network.startswith(TORCHVISION):
            raise ValueError(
                f"network is {self.network!r}; use one of {', '.join(NETWORKS)}, or "
                f"{TORCHVISION}NAME"
            )
        if self.schedule == "steps" and (not self.milestones or min(self.milestones) < 1):
            raise ValueError(f"milestones are {self.milestones}; 'steps' needs epochs from 1 on")
        if self.optimizer == "muon" and not (self.head_lr and self.bias_lr):
            raise ValueError("optimizer 'muon' needs head_lr and bias_lr above 0 for the rest")
        if self.flips and self.flip == "none":
            raise ValueError("flips averages over mirror images, and flip is 'none'; choose one")

    @property
    def cost(self) -> float:
        """Time of an epoch relative to cross entropy. To plan: tables have what was measured."""
        return 1.0

    def changed(self, **changes: Any) -> Self:
        """A copy with other settings; a method may adjust settings that depend on them."""
        return dataclasses.replace(self, **changes)


def _fields(kind: type[Recipe]) -> list[tuple[dataclasses.Field[Any], Any]]:
    hints = get_type_hints(kind)
    return [(field, hints[field.name]) for field in dataclasses.fields(kind)]


def _limits(field: dataclasses.Field[Any], kind: Any) -> dict[str, float]:
    """The range of a number, within what a float32 or an int32 can hold."""
    default = {"least": 0, "above": -math.inf, "most": math.inf, "below": math.inf}
    limits = default | field.metadata.get("limits", {})
    limits["most"] = min(limits["most"], _LARGEST_INT if kind is int else _LARGEST_FLOAT)
    # Say one limit on each side.
    if limits["above"] >= limits["least"]:
        limits["least"] = -math.inf
    if limits["below"] <= limits["most"]:
        limits["most"] = math.inf
    return limits


def _check(field: dataclasses.Field[Any], kind: Any, value: Any) -> None:
    name, limits = field.name, _limits(field, kind)
    if kind is int:
        check_count(name, value, least=int(limits["least"]), most=int(limits["most"]))
    elif kind is float:
        check_real(name, value, **limits)
    elif get_args(kind) == (int, ...):
        for each in value:
            check_count(name, each, most=_LARGEST_INT)
    elif get_args(kind):
        check_choice(name, value, get_args(kind))
    else:
        check_type(name, value, kind)


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
        elif share := field.metadata.get("share"):
            scaled[field.name] = min(getattr(recipe, field.name), share * epochs)
    milestones = tuple(max(1, round(m * factor)) for m in recipe.milestones)
    return dataclasses.replace(recipe, epochs=epochs, milestones=milestones, **scaled)


def adapted(recipe: Recipe, number: int, *, epochs: int | None = None) -> Recipe:
    """The recipe for so many training images: the fewer steps, the larger they are.

    With fewer steps than the recipe has on 50,000 images, Muon's rate is divided by the cube root
    of their share (docs/labels.md). At most it becomes 0.24, which its authors use for 200 steps.

    Parameters
    ----------
    recipe : Recipe
        As `sop_classify.recipe_for` has it.
    number : int
        Training images.
    epochs : int, optional
        Instead of the recipe's, see `resized`.
    """
    longer = recipe if epochs is None else resized(recipe, epochs)
    share = longer.epochs / recipe.epochs * number / USUAL_NUMBER
    if recipe.optimizer != "muon" or share >= 1:
        return longer
    return longer.changed(lr=max(recipe.lr, min(0.24, recipe.lr / share ** (1 / 3))))


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
    return recipe.changed(**read_settings(recipe, settings))


def read_settings(recipe: Recipe, settings: Iterable[str]) -> dict[str, Any]:
    """The values of ``key=value`` settings by key, each of the type of its field.

    Raises
    ------
    ValueError
        As in `with_settings`, but ranges are not checked.
    """
    kinds = settings_of(recipe)
    changes: dict[str, Any] = {}
    for item in settings:
        key, equals, text = item.partition("=")
        if key not in kinds:
            near = [_OTHER_NAMES.get(key, ""), *difflib.get_close_matches(key, kinds, n=1)]
            near = [name for name in near if name in kinds and key not in _FIXED]
            hint = f"; did you mean {near[0]!r}?" if near else ";"
            raise ValueError(
                f"method {recipe.method!r} has no setting {key!r}{hint} it has {', '.join(kinds)}; "
                "--set help shows their ranges"
            )
        if not equals:
            raise ValueError(f"setting {item!r} has no value; write {key}=VALUE")
        changes[key] = _read(key, text, kinds[key])
    return changes


def describe_settings(recipe: Recipe) -> str:
    """A table of the recipe's settings: name, type and range, and value; a line each."""
    rows = [
        (field.name, _range(field, kind), _shown(getattr(recipe, field.name)))
        for field, kind in _fields(type(recipe))
        if field.name not in _FIXED
    ]
    names, ranges = (max(len(row[i]) for row in rows) for i in (0, 1))
    lines = [f"{name:{names}}  {what:{ranges}}  {value}" for name, what, value in rows]
    title = f"settings of method {recipe.method}, and their values in recipe {recipe.name}:"
    return "\n".join([title, *lines])


def _range(field: dataclasses.Field[Any], kind: Any) -> str:
    choices = (*NETWORKS, f"{TORCHVISION}NAME") if field.name == "network" else get_args(kind)
    if kind is bool:
        return "true or false"
    if kind in (int, float):
        words = {"least": "at least", "above": "above", "most": "at most", "below": "below"}
        limits = _limits(field, kind)
        largest = (_LARGEST_INT, _LARGEST_FLOAT)  # go without saying
        said = [
            f"{word} {limits[name]:g}"
            for name, word in words.items()
            if math.isfinite(limits[name]) and limits[name] not in largest
        ]
        return " ".join(["whole number" if kind is int else "number", " and ".join(said)])
    if choices == (int, ...):
        return "whole numbers with commas, such as 40,80"
    return " | ".join(map(str, choices))


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return str(value)


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
