"""How many pictures at a time? The cores that are free, the memory, and the GPUs decide."""

__all__ = ["PROCESS_BYTES", "worker_count"]

# Bytes that a process takes for the interpreter and torch, besides what a picture needs.
PROCESS_BYTES = 500_000_000


def worker_count(
    *, pictures: int, cores: int, memory_each: int, memory_free: int | None
) -> tuple[int, bool]:
    """Decide how many processes restore pictures at the same time.

    Parameters
    ----------
    pictures : int
        That are to be restored.
    cores : int
        How many processes there may be at most.
    memory_each : int
        Bytes that the neediest picture needs.
    memory_free : int or None
        Bytes; None if it is not known.

    Returns
    -------
    workers : int
        At least 1: whether a single picture fits is for its own computation to say.
    limited : bool
        Whether memory allows fewer than there could be.
    """
    wanted = max(1, min(pictures, cores))
    if memory_free is None:
        return wanted, False
    fitting = max(1, memory_free // (memory_each + PROCESS_BYTES))
    return min(wanted, fitting), fitting < wanted
