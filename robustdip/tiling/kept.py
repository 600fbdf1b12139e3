"""Results of finished tiles in a folder, so that a picture that was killed goes on where it was."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

import robustdip
from overparam.files import FileError, is_part, replace_file
from robustdip.inputs import Given
from robustdip.recipes import Recipe

__all__ = ["KeptTiles", "TileResult", "digest", "discard"]

_SUFFIX = ".safetensors"


@dataclass(frozen=True, eq=False)
class TileResult:
    """What the fit of a tile gives: arrays of its window.

    Attributes
    ----------
    image, corruption : ndarray, float32, shape (h, w, C)
    mask : ndarray of bool, shape (h, w, C)
    steps : int
        Gradient steps taken.
    loss : float
        The last one.
    uncertainty : ndarray, float32, shape (h, w, C), or None
    """

    image: NDArray[np.float32]
    corruption: NDArray[np.float32]
    mask: NDArray[np.bool_]
    steps: int
    loss: float
    uncertainty: NDArray[np.float32] | None = None


class KeptTiles:
    """A folder of results, one file each.

    Parameters
    ----------
    folder : Path or None
        It is made when there is something to keep; if it cannot be, nothing is kept. None keeps
        nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def get(self, key: str, shape: tuple[int, ...]) -> TileResult | None:
        """Read the result of that digest and shape; None if there is none that is whole."""
        if self._folder is None:
            return None
        try:
            found = load((self._folder / (key + _SUFFIX)).read_bytes())
        except (OSError, SafetensorError):
            return None
        try:
            steps, loss = found.pop("steps").item(), found.pop("loss").item()
            whole = all(array.shape == shape for array in found.values())
            return TileResult(**found, steps=steps, loss=loss) if whole else None
        except (KeyError, TypeError):  # another version's
            return None

    def put(self, key: str, result: TileResult) -> None:
        """Keep a result, at most 13 bytes a sample, if the folder can be written."""
        if self._folder is None:
            return
        arrays: dict[str, NDArray[Any]] = {
            "image": result.image,
            "corruption": result.corruption,
            "mask": result.mask,
            "steps": np.array(result.steps),
            "loss": np.array(result.loss),
        }
        if result.uncertainty is not None:
            arrays["uncertainty"] = result.uncertainty
        whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        try:
            self._folder.mkdir(exist_ok=True)
            replace_file(self._folder / (key + _SUFFIX), save(whole))
        except (OSError, FileError):
            self._folder = None


def discard(folder: Path) -> None:
    """Remove the results in a folder, whole or cut short, and the folder if it is empty then."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.suffix == _SUFFIX or is_part(path.name):
                path.unlink()
        folder.rmdir()


def digest(
    part: Given,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    seen: dict[str, NDArray[Any]],
) -> str:
    """Hash everything that decides the result of a tile: what it is fitted to, and how.

    What was seen of the tile in the whole picture are arrays by name.
    """
    settings = (robustdip.__version__, torch.__version__, recipe, seed, str(device))
    made = hashlib.sha256(repr((*settings, part.values.shape, sorted(seen))).encode())
    whole = [seen[name] for name in sorted(seen)]
    for array in (part.values, part.mask, part.add_mask, part.protect, *whole):
        made.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
    return made.hexdigest()
