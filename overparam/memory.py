"""How much memory of the machine is free for this process, its containers' limits included."""

from pathlib import Path

from overparam.control_groups import CGROUPS, PROC, control_groups

__all__ = ["memory_free"]

# Limit, use, and the part of the use that the kernel gives back: files that were read long ago.
_NAMES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


def memory_free(*, proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Find how much memory this process may still take.

    The machine may have more than the control groups (Docker, Kubernetes, Slurm) allow.

    Parameters
    ----------
    proc, cgroups : Path
        Where Linux mounts its own files, for tests.

    Returns
    -------
    int or None
        Bytes; None if the system does not report it (macOS, Windows).
    """
    try:
        lines = (proc / "meminfo").read_text().splitlines()
        available = dict(line.split(":") for line in lines)["MemAvailable"]
        free = 1024 * int(available.split()[0])
    except (OSError, KeyError, ValueError):
        return None
    groups = control_groups("memory", proc=proc, cgroups=cgroups)
    left = (_left_in(group, *_NAMES[version]) for group, version in groups)
    return max(0, min([free, *(one for one in left if one is not None)]))


def _left_in(group: Path, limit: str, use: str, given_back: str) -> int | None:
    """Bytes, or None if there is no limit ("max") or no such group."""
    try:
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        used = int((group / use).read_text()) - int(statistics.get(given_back, 0))
        return int((group / limit).read_text()) - used
    except (OSError, ValueError):
        return None
