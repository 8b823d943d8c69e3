"""The number formats that this machine computes natively, and the fastest of them."""

from __future__ import annotations

import functools
import importlib.util
import platform
from pathlib import Path
from typing import Literal

from ticket_assets.embedding.errors import EncoderError

Precision = Literal["int8", "bf16", "fp32"]
RequestedPrecision = Literal["auto", "int8", "bf16", "fp32"]

# Device files of NVIDIA's and AMD's drivers, and of Linux inside Windows.
_GPU_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


def candidates(
    requested: RequestedPrecision, recorded: Precision | None = None
) -> tuple[Precision, ...]:
    """The formats to try in turn: `requested` alone, or for `auto` the fastest ones first.

    int8 takes two thirds of the time of AVX512's bf16, but not every encoder keeps its vectors in
    it; with AMX, bf16 products hardly take any time.

    Args:
        recorded: the format of the stored vectors, which `auto` keeps to.

    Raises:
        EncoderError: the one requested or recorded is not one that this machine computes.
    """
    if requested == "auto" and recorded is None:
        native: Precision = "bf16" if native_bf16() else "fp32"
        has_fast_int8 = not has_gpu() and native_int8() and "amx_bf16" not in cpu_flags()
        return ("int8", native) if has_fast_int8 else (native,)
    precision = recorded if requested == "auto" and recorded else requested
    is_native = {"int8": native_int8() and not has_gpu(), "bf16": native_bf16(), "fp32": True}
    if not is_native[precision]:
        needed = {"int8": "a CPU with VNNI, and no GPU in its place", "bf16": "a CPU with bf16"}
        remedy = (
            f"The vectors of this desk are in {precision}: run it on such a machine, or encode all"
            " anew with TICKETS_ENCODER_PRECISION=fp32 tickets run --accept-settings"
            if recorded == precision
            else "Leave TICKETS_ENCODER_PRECISION at auto."
        )
        raise EncoderError(
            f"The encoder's precision {precision} needs {needed[precision]}. {remedy}"
        )
    return (precision,)  # type: ignore[return-value]


@functools.cache
def has_gpu() -> bool:
    """Whether PyTorch computes on a GPU. It is only asked where there may be one: its import takes
    seconds and hundreds of megabytes."""
    if not any(Path(file).exists() for file in _GPU_FILES):
        return False
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


def native_int8() -> bool:
    """Whether this CPU multiplies bytes into 32-bit sums: VNNI, of AVX512 or AVX.

    AVX2 alone has only products whose sums overflow.
    """
    return not cpu_flags().isdisjoint({"avx512_vnni", "avx_vnni"})


def native_bf16() -> bool:
    """Whether the GPU, or this CPU in OpenVINO, multiplies bf16 matrices itself.

    On other CPUs OpenVINO takes fp32 without a word, or emulates it more slowly.
    """
    if has_gpu():
        import torch

        return bool(torch.cuda.is_bf16_supported())
    return not cpu_flags().isdisjoint({"amx_bf16", "avx512_bf16"})


def cpu_features() -> str:
    """The kind of this CPU: its instruction sets, by which OpenVINO chooses what it runs."""
    return " ".join([platform.machine(), *sorted(cpu_flags())])


@functools.cache
def cpu_flags() -> frozenset[str]:
    """The CPU's instruction sets by Linux's names; empty on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        name, _, flags = line.partition(":")
        if name.strip().lower() in {"flags", "features"}:
            return frozenset(flags.split())
    return frozenset()
