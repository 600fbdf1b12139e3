"""Exceptions that both products raise."""

__all__ = ["DivergedError", "NotEnoughMemoryError", "is_out_of_memory"]


class DivergedError(ArithmeticError):
    """The loss is no longer finite; the message names the step or epoch and the settings."""


class NotEnoughMemoryError(MemoryError):
    """The computation does not fit into the device's memory; the message says what to do."""


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether PyTorch says that a device has no memory left.

    CUDA raises `torch.OutOfMemoryError`, a RuntimeError; the CPU and MPS say it in words alone.
    """
    return any(words in str(error) for words in ("out of memory", "allocate memory"))
