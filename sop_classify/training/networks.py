"""The classifiers: those of the papers, and one that trains in minutes.

Every network takes normalised images (B, 3, H, W) and returns logits (B, num_classes). Weights are
drawn from the generator given, never from PyTorch's global one.
"""

import difflib
import math
import pkgutil
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from overparam.files import one_line
from overparam.modes import seeded
from sop_classify.recipes import NETWORKS, TORCHVISION

__all__ = [
    "CNN7",
    "FastNet",
    "PreActResNet",
    "ResNet",
    "SmallCNN",
    "build_network",
    "preact_resnet18",
    "resnet34",
]


class _BasicBlock(nn.Module):
    """conv-BN-ReLU-conv-BN plus the shortcut, then ReLU (He et al., CVPR 2016)."""

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv3(channels, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = _conv3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != planes:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, planes, 1, stride, bias=False), nn.BatchNorm2d(planes)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class _PreActBlock(nn.Module):
    """BN-ReLU-conv-BN-ReLU-conv plus the shortcut (He et al., ECCV 2016)."""

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = _conv3(channels, planes, stride)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv2 = _conv3(planes, planes)
        self.shortcut = None
        if stride != 1 or channels != planes:
            self.shortcut = nn.Conv2d(channels, planes, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(x))
        # The projection sees the activated input; an identity carries the raw one.
        shortcut = x if self.shortcut is None else self.shortcut(y)
        return self.conv2(F.relu(self.bn2(self.conv1(y)))) + shortcut


class ResNet(nn.Module):
    """A ResNet of basic blocks with the CIFAR stem: 3x3, stride 1, no pooling.

    Parameters
    ----------
    blocks : tuple of int
        Blocks of the four stages: (3, 4, 6, 3) is ResNet34.
    num_classes : int
    """

    def __init__(self, blocks: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv3(3, 64), nn.BatchNorm2d(64), nn.ReLU())
        self.stages = _stages(_BasicBlock, blocks)
        self.head = nn.Linear(512, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) to logits (B, num_classes)."""
        return self.head(self.stages(self.stem(x)).mean((2, 3)))


class PreActResNet(nn.Module):
    """A pre-activation ResNet with the CIFAR stem; (2, 2, 2, 2) is PreActResNet18.

    As in the papers' code (PreResNet.py of shengliu66/SOP) the stem has a BN-ReLU of its own and
    the last block's output is pooled as it is.
    """

    def __init__(self, blocks: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv3(3, 64), nn.BatchNorm2d(64), nn.ReLU())
        self.stages = _stages(_PreActBlock, blocks)
        self.head = nn.Linear(512, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) to logits (B, num_classes)."""
        return self.head(self.stages(self.stem(x)).mean((2, 3)))


class FastNet(nn.Module):
    """Whitening, then three groups of conv-pool-BN-GELU-conv-BN-GELU (the airbench94 design).

    0.7 GFLOP an image for a training step, a fifth of PreActResNet18's. Source: K. Jordan,
    "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv 2404.00498, section 3.

    Parameters
    ----------
    num_classes : int
    widths : tuple of int
        Channels of the three groups.
    """

    def __init__(self, num_classes: int, widths: tuple[int, int, int] = (64, 256, 256)) -> None:
        super().__init__()
        # All 12 directions of 2x2 RGB patches and their negatives, because the activation keeps
        # positive values only. The layer is not trained, so no gradient passes through the largest
        # activations.
        self.whiten = nn.Conv2d(3, 24, 2, bias=False)
        self.groups = nn.Sequential(
            *(_Group(i, o) for i, o in zip((24, *widths[:2]), widths, strict=True))
        )
        self.head = nn.Linear(widths[-1], num_classes, bias=False)
        self.whiten.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) to logits (B, num_classes)."""
        x = self.groups(F.gelu(self.whiten(x)))
        # 1/9: the logits' scale at which the published learning rates were found.
        return self.head(x.amax((2, 3))) / 9

    @torch.no_grad()
    def initialise(self, images: Tensor, *, generator: torch.Generator) -> None:
        """Set the whitening from normalised images (n, 3, H, W), the rest at random."""
        covariance, number = torch.zeros(12, 12, dtype=torch.float64), 0
        # Patches are twelve times the size of their image, in doubles: 10 MB at a time.
        for part in images.split(max(1, min(100, 100 * 32 * 32 // images[0, 0].numel()))):
            patches = part.double().unfold(2, 2, 1).unfold(3, 2, 1).movedim(1, 3).reshape(-1, 12)
            covariance += patches.T @ patches
            number += len(patches)
        values, vectors = torch.linalg.eigh(covariance / number)
        # 5e-4 limits the scale of directions with almost no variance.
        filters = (vectors / (values + 5e-4).sqrt()).T.flip(0)
        # Grey pictures vary in 4 of the 12 directions. Filters of the others would give channels
        # that are always 0, and a normalisation of such a channel multiplies its gradient by 1e6.
        # They are replaced by random mixtures of the 4. The limit, a thousandth of the pixels'
        # standard deviation, is below the resolution of 8 bits.
        live = int((values > 1e-6).sum())
        if 0 < live < 12:
            mix = torch.randn(12 - live, live, generator=generator, dtype=torch.float64)
            filters[live:] = F.normalize(mix, dim=1) @ filters[:live]
        filters = filters.reshape(12, 3, 2, 2)
        self.whiten.weight.copy_(torch.cat([filters, -filters]))
        _kaiming_uniform(self.head.weight, generator)
        for group in self.groups:
            for conv in (group.conv1, group.conv2):  # type: ignore[union-attr]
                _kaiming_uniform(conv.weight, generator)  # type: ignore[arg-type]
                nn.init.dirac_(conv.weight[: conv.weight.shape[1]])  # type: ignore[index, arg-type]


class SmallCNN(nn.Module):
    """Two 5x5 convolutions and three linear layers: Co-teaching+'s network for CIFAR-10.

    Source: Yu et al., ICML 2019 (CNN_small of xingruiyu/coteaching_plus at 5a935d1). Other sizes
    than 32x32 are pooled to the 5x5 that the linear layers expect.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5, padding=0)
        self.conv2 = nn.Conv2d(6, 16, 5, padding=0)
        self.hidden1 = nn.Linear(16 * 5 * 5, 120)
        self.hidden2 = nn.Linear(120, 84)
        self.head = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) to logits (B, num_classes)."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        # Images under 16 pixels leave nothing for a second 5x5: they see their border repeated.
        missing = [max(0, 6 - side) for side in x.shape[2:]]
        if any(missing):
            x = F.pad(x, (0, missing[1], 0, missing[0]), mode="replicate")
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.adaptive_avg_pool2d(x, 5).flatten(1)
        return self.head(F.relu(self.hidden2(F.relu(self.hidden1(x)))))


class CNN7(nn.Module):
    """Six 3x3 convolutions with batch norm and a linear layer: Co-teaching+'s for CIFAR-100.

    Source: Yu et al., ICML 2019 (CNN of xingruiyu/coteaching_plus at 5a935d1).
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        # 196, as published.
        planes = (3, 64, 64, 128, 128, 196, 16)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, o, 3, padding=1) for i, o in pairwise(planes)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(p) for p in planes[1:])
        self.head = nn.Linear(16 * 4 * 4, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) to logits (B, num_classes)."""
        for i, (conv, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = F.relu(norm(conv(x)))
            if i % 2:
                x = F.max_pool2d(x, 2)
        return self.head(F.adaptive_avg_pool2d(x, 4).flatten(1))


class _Group(nn.Module):
    def __init__(self, channels: int, planes: int) -> None:
        super().__init__()
        self.conv1 = _conv3(channels, planes)
        self.bn1 = _batch_norm(planes)
        self.conv2 = _conv3(planes, planes)
        self.bn2 = _batch_norm(planes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.bn1(F.max_pool2d(self.conv1(x), 2)))
        return F.gelu(self.bn2(self.conv2(x)))


def build_network(
    name: str, num_classes: int, *, images: Tensor, generator: torch.Generator
) -> nn.Module:
    """A freshly initialised network, on the CPU.

    Parameters
    ----------
    name : str
        A key of `sop_classify.recipes.NETWORKS`, or ``torchvision/`` and the name of a classifier
        of torchvision.
    num_classes : int
    images : Tensor, shape (n, 3, H, W)
        Some normalised training images; `fast` whitens by them, the others ignore them.
    generator : torch.Generator
        On the CPU.

    Raises
    ------
    ValueError
        If there is no such network, or it cannot take images of this size.
    """
    if name.startswith(TORCHVISION):
        return _of_torchvision(name.removeprefix(TORCHVISION), num_classes, images, generator)
    if name not in NETWORKS:
        raise ValueError(f"no network {name!r}; there are {', '.join(NETWORKS)}")
    height, width = images.shape[2:]
    if min(height, width) < 9:
        raise ValueError(
            f"the images are {height}x{width}; the networks need 9x9 at least: enlarge the images"
        )
    # Built without memory, then filled here: PyTorch's own initialisation uses the global RNG.
    with torch.device("meta"):
        network = pkgutil.resolve_name(NETWORKS[name])(num_classes).float()
    network.to_empty(device="cpu")
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            _kaiming_uniform(module.weight, generator)
            if module.bias is not None:
                bound = 1 / math.sqrt(module.weight[0].numel())
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)
    if isinstance(network, FastNet):
        network.initialise(images, generator=generator)
    return network


def _of_torchvision(
    name: str, num_classes: int, images: Tensor, generator: torch.Generator
) -> nn.Module:
    from torchvision import models  # seconds to import

    known = models.list_models(module=models)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3) or ["resnet18", "mobilenet_v3_small"]
        raise ValueError(f"torchvision has no classifier {name!r}; it has {', '.join(near)} ...")
    # Of these two only one answer is wanted, and their own initialisation, which they ask for.
    options = {"aux_logits": False, "init_weights": True}
    seed = int(torch.randint(2**31, (), generator=generator))
    # torchvision's initialisation draws from the global generator: it is put back afterwards.
    with seeded(seed, torch.device("cpu")):
        network = models.get_model(
            name,
            weights=None,
            num_classes=num_classes,
            **(options if name in ("googlenet", "inception_v3") else {}),
        ).float()
    try:
        with torch.no_grad():
            network.eval()(images[:1])
    except (RuntimeError, ValueError, AssertionError) as error:
        height, width = images.shape[2:]
        raise ValueError(
            f"torchvision's {name} cannot take images of {width}x{height} ({one_line(error)}); "
            "choose another size or network"
        ) from error
    return network.train()


def preact_resnet18(num_classes: int) -> PreActResNet:
    """The network of SOP+, ELR+ and DivideMix."""
    return PreActResNet((2, 2, 2, 2), num_classes)


def resnet34(num_classes: int) -> ResNet:
    """The network of SOP and ELR."""
    return ResNet((3, 4, 6, 3), num_classes)


def _conv3(channels: int, planes: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, planes, 3, stride, padding=1, bias=False)


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    # Momentum 0.4, as in airbench: in a few hundred steps the running statistics must adapt fast.
    norm = nn.BatchNorm2d(channels, eps=1e-12, momentum=0.4)
    norm.weight.requires_grad_(False)
    return norm


def _stages(block: Callable[[int, int, int], nn.Module], blocks: tuple[int, ...]) -> nn.Sequential:
    layers, channels = [], 64
    for stage, number in enumerate(blocks):
        for i in range(number):
            stride = 2 if i == 0 and stage > 0 else 1
            layers.append(block(channels, 64 << stage, stride))
            channels = 64 << stage
    return nn.Sequential(*layers)


def _kaiming_uniform(weight: Tensor, generator: torch.Generator) -> None:
    # a = √5 is PyTorch's default for convolutions and linear layers: bound 1/√fan_in.
    nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
