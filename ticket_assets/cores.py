"""The number of cores that this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path


def available_cores() -> int:
    """Cores of this process: its affinity, or a container's CPU limit if that is smaller."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.ceil(min(cores or 1, cgroup_cores())))


def cgroup_cores(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> float:
    """The smallest CPU limit, in cores, of this process's control group and those above it.

    Args:
        root: where control groups are mounted: version 2 itself, version 1 in a folder `cpu`.
        membership: the process's groups, a line `number:controllers:path` each; version 2 has
            number 0 and names no controllers.
    """
    try:
        lines = membership.read_text("utf-8").splitlines()
    except OSError:
        lines = ["0::/", "1:cpu:/"]
    limits = [math.inf]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            limits += map(_limit_v2, _with_parents(root, path))
        elif "cpu" in controllers.split(","):
            limits += map(_limit_v1, _with_parents(root / "cpu", path))
    return min(limits)


def _with_parents(mount: Path, path: str) -> Iterator[Path]:
    """The group's folder and all above it, up to the mount.

    A container may see its path as the host does while its own group is mounted as the root. The
    folders then do not exist and have no limit, but the mount itself has.
    """
    folder = mount / path.lstrip("/")
    yield from (folder, *folder.parents[: len(folder.relative_to(mount).parts)])


def _limit_v2(folder: Path) -> float:
    """`cpu.max`: microseconds of CPU, or `max`, per period."""
    try:
        quota, period = (folder / "cpu.max").read_text("ascii").split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return math.inf


def _limit_v1(folder: Path) -> float:
    """`cpu.cfs_quota_us`, -1 for none, per `cpu.cfs_period_us`."""
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text("ascii"))
        period = int((folder / "cpu.cfs_period_us").read_text("ascii"))
    except (OSError, ValueError):
        return math.inf
    return quota / period if quota > 0 else math.inf
