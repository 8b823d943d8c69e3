from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ticket_assets.embedding import hardware
from ticket_assets.embedding.errors import EncoderError
from ticket_assets.embedding.hardware import candidates


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A machine without a GPU whose CPU has just these instruction sets."""

    def become(*instructions: str) -> None:
        monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset(instructions))

    monkeypatch.setattr(hardware, "has_gpu", lambda: False)
    return become


AVX2 = ("avx2", "fma")
VNNI = (*AVX2, "avx512f", "avx512_vnni")
BF16 = (*VNNI, "avx512_bf16")
AMX = (*BF16, "amx_bf16", "amx_int8")


@pytest.mark.parametrize(
    ("instructions", "tried"),
    [
        (AVX2, ("fp32",)),
        ((*AVX2, "avx_vnni"), ("int8", "fp32")),
        (VNNI, ("int8", "fp32")),
        (BF16, ("int8", "bf16")),
        (AMX, ("bf16",)),
        (("asimd", "bf16"), ("fp32",)),
        ((), ("fp32",)),
    ],
)
def test_automatic_precision_tries_what_the_cpu_has_natively_the_fastest_first(
    instructions: tuple[str, ...], tried: tuple[str, ...], cpu: Callable[..., None]
) -> None:
    cpu(*instructions)

    assert candidates("auto") == tried
    assert candidates("auto", "fp32") == ("fp32",), "a desk keeps to the format of its vectors"
    assert candidates("fp32") == ("fp32",)


@pytest.mark.parametrize(
    ("precision", "needed"), [("int8", "a CPU with VNNI"), ("bf16", "a CPU with bf16")]
)
def test_a_precision_that_the_cpu_does_not_compute_is_one_clear_line(
    precision: str, needed: str, cpu: Callable[..., None]
) -> None:
    cpu(*AVX2)
    with pytest.raises(EncoderError, match=f"{precision} needs {needed}.* at auto"):
        candidates(precision)  # type: ignore[arg-type]
    with pytest.raises(EncoderError, match=f"vectors of this desk are in {precision}: .*=fp32"):
        candidates("auto", precision)  # type: ignore[arg-type]

    cpu(*AMX)
    assert candidates(precision) == (precision,)  # type: ignore[arg-type]
