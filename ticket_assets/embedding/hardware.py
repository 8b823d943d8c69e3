"""The number formats that this machine computes natively, and the fastest for an encoder."""

from __future__ import annotations

import functools
import platform
from typing import TYPE_CHECKING, Literal

from ticket_assets.embedding.errors import EncoderError

if TYPE_CHECKING:
    import torch

Precision = Literal["int8", "bf16", "fp32"]
RequestedPrecision = Literal["auto", "int8", "bf16", "fp32"]


def choose_precision(
    requested: RequestedPrecision, *, int8: bool = False, recorded: Precision | None = None
) -> Precision:
    """`requested`, or for `auto` the fastest format that the GPU or CPU computes natively.

    A CPU without bf16 emulates it, slower than fp32. int8 takes three quarters of the time of
    AVX512's bf16; with AMX, bf16 products hardly take any time.

    Args:
        int8: whether `auto` may take int8, because the encoder keeps its vectors in it.
        recorded: the format of the stored vectors, which `auto` keeps to.

    Raises:
        EncoderError: int8 was requested or recorded, and this machine does not compute it.
    """
    if requested == "auto" and recorded is not None:
        requested = recorded
    if requested in ("bf16", "fp32"):
        return requested
    import torch

    on_gpu = torch.cuda.is_available()
    has_int8 = not on_gpu and native_int8()
    if requested == "int8":
        if has_int8:
            return "int8"
        raise EncoderError(
            "The encoder's precision int8 needs a CPU with AVX512-VNNI, and no GPU in its place."
            + (
                " The vectors of this desk are in int8: run it on such a machine, or encode all"
                " anew with TICKETS_ENCODER_PRECISION=fp32 tickets run --accept-settings"
                if recorded == "int8"
                else " Leave TICKETS_ENCODER_PRECISION at auto."
            )
        )
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
    # Its other entries, caches and cores, decide nothing.
    present = sorted(name for name, value in capabilities.items() if value is True)
    return " ".join([platform.machine(), torch.backends.cpu.get_cpu_capability(), *present])
