"""The control groups of Linux (Docker, Kubernetes, Slurm) limit this process."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["CGROUPS", "PROC", "control_groups"]

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


def control_groups(
    controller: str, *, proc: Path = PROC, cgroups: Path = CGROUPS
) -> Iterator[tuple[Path, int]]:
    """Find the folders of the groups that this process is in, and those that these are in.

    Parameters
    ----------
    controller : str
        Of version 1: "memory" or "cpu".
    proc, cgroups : Path
        Where Linux mounts its own files, for tests.

    Yields
    ------
    folder : Path
        It need not exist: in a container the groups outside of it are named, but cannot be seen.
    version : int
        1 or 2, which have different files.
    """
    try:
        groups = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for group in groups:  # such as 0::/user.slice (version 2) or 4:memory:/user.slice (version 1)
        controllers, _, path = group.partition(":")[2].partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        root = cgroups / controller if controllers else cgroups
        inner = PurePosixPath(path.lstrip("/"))
        # Each group is held to the limits of those that it is in.
        for place in (inner, *inner.parents):
            yield root / place, 1 if controllers else 2
