"""Which device to compute on, and in which precision."""

import torch

__all__ = ["fastest_precision", "pick_device"]


def fastest_precision(device: torch.device) -> torch.dtype:
    """bfloat16 where the processor multiplies it faster than float32, else float32."""
    native = False
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        # There is no public name for these yet; without them float32 is right, if slower.
        names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        native = any(getattr(torch.cpu, name, bool)() for name in names)
    return torch.bfloat16 if native else torch.float32


def pick_device(name: str) -> torch.device:
    """The device called `name`, or the best one for "auto"; ValueError if it is not there."""
    mps = torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device is {name!r}; auto, cpu, cuda, cuda:N or mps is needed") from None
    if device.type == "cuda":
        found = torch.cuda.device_count()
        if (device.index or 0) >= found:
            raise ValueError(
                f"device {name!r} is not there ({found} CUDA devices); use cpu or auto"
            )
    elif device.type == "mps" and not mps:
        raise ValueError("device 'mps' is not there; use cpu or auto")
    elif device.type not in ("cpu", "mps"):
        raise ValueError(f"device is {name!r}; auto, cpu, cuda, cuda:N or mps is needed")
    return device
