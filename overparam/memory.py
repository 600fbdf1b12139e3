"""How much memory of the machine is free for this process, its containers' limits included."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["memory_free"]

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")
# Limit, use, and the part of the use that the kernel gives back: files that were read long ago.
_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_VERSION_2 = ("memory.max", "memory.current", "inactive_file")


def memory_free(*, proc: Path = _PROC, cgroups: Path = _CGROUPS) -> int | None:
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
    return max(0, min([free, *_left_in_groups(proc, cgroups)]))


def _left_in_groups(proc: Path, cgroups: Path) -> Iterator[int]:
    try:
        groups = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for group in groups:  # such as 0::/user.slice (version 2) or 4:memory:/user.slice (version 1)
        controllers, _, path = group.partition(":")[2].partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        root, names = (cgroups / "memory", _VERSION_1) if controllers else (cgroups, _VERSION_2)
        # Each group is held to the limits of those that it is in. In a container the groups outside
        # of it are named, but cannot be seen.
        inner = PurePosixPath(path.lstrip("/"))
        for place in (inner, *inner.parents):
            left = _left_in(root / place, *names)
            if left is not None:
                yield left


def _left_in(group: Path, limit: str, use: str, given_back: str) -> int | None:
    """Bytes, or None if there is no limit ("max") or no such group."""
    try:
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        used = int((group / use).read_text()) - int(statistics.get(given_back, 0))
        return int((group / limit).read_text()) - used
    except (OSError, ValueError):
        return None
