"""Named, frozen settings. A recipe is data: `fit` and `denoise` read it, nothing else changes."""

from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["DEFAULT", "RECIPES", "Recipe"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a fit, except the image, the seed and the device.

    Attributes
    ----------
    name, source : str
        What it is called and where its numbers come from.
    steps : int
        Gradient steps. The decay of the rate is stated in fractions of it.
    networks : int
        Fitted beside each other from different starts, with one s: the image is their mean, which
        errs less than any, and where they differ it is uncertain.
    width, finest, scales, skip, published_net
        See `robustdip.fitting.network.SkipUNet`; `finest` as a fraction of the width, 16 at the least.
    code_channels, code_scale : int, float
        Channels of the fixed network input z, and its range: uniform in [0, code_scale].
    jitter : float
        Standard deviation of the normal noise added to z at each step.
    optimizer : {"sgd", "adam", "muon"}
        Descent on theta. "muon": orthogonalised momentum for the convolutions, Adam for the rest.
        The rate of the other two is constant.
    lr : float
        Rate of theta (SGD: of the mean loss; Muon: spectral norm of an update).
    loss : {"l2", "l1"}
        Mean square, or the smooth absolute value √(r² + 0.01²), of what x + s leaves of y.
    separation : {"descent", "evidence", "none"}
        How s is found: u, v by gradient descent at every step; by the closed-form flow whose start
        and rate are estimated from the data (`robustdip.corruption.mixture`); or not at all.
    corruption_lr, corruption_init : float
        For "descent": η per element of the summed loss, and the scale of the random start.
    onset : float
        For "evidence": steps, per pixel of the image's side, that theta has to find detail before
        what it misses is taken for corruption. Not a fraction of the run: in a longer one, and on a
        smaller image sooner, the network would begin to learn the noise. Where s finds most to be
        corrupted it is sooner.
    refresh : float
        For "evidence": s is grown anew every so many steps, again per pixel of the side.
    average : float
        Decay of the running average of the network's outputs, which is the result; 0 for none.
    window, patience : int
        Early stopping (`robustdip.fitting.early_stopping.EarlyStopping`); both 0 for none. The result is
        then the output detected, and `steps` the most that are taken. Only without s.
    """

    name: str
    source: str
    steps: int
    width: int
    networks: int = 1
    finest: float = 1.0
    scales: int = 5
    skip: int = 4
    published_net: bool = False
    code_channels: int = 32
    code_scale: float = 0.1
    jitter: float = 1 / 30
    optimizer: Literal["sgd", "adam", "muon"] = "muon"
    lr: float = 0.02
    loss: Literal["l2", "l1"] = "l1"
    separation: Literal["descent", "evidence", "none"] = "evidence"
    corruption_lr: float = 0.0
    corruption_init: float = 1e-5
    onset: float = 0.0
    refresh: float = 0.1
    average: float = 0.98
    window: int = 0
    patience: int = 0

    def __post_init__(self) -> None:
        known = {
            "optimizer": ("sgd", "adam", "muon"),
            "loss": ("l2", "l1"),
            "separation": ("descent", "evidence", "none"),
        }
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} is {getattr(self, name)!r}; use one of {values}")
        for name, least in {"steps": 1, "networks": 1, "width": 16, "scales": 1, "skip": 1}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; at least {least} is needed")
        if not 0 < self.finest <= 1:
            raise ValueError(
                f"finest is {self.finest}; a fraction of the width, up to 1, is needed"
            )
        if self.separation == "descent" and self.loss != "l2":
            raise ValueError("separation 'descent' is defined for loss 'l2', the published one")
        if self.separation == "descent" and self.networks > 1:
            raise ValueError(f"networks is {self.networks}; separation 'descent' is of one network")
        if (self.window, self.patience) != (0, 0) and (self.window < 2 or self.patience < 1):
            raise ValueError(
                f"window is {self.window} and patience {self.patience}; early stopping needs a "
                "window from 2 and a patience from 1, and both are 0 without it"
            )
        if self.window and self.separation != "none":
            raise ValueError(
                f"separation is {self.separation!r} and window {self.window}; early stopping needs "
                "separation 'none'"
            )


_PAPER = Recipe(
    name="paper",
    source="You et al., NeurIPS 2020 (arXiv 2006.08857), denoising.py of "
    "ChongYou/robust-image-recovery at 5bb2314",
    steps=150_000,
    width=128,
    published_net=True,
    optimizer="sgd",
    lr=1.0,
    loss="l2",
    separation="descent",
    # Published: 500 on the mean loss of a 512x512 colour image. Per element it is this, for every
    # size; the mean would make the threshold of s depend on the size of the image.
    corruption_lr=500 / (512 * 512 * 3),
    average=0.0,
)

_DEFAULT = Recipe(
    name="default",
    source="robustdip; see robustdip.corruption.mixture, and benchmarks/results for what it measured",
    steps=600,
    width=64,
    finest=0.5,
    onset=0.8,  # 200 steps at 256x256
)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        _DEFAULT,
        _PAPER,
        # The same network and descent without s: what over-parameterization alone does.
        replace(_DEFAULT, name="dip-l1", source="default, s = 0", separation="none"),
        replace(_DEFAULT, name="dip-l2", source="default, s = 0", separation="none", loss="l2"),
        replace(
            _DEFAULT,
            name="dip-es-wmv",
            source="Wang et al., TMLR 2023 (arXiv 2112.06074), descent and stopping as in "
            "ES_WMV.ipynb of sun-umn/Early_Stopping_for_DIP at 83d03a4; network of dip-l2",
            steps=5000,
            optimizer="adam",
            lr=0.01,
            loss="l2",
            separation="none",
            average=0.0,
            window=100,
            patience=1000,
        ),
    )
}
"""All recipes by name."""

DEFAULT = _DEFAULT.name
