"""Exceptions that both products raise."""

__all__ = ["DivergedError", "NotEnoughMemoryError"]


class DivergedError(ArithmeticError):
    """The loss is no longer finite; the message names the step or epoch and the settings."""


class NotEnoughMemoryError(MemoryError):
    """The computation does not fit into the device's memory; the message says what to do."""
