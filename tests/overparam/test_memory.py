"""Promise: memory that a container may not take is not called free."""

import pytest

from overparam.memory import memory_free

MIB = 2**20


@pytest.fixture
def proc(tmp_path):
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 1048576 kB\n")
    return tmp_path / "proc"


def group(folder, names, limit, used, given_back, *, field):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{field} {given_back}\n")


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")
V2 = ("memory.max", "memory.current")


def free(proc, tmp_path):
    return memory_free(proc=proc, cgroups=tmp_path / "cgroup")


def test_without_groups_it_is_what_the_machine_has(proc, tmp_path):
    assert free(proc, tmp_path) == 1024 * MIB
    (proc / "self" / "cgroup").write_text("nonsense\n\n0\n")
    assert free(proc, tmp_path) == 1024 * MIB


@pytest.mark.parametrize(
    ("line", "root", "names", "field"),
    [
        ("0::/a/b", "cgroup", V2, "inactive_file"),
        ("5:cpu:/x\n4:hugetlb,memory:/a/b", "cgroup/memory", V1, "total_inactive_file"),
    ],
)
def test_the_strictest_group_counts_without_what_the_kernel_gives_back(
    proc, tmp_path, line, root, names, field
):
    (proc / "self" / "cgroup").write_text(f"{line}\n")
    group(tmp_path / root / "a" / "b", names, "max", 10 * MIB, 0, field=field)
    group(tmp_path / root / "a", names, 100 * MIB, 60 * MIB, 20 * MIB, field=field)
    assert free(proc, tmp_path) == 60 * MIB
    group(tmp_path / root, names, 30 * MIB, 40 * MIB, 0, field=field)  # already beyond it
    assert free(proc, tmp_path) == 0


def test_in_a_container_the_outer_group_cannot_be_seen(proc, tmp_path):
    (proc / "self" / "cgroup").write_text("4:memory:/docker/0123\n")
    group(tmp_path / "cgroup" / "memory", V1, 90 * MIB, 0, 0, field="total_inactive_file")
    assert free(proc, tmp_path) == 90 * MIB


def test_a_system_that_does_not_tell(tmp_path):
    assert free(tmp_path / "none", tmp_path) is None
