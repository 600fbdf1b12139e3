"""How many cores are free for this process, its containers' limits included."""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from overparam.control_groups import CGROUPS, PROC, control_groups

__all__ = ["CoreWatch", "free_cores"]

# Seconds over which the idle time of the cores is measured. The kernel counts it in hundredths.
_WATCHED = 0.25


class CoreWatch:
    """Watches the cores from now on.

    Parameters
    ----------
    allowed : iterable of int, optional
        The numbers of the cores that this process may use; by default the system is asked.
    clock, own_time : callable
        Seconds since any moment: on the wall, and those that this process has computed.
    proc, cgroups : Path
        Where Linux mounts its own files, for tests.
    """

    def __init__(
        self,
        *,
        allowed: Iterable[int] | None = None,
        clock: Callable[[], float] = time.monotonic,
        own_time: Callable[[], float] = time.process_time,
        proc: Path = PROC,
        cgroups: Path = CGROUPS,
    ) -> None:
        self._allowed = frozenset(_allowed() if allowed is None else allowed)
        self._clock, self._own_time = clock, own_time
        self._proc, self._cgroups = proc, cgroups
        self._begin, self._own = clock(), own_time()
        self._idle, self._used = self._idle_times(), self._use_of_groups()

    def free(self) -> int:
        """Count the cores that nothing but this process has used since then; at least 1.

        Where the system does not tell (macOS, Windows), all that it may use count as free.
        """
        elapsed = max(1e-9, self._clock() - self._begin)
        own = (self._own_time() - self._own) / elapsed
        free = float(len(self._allowed))
        idle = self._idle_times()
        if idle and idle.keys() == self._idle.keys():
            shares = (
                (idle[core][0] - before) / (idle[core][1] - total) if idle[core][1] > total else 1
                for core, (before, total) in self._idle.items()
            )
            free = min(free, sum(shares) + own)
        for group, (quota, used) in self._use_of_groups().items():
            begun = self._used.get(group, (quota, used))[1]
            others = max(0.0, (used - begun) / elapsed - own)
            free = min(free, quota - others)
        return max(1, int(free + 0.5))

    def _idle_times(self) -> dict[int, tuple[int, int]]:
        """Idle and total time of each core since the start; empty where it is not known."""
        try:
            lines = (self._proc / "stat").read_text().splitlines()
        except OSError:
            return {}
        found: dict[int, tuple[int, int]] = {}
        for line in lines:
            name, *times = line.split() or [""]
            number = name.removeprefix("cpu")
            if name != number and number.isdecimal() and int(number) in self._allowed:
                values = [int(value) for value in times[:8]]  # those of guests are in user's too
                found[int(number)] = values[3] + values[4], sum(values)  # idle, and for a disk
        return found

    def _use_of_groups(self) -> dict[Path, tuple[float, float]]:
        """Of each control group with a quota: its cores, and the seconds that were computed."""
        found: dict[Path, tuple[float, float]] = {}
        for group, version in control_groups("cpu", proc=self._proc, cgroups=self._cgroups):
            try:
                if version == 1:
                    quota = (group / "cpu.cfs_quota_us").read_text()
                    period = (group / "cpu.cfs_period_us").read_text()
                else:
                    quota, period = (group / "cpu.max").read_text().split()
                cores = int(quota) / int(period)
            except (OSError, ValueError):  # "max", or no such group
                continue
            if cores > 0:  # -1: no quota
                found[group] = cores, _seconds_used(group, version)
        return found


def free_cores() -> int:
    """Count the cores that nothing uses now; see `CoreWatch.free`. Takes a quarter of a second."""
    watch = CoreWatch()
    time.sleep(_WATCHED)
    return watch.free()


def _allowed() -> Iterable[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return range(os.cpu_count() or 1)


def _seconds_used(group: Path, version: int) -> float:
    """Zero where it is not known, so that the whole quota counts as free."""
    try:
        if version == 1:
            return int((group / "cpuacct.usage").read_text()) / 1e9
        lines = (group / "cpu.stat").read_text().splitlines()
        return int(dict(line.split() for line in lines)["usage_usec"]) / 1e6
    except (OSError, ValueError, KeyError):
        return 0.0
