from __future__ import annotations

from math import inf
from pathlib import Path

import pytest

from ticket_assets.cores import available_cores, cgroup_cores


def write(files: dict[str, str], root: Path) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2.0),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 0.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, inf),
        ("0::/\n", {"cpu.max": ""}, inf),
        ("0::/\n", {}, inf),
        # A pod whose limit stands above the group of its container, or the other way round.
        ("0::/pod/main\n", {"pod/cpu.max": "300000 100000", "pod/main/cpu.max": "max 100000"}, 3.0),
        ("0::/pod/main\n", {"pod/cpu.max": "max 1000", "pod/main/cpu.max": "1500 1000"}, 1.5),
        # The path is the host's, the mount is the container's own group.
        ("0::/kubepods/pod7/main\n", {"cpu.max": "100000 100000"}, 1.0),
        # Version 1.
        (
            "9:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n",
            {
                "cpu/docker/a/cpu.cfs_quota_us": "250000\n",
                "cpu/docker/a/cpu.cfs_period_us": "100000\n",
                "cpu/cpu.cfs_quota_us": "-1\n",
                "cpu/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        ("9:memory:/\n", {"cpu/cpu.cfs_quota_us": "1", "cpu/cpu.cfs_period_us": "1"}, inf),
    ],
)
def test_a_containers_cpu_limit_is_read(
    tmp_path: Path, groups: str, files: dict[str, str], cores: float
) -> None:
    root = write({**files, "membership": groups}, tmp_path)

    assert cgroup_cores(root, root / "membership") == cores


def test_a_limit_is_found_where_the_groups_of_the_process_are_not_listed(tmp_path: Path) -> None:
    root = write({"cpu.max": "400000 100000"}, tmp_path)

    assert cgroup_cores(root, tmp_path / "none") == 4.0


def test_at_least_one_core_is_available() -> None:
    assert available_cores() >= 1
