"""Promise: cores that others use, or that a container may not use, are not called free."""

import os

import pytest

from overparam.cores import CoreWatch, free_cores
from tests.helpers.command_line import python


class Machine:
    """Files as Linux writes them, of four cores, and clocks that move when they are told to."""

    def __init__(self, folder):
        self.proc, self.cgroups = folder / "proc", folder / "cgroup"
        (self.proc / "self").mkdir(parents=True)
        self.cgroups.mkdir()
        self.now = self.own = 0.0
        self.busy = dict.fromkeys((0, 1, 2, 10), 0)
        self.write()

    def write(self):
        rows = ["cpu  1 2 3 4 5 6 7 8 9 10"]  # of all together
        for core, busy in self.busy.items():
            idle = round(100 * self.now) - busy
            # user nice system idle iowait irq softirq steal guest guest_nice
            rows.append(f"cpu{core} {busy} 0 0 {idle - idle // 5} {idle // 5} 0 0 0 {busy} 0")
        (self.proc / "stat").write_text("\n".join([*rows, "intr 1 2 3", "procs_running 9", ""]))

    def watch(self, allowed=(0, 1, 2, 10)):
        return CoreWatch(
            allowed=allowed, clock=lambda: self.now, own_time=lambda: self.own,
            proc=self.proc, cgroups=self.cgroups,
        )  # fmt: skip

    def passes(self, seconds, busy, own=0.0):
        self.now += seconds
        self.own += own
        for core, share in busy.items():
            self.busy[core] += round(100 * seconds * share)
        self.write()


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("busy", "own", "free"),
    [
        ({}, 0.0, 4),
        ({1: 1.0}, 0.0, 3),
        ({1: 1.0}, 0.5, 4),  # it was this process
        ({0: 1.0, 1: 1.0, 2: 0.9, 10: 1.0}, 0.0, 1),
        ({0: 0.3, 1: 0.3}, 0.0, 3),
        ({0: 0.2, 1: 0.2}, 0.0, 4),
    ],
)
def test_what_others_use_is_not_free(machine, busy, own, free):
    watch = machine.watch()
    machine.passes(0.5, busy, own=own)
    assert watch.free() == free


def test_cores_that_the_process_may_not_use_do_not_count(machine):
    watch = machine.watch(allowed=[1, 10])
    machine.passes(0.5, {0: 1.0, 10: 1.0})
    assert watch.free() == 1
    assert machine.watch(allowed=[0]).free() == 1


@pytest.mark.parametrize(
    ("line", "place", "files"),
    [
        (
            "0::/a/b",
            "a",
            {"cpu.max": "250000 100000\n", "cpu.stat": "usage_usec {us}\nuser_usec 3\n"},
        ),
        (
            "2:cpu,cpuacct:/a/b\n1:memory:/x",
            "cpu/a",
            {
                "cpu.cfs_quota_us": "250000\n",
                "cpu.cfs_period_us": "100000\n",
                "cpuacct.usage": "{us}000\n",
            },
        ),
    ],
)
def test_a_quota_counts_without_what_others_of_the_group_use(machine, line, place, files):
    (machine.proc / "self" / "cgroup").write_text(f"{line}\n")
    group = machine.cgroups / place
    group.mkdir(parents=True)

    def use(microseconds):
        for name, text in files.items():
            (group / name).write_text(text.format(us=microseconds))

    def free_after(used, own=0.0):
        use(7)
        watch = machine.watch()
        machine.passes(1.0, {}, own=own)
        use(7 + used)
        return watch.free()

    assert free_after(0) == 3  # two and a half
    assert free_after(0, own=1.0) == 3  # what the group has not counted yet
    assert free_after(1_200_000) == 1
    assert free_after(1_200_000, own=1.0) == 2  # most of it was this process
    assert free_after(9_000_000) == 1
    (group / next(iter(files))).write_text("max 100000\n" if "cpu.max" in files else "-1\n")
    assert machine.watch().free() == 4


def test_where_the_system_does_not_tell_all_are_free(tmp_path):
    nothing = {"proc": tmp_path / "proc", "cgroups": tmp_path / "cgroup"}
    assert CoreWatch(allowed=range(3), **nothing).free() == 3
    assert CoreWatch(allowed=[], **nothing).free() == 1
    assert 1 <= free_cores() <= (os.cpu_count() or 1)


def test_only_the_program_chooses_the_threads_and_a_user_before_it():
    script = (
        "import os, sys\n"
        "from overparam import program\n"
        "program.share_cores()\n"
        "assert 'OMP_NUM_THREADS' not in os.environ or len(sys.argv) > 1\n"
        "program.run(program.share_cores)\n"
        "print(os.environ['OMP_NUM_THREADS'])\n"
    )
    without = {key: text for key, text in os.environ.items() if key != "OMP_NUM_THREADS"}
    chosen = python("-c", script, env=without)
    assert 1 <= int(chosen.stdout) <= (os.cpu_count() or 1), chosen.stderr
    told = python("-c", script, "told", env={**without, "OMP_NUM_THREADS": "7"})
    assert told.stdout == "7\n", told.stderr
