"""What of torch is the caller's: modes and the state of random generators, left as they were."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import torch

__all__ = ["own_modes", "seeded"]


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


@contextmanager
def seeded(seed: int, device: torch.device) -> Generator[None, None, None]:
    """Seed the global generators of the CPU and of a device, and put them back at the end.

    Layers such as dropout, and the initialisation of torch's modules, draw from nothing else.
    `torch.manual_seed` would seed those of all other devices as well.

    Parameters
    ----------
    seed : int
        At least 0 and below 2^63.
    device : torch.device
        Where the computation runs.
    """
    before = torch.get_rng_state()
    there = before
    if device.type == "cuda":
        there = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        there = torch.mps.get_rng_state()
    try:
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            torch.mps.manual_seed(seed)
        yield
    finally:
        torch.set_rng_state(before)
        if device.type == "cuda":
            torch.cuda.set_rng_state(there, device)
        elif device.type == "mps":
            torch.mps.set_rng_state(there)
