"""Torch modes of the caller, which must not change what the library computes."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import torch

__all__ = ["own_modes"]


@contextmanager
def own_modes(device: torch.device) -> Generator[None, None, None]:
    """Compute with gradients, without autocast and with "cpu" as the default device.

    The caller may be inside `torch.no_grad`, `torch.inference_mode`, `torch.autocast` or
    `with torch.device(...)`. All of these are thread-local and are restored at the end. The default
    dtype is global to the process and does not change: code inside gives the dtype of every tensor
    that it creates.

    Parameters
    ----------
    device : torch.device
        Where the computation runs; autocast is switched off there and on the CPU.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in {"cpu", device.type}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":  # this mode makes every operation slower
            stack.enter_context(torch.device("cpu"))
        yield
