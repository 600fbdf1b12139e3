"""How many pictures at a time? The cores that are free, the memory, and the GPUs decide."""

import os
import time
from pathlib import Path

__all__ = ["PROCESS_BYTES", "free_cores", "worker_count"]

# Seconds over which the idle time of the cores is measured. The kernel counts it in hundredths.
_WATCHED = 0.25
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
        Bytes that the largest picture needs.
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


def free_cores() -> int:
    """Count the cores that this process may use and that nothing else uses now; at least 1.

    It watches them for a quarter of a second; where the system does not tell (macOS, Windows), all
    count as free.
    """
    allowed = (
        os.sched_getaffinity(0)
        if hasattr(os, "sched_getaffinity")
        else set(range(os.cpu_count() or 1))
    )
    before = _times(allowed)
    time.sleep(_WATCHED if before else 0)
    after = _times(allowed)
    free = float(len(allowed))
    if before and len(before) == len(after):
        free = 0
        for (idle, total), (idle_after, total_after) in zip(before, after, strict=True):
            free += (idle_after - idle) / max(1, total_after - total)
    return max(1, min(round(free), _quota()))


def _times(cores: set[int]) -> list[tuple[int, int]]:
    """Idle and total time of each core since the start; empty where it is not known."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return []
    found: list[tuple[int, int]] = []
    for line in lines:
        name, *times = line.split()
        if name[:3] == "cpu" and name[3:].isdigit() and int(name[3:]) in cores:
            values = [int(value) for value in times[:8]]  # those of guests are in user's as well
            found.append((values[3] + values[4], sum(values)))  # idle, and waiting for a disk
    return found


def _quota() -> int:
    """Cores that a container may use, rounded up."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, -(-int(quota) // int(period)))
    except (OSError, ValueError):  # "max", or no such file
        return 2**31
