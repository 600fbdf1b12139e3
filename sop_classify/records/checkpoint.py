"""One file with everything of a training that changes: tensors, and which run they belong to.

A single file, so that weights, u and v, optimizers and random numbers always belong together.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from overparam.files import FileError, file_errors, one_line, require_regular_file

__all__ = ["CHECKPOINT", "checkpoint_bytes", "read_checkpoint"]

CHECKPOINT = "checkpoint.safetensors"


def checkpoint_bytes(state: Mapping[str, Tensor], stamp: Mapping[str, Any]) -> bytes:
    """The file for a state and for what JSON can hold about its origin.

    It is made in memory, 170 MB for ResNet34 and its momentum, so that one atomic write stores it.
    """
    # safetensors knows neither devices nor strides nor shared memory: plain copies of all.
    tensors = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in state.items()
    }
    stamp = {**stamp, "sha256": _digest(tensors)}
    return safetensors.torch.save(tensors, metadata={"run": json.dumps(stamp)})


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Stamp and state of a file that `checkpoint_bytes` made; FileError if it is not intact."""
    with file_errors("read", path):
        require_regular_file(path.stat().st_mode)
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                stamp = json.loads((file.metadata() or {}).get("run", "{}"))
                # Copies, because the file itself is soon replaced.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
            intact = stamp.pop("sha256", None) == _digest(tensors)
        except OSError:
            raise
        except Exception as error:  # malformed bytes make the readers raise nearly anything
            raise FileError(f"not a checkpoint, or damaged ({one_line(error)})") from error
        if not intact:
            raise FileError("it is damaged: its tensors are not those that were saved")
    for name, tensor in tensors.items():
        if tensor.ndim == 4:
            # Strides are not saved. A training holds kernels, and so their momentum, like this.
            tensors[name] = tensor.contiguous(memory_format=torch.channels_last)
    return stamp, tensors


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Of names, types, shapes and values; safetensors itself would not notice a flipped bit."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
