"""A trained network in one file, with all that a prediction needs: for `predict` and `export`."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from overparam.checks import check_count
from overparam.devices import pick_device
from overparam.files import FileError, file_errors, one_line
from overparam.modes import own_modes
from sop_classify.data.image_data import ImageData
from sop_classify.data.label_arrays import not_masked
from sop_classify.records.checkpoint import checkpoint_bytes, read_checkpoint
from sop_classify.training.loop import TrainingLoop
from sop_classify.training.networks import build_network
from sop_classify.training.views import as_tensor, normalise

__all__ = ["MODEL", "Model", "model_bytes", "read_model"]

StrPath = str | os.PathLike[str]

MODEL = "model.safetensors"


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network and what it was trained for.

    Attributes
    ----------
    network : Module
        In evaluation mode, float32, on the CPU.
    name : str
        Of the network, as in `sop_classify.training.networks.build_network`.
    class_names : tuple of str
    image_size : tuple of int
        Height and width in pixels.
    mean, std : tuple of float
        Of each channel, of values in [0, 1].
    epoch : int
        After which the weights were taken, from 1.
    sample_bits : int or None
        Bits in use of the files of 16 bits that it was trained on; None if there were none.
    """

    network: nn.Module
    name: str
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    epoch: int
    sample_bits: int | None = None

    def predict(self, images: NDArray[np.uint8], *, device: str = "cpu") -> NDArray[np.float32]:
        """Class probabilities, computed in float32.

        Parameters
        ----------
        images : ndarray, shape (n, H, W, 3), uint8
            Of `image_size`.
        device : str
            As in `overparam.devices.pick_device`.

        Returns
        -------
        ndarray, shape (n, C), float32

        Raises
        ------
        TypeError
            If the images are no array of uint8, or masked.
        ValueError
            If the images have another size.
        """
        height, width = self.image_size
        images = not_masked("images", images)
        if images.dtype != np.uint8:
            raise TypeError(f"images are {images.dtype}; uint8, 0 to 255, is needed")
        if images.shape[1:] != (height, width, 3):
            raise ValueError(
                f"images have shape {images.shape}; (n, {height}, {width}, 3) is needed"
            )
        place = pick_device(device)
        together = max(1, min(256, 256 * 32 * 32 // (height * width)))
        found = [np.empty((0, len(self.class_names)), np.float32)]
        with own_modes(place), torch.no_grad():
            network = self.network.to(place)
            mean, std = (torch.tensor(v, device=place) for v in (self.mean, self.std))
            for start in range(0, len(images), together):
                part = as_tensor(np.array(images[start : start + together])).to(place)
                x = normalise(part, mean, std, dtype=torch.float32)
                found.append(network(x).float().softmax(1).cpu().numpy())
            self.network.cpu()
        return np.concatenate(found)


def model_bytes(training: TrainingLoop, data: ImageData, *, epoch: int | None = None) -> bytes:
    """The file for the first network of a training, as it is now.

    Parameters
    ----------
    training : TrainingLoop
    data : ImageData
        What it trains on.
    epoch : int, optional
        After which epoch; by default the training's.
    """
    height, width = training.images.shape[1:3]
    says = {
        "network": training.recipe.network,
        "class_names": list(data.class_names),
        "image_size": [height, width],
        "mean": training.mean.tolist(),
        "std": training.std.tolist(),
        "epoch": training.epoch if epoch is None else epoch,
        "sample_bits": data.sample_bits,
    }
    return checkpoint_bytes(training.network.state_dict(), {"model": says})


def read_model(folder: StrPath) -> Model:
    """The model of a run.

    Parameters
    ----------
    folder : str or PathLike

    Raises
    ------
    FileError
        If there is none, or it is damaged.
    """
    folder = Path(os.fspath(folder))
    path = folder / MODEL
    with file_errors("read", folder):
        if folder.is_file():
            raise FileError("it is a file; give the folder of a run")
    with file_errors("read", path):
        if folder.is_dir() and not path.exists():
            raise FileError(
                "the folder has no model yet; give that of a run, which has one when the training "
                "is complete (of find-label-errors it is DIR/training)"
            )
    stamp, state = read_checkpoint(path)  # its errors name the file
    with file_errors("read", path):
        says = stamp.get("model")
        if not isinstance(says, dict):
            raise FileError(f"it is not the model of a run (it says {json.dumps(stamp)[:60]})")
        if not all(bool(torch.isfinite(each).all()) for each in state.values()):
            raise FileError("its weights are not finite: the training diverged; train again")
        try:
            with own_modes(torch.device("cpu")):
                network = _network(says, state)
            return Model(
                network=network,
                name=says["network"],
                class_names=tuple(says["class_names"]),
                image_size=(int(says["image_size"][0]), int(says["image_size"][1])),
                mean=tuple(map(float, says["mean"])),
                std=tuple(map(float, says["std"])),
                epoch=int(says["epoch"]),
                sample_bits=_bits(says.get("sample_bits")),
            )
        except Exception as error:  # tensors that do not fit make torch raise nearly anything
            raise FileError(f"it does not fit its network ({one_line(error)})") from error


def _bits(said: Any) -> int | None:
    if said is None:  # no such files, or an earlier version
        return None
    return check_count("sample_bits", said, least=8, most=16)


def _network(says: dict[str, Any], state: dict[str, Tensor]) -> nn.Module:
    sample = torch.zeros(1, 3, *map(int, says["image_size"]))
    network = build_network(
        says["network"],
        len(says["class_names"]),
        images=sample,
        generator=torch.Generator("cpu").manual_seed(0),
    )
    network.load_state_dict(state)
    # The layout of the training, in which convolutions are faster.
    return network.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
