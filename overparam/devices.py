"""Which device to compute on, and in which precision."""

import re
from contextlib import AbstractContextManager, nullcontext

import torch

__all__ = ["autocast", "fastest_precision", "pick_device"]

_NAMES = "auto, cpu, cuda, cuda:N or mps"


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Make a context in which networks compute in a precision.

    The cache of converted weights is off: it lives as long as the outermost context, which may be
    the caller's, and would hold the weights of an earlier step.

    Parameters
    ----------
    device : torch.device
    dtype : torch.dtype
        float32 leaves everything as it is.

    Returns
    -------
    context manager
    """
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype, cache_enabled=False)


def fastest_precision(device: torch.device) -> torch.dtype:
    """The faster precision for matrix products and convolutions.

    Parameters
    ----------
    device : torch.device

    Returns
    -------
    torch.dtype
        bfloat16 if the processor supports it in hardware, else float32.
    """
    native = False
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        # torch has no public names for these yet. Where they are missing, float32 is used.
        names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        native = any(getattr(torch.cpu, name, bool)() for name in names)
    return torch.bfloat16 if native else torch.float32


def pick_device(name: str) -> torch.device:
    """Return the device of a name.

    Parameters
    ----------
    name : str
        "auto" takes CUDA if it is there, then MPS, then the CPU; or "cpu", "cuda", "cuda:N", "mps".

    Returns
    -------
    torch.device

    Raises
    ------
    TypeError
        If `name` is no string.
    ValueError
        If there is no such name, or the device is not there.
    """
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"device is {name!r}; {_NAMES} is needed, as a string")
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,4})?|mps", name):
        raise ValueError(f"device is {name!r}; {_NAMES} is needed")
    found, mps = torch.cuda.device_count(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= found:
        raise ValueError(f"device {name!r} is not there ({found} CUDA devices); use cpu or auto")
    if device.type == "mps" and not mps:
        raise ValueError("device 'mps' is not there; use cpu or auto")
    return device
