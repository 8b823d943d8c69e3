"""What the machine offers an encoder: fast number formats, and the cores a container really has."""

from __future__ import annotations

import functools
import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ticket_assets.embedding.errors import EncoderError

if TYPE_CHECKING:
    import torch

Precision = Literal["int8", "bf16", "fp32"]
RequestedPrecision = Literal["auto", "int8", "bf16", "fp32"]


def choose_precision(requested: RequestedPrecision, *, int8: bool = False) -> Precision:
    """`requested`, or for `auto` the fastest format that the GPU or CPU computes natively.

    On a CPU without it, bf16 is emulated and slower than fp32. int8 takes three quarters of the
    time of AVX512's bf16; where AMX multiplies in bf16, the products hardly count any more.

    Args:
        int8: whether the encoder is known to keep its vectors in int8, so that `auto` may take it.

    Raises:
        EncoderError: int8 was requested, and this machine does not have it.
    """
    import torch

    on_gpu = torch.cuda.is_available()
    has_int8 = not on_gpu and native_int8()
    if requested == "int8" and not has_int8:
        raise EncoderError(
            "TICKETS_ENCODER_PRECISION=int8 needs a CPU with AVX512-VNNI, and no GPU in its place."
            " Leave it at auto."
        )
    if requested != "auto":
        return requested
    if int8 and has_int8 and not torch.cpu.get_capabilities().get("amx_bf16", False):
        return "int8"
    native = torch.cuda.is_bf16_supported() if on_gpu else native_bf16()
    return "bf16" if native else "fp32"


def floats(precision: Precision) -> torch.dtype:
    """The type of an encoder's floating-point numbers; int8 needs some beside its integers."""
    import torch

    half = precision == "bf16" or (precision == "int8" and native_bf16())
    return torch.bfloat16 if half else torch.float32


@functools.cache
def native_int8() -> bool:
    """Whether this CPU multiplies bytes into 32-bit sums: AVX512-VNNI.

    AVX2 has only such products whose sums overflow, and AVX-VNNI was not tried.
    """
    import torch

    return bool(torch.cpu.get_capabilities().get("avx512_vnni", False))


@functools.cache
def native_bf16() -> bool:
    """Whether this CPU multiplies bf16 matrices itself: AMX, AVX512-BF16, or Arm's BF16.

    Source: the instruction sets that `torch.cpu.get_capabilities` (cpuinfo) reports and for
    which oneDNN, PyTorch's CPU backend, has bf16 matrix kernels.
    """
    import torch

    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def cpu_features() -> str:
    """The instruction sets of this CPU, by which PyTorch and oneDNN choose what they run."""
    import torch

    capabilities = torch.cpu.get_capabilities()
    # Beside the instruction sets it tells the caches and cores, which decide nothing.
    present = sorted(name for name, value in capabilities.items() if value is True)
    return " ".join([platform.machine(), torch.backends.cpu.get_cpu_capability(), *present])


def available_cores() -> int:
    """Cores this process may use: its affinity, less what a container's CPU limit takes away."""
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

    A container may see its path as the host does while its own group is mounted as the root:
    folders that are not there have no limit, and the mount itself is always looked at.
    """
    folder = Path(path.lstrip("/"))
    for part in (folder, *folder.parents):
        yield mount / part


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
