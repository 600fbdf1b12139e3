"""Named, frozen settings: everything that decides a fit, thresholds included."""

from dataclasses import dataclass, replace
from typing import Literal

from overparam.checks import check_choice, check_count, check_real
from robustdip.corruption.base import CorruptionSettings, Penalty
from robustdip.corruption.descent import Descent, NoCorruption
from robustdip.corruption.known_mask import KnownMask
from robustdip.corruption.mixture import Mixture
from robustdip.fitting.optimizers import ConstantRate, DecayingRate

__all__ = ["RECIPES", "Recipe"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a fit, except the image, the seed and the device.

    Attributes
    ----------
    name, source : str
        The name, and where the numbers come from.
    steps : int
        Gradient steps.
    networks : int
        Number of networks that are fitted side by side from different starts, with one s. The image
        is their mean, whose error is smaller than that of each.
    width, joined, finest, scales, skip, published_net
        See `robustdip.fitting.network.SkipUNet`; `joined` and `finest` are fractions of the
        width, and at least 16 channels.
    code_channels, code_scale : int, float
        Channels of the network's fixed random input z, and its range: uniform in [0, code_scale].
    jitter : float
        Standard deviation of the normal noise added to z at each step.
    optimizer : {"sgd", "adam", "muon"}
        Optimizer of the network. "muon": orthogonalised momentum for the convolutions, Adam for the
        rest.
    lr : float
        Full learning rate of the network (SGD: for the mean loss; Muon: spectral norm of an
        update).
    rate : ConstantRate or DecayingRate
        The learning rate at each step, as a fraction of `lr`.
    loss : {"l2", "l1"}
        Mean of the squares, or of the smoothed absolute values, of the residuals.
    rounding : float
        See `robustdip.corruption.base.Penalty`.
    corruption_model : CorruptionSettings
        How s is found: `Mixture`, `Descent` (published) or `NoCorruption`.
    known_mask : KnownMask or None
        The model of s if a mask is given; None if the recipe takes no mask.
    average : float
        Decay of the running average of the network's outputs, which is the result; 0 for none.
    window, patience : int
        Early stopping (`robustdip.fitting.early_stopping.EarlyStopping`); both are 0 without it.
        With it the result is the detected output, and `steps` the largest number of steps. It needs
        `NoCorruption`.

    Raises
    ------
    TypeError
        If a number has another type.
    ValueError
        If a number is out of range, or settings contradict each other.
    """

    name: str
    source: str
    steps: int
    width: int
    networks: int = 1
    joined: float = 1.0
    finest: float = 1.0
    scales: int = 5
    skip: int = 4
    published_net: bool = False
    code_channels: int = 32
    code_scale: float = 0.1
    jitter: float = 1 / 30
    optimizer: Literal["sgd", "adam", "muon"] = "muon"
    lr: float = 0.02
    rate: ConstantRate | DecayingRate = DecayingRate()
    loss: Literal["l2", "l1"] = "l1"
    rounding: float = 0.01
    corruption_model: CorruptionSettings = Mixture()
    known_mask: KnownMask | None = KnownMask()
    average: float = 0.98
    window: int = 0
    patience: int = 0

    def __post_init__(self) -> None:
        check_choice("optimizer", self.optimizer, ("sgd", "adam", "muon"))
        check_choice("loss", self.loss, ("l2", "l1"))
        for name, least in {"steps": 1, "networks": 1, "width": 16, "scales": 1, "skip": 1}.items():
            check_count(name, getattr(self, name), least=least)
        check_count("code_channels", self.code_channels, least=1)
        for name in ("lr", "code_scale", "rounding"):
            check_real(name, getattr(self, name), above=0)
        check_real("jitter", self.jitter, least=0)
        check_real("average", self.average, least=0, below=1)
        for name in ("joined", "finest"):
            check_real(name, getattr(self, name), above=0, most=1)
        for name in ("joined", "finest"):
            seen = self.channels_of(name)
            if self.joined < 1 and seen is not None and seen <= self.skip:
                raise ValueError(
                    f"skip is {self.skip} and {name} {getattr(self, name):g}, which is {seen} of "
                    f"{self.width} channels; more are needed than the skip connection takes"
                )
        model, kind = self.corruption_model, type(self.corruption_model).__name__
        if model.squared_loss_only and self.loss != "l2":
            raise ValueError(f"loss is {self.loss!r}; corruption model {kind} needs 'l2'")
        if model.one_network_only and self.networks > 1:
            raise ValueError(f"networks is {self.networks}; corruption model {kind} needs 1")
        if (self.window, self.patience) != (0, 0) and (self.window < 2 or self.patience < 1):
            raise ValueError(
                f"window is {self.window} and patience {self.patience}; early stopping needs a "
                "window from 2 and a patience from 1, and both are 0 without it"
            )
        if self.window and not isinstance(model, NoCorruption):
            raise ValueError(
                f"window is {self.window} and the corruption model {kind}; early stopping needs "
                "NoCorruption"
            )

    def channels_of(self, part: Literal["joined", "finest"]) -> int | None:
        """Channels of a part of the network, at least 16; None for the full width."""
        fraction = getattr(self, part)
        return None if fraction == 1 else max(16, round(self.width * fraction))

    @property
    def penalty(self) -> Penalty:
        """Loss of one element, from `loss` and `rounding`."""
        return Penalty(self.loss, self.rounding)


_PAPER = Recipe(
    name="paper",
    source="You et al., NeurIPS 2020 (arXiv 2006.08857), denoising.py of "
    "ChongYou/robust-image-recovery at 5bb2314",
    steps=150_000,
    width=128,
    published_net=True,
    optimizer="sgd",
    lr=1.0,
    rate=ConstantRate(),
    loss="l2",
    # Published: 500 for the mean loss of a 512x512 colour image. This is the same rate per element,
    # for any size; with a mean loss the threshold of s would depend on the size of the image.
    corruption_model=Descent(lr=500 / (512 * 512 * 3)),
    known_mask=None,
    average=0.0,
)

_DEFAULT = Recipe(
    name="default",
    source="robustdip; derived in robustdip.corruption.mixture, measured in docs/benchmarks.md",
    steps=600,
    width=64,
    joined=0.5,
    finest=0.25,
    corruption_model=Mixture(),
)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        _DEFAULT,
        # Steps buy quality, ever less of it; so does a second network.
        replace(_DEFAULT, name="fast", source="default, half of the steps", steps=300),
        replace(
            _DEFAULT,
            name="best",
            source="default, more steps and the mean of two networks",
            steps=1000,
            networks=2,
        ),
        _PAPER,
        # The same network and optimizer without s: what the network alone does.
        replace(_DEFAULT, name="dip-l1", source="default, s = 0", corruption_model=NoCorruption()),
        replace(
            _DEFAULT,
            name="dip-l2",
            source="default, s = 0",
            corruption_model=NoCorruption(),
            loss="l2",
        ),
        replace(
            _DEFAULT,
            name="dip-es-wmv",
            source="Wang et al., TMLR 2023 (arXiv 2112.06074), optimizer and stopping as in "
            "ES_WMV.ipynb of sun-umn/Early_Stopping_for_DIP at 83d03a4; network of dip-l2",
            steps=5000,
            optimizer="adam",
            lr=0.01,
            rate=ConstantRate(),
            loss="l2",
            corruption_model=NoCorruption(),
            average=0.0,
            window=100,
            patience=1000,
        ),
    )
}
"""All recipes by name."""
