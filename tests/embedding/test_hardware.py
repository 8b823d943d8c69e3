from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ticket_assets.embedding.errors import EncoderError
from ticket_assets.embedding.hardware import (
    choose_precision,
    floats,
    native_bf16,
    native_int8,
)


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Lets PyTorch see a CPU with just these instruction sets."""

    import torch

    def forget() -> None:
        native_bf16.cache_clear()
        native_int8.cache_clear()

    def become(*instructions: str) -> None:
        monkeypatch.setattr(
            torch.cpu, "get_capabilities", lambda: dict.fromkeys(instructions, True)
        )
        forget()

    yield become
    monkeypatch.undo()
    forget()


AVX2 = ("avx2", "fma3")
VNNI = (*AVX2, "avx512_f", "avx512_vnni")
BF16 = (*VNNI, "avx512_bf16")
AMX = (*BF16, "amx_bf16", "amx_int8")


@pytest.mark.parametrize(
    ("instructions", "chosen", "for_an_encoder_that_keeps_its_vectors_in_int8"),
    [
        (AVX2, "fp32", "fp32"),
        (VNNI, "fp32", "int8"),
        (BF16, "bf16", "int8"),
        (AMX, "bf16", "bf16"),
        (("neon", "bf16"), "bf16", "bf16"),
    ],
)
def test_automatic_precision_is_the_fastest_that_the_cpu_has_natively(
    instructions: tuple[str, ...],
    chosen: str,
    for_an_encoder_that_keeps_its_vectors_in_int8: str,
    cpu: Callable[..., None],
) -> None:
    cpu(*instructions)

    assert choose_precision("auto") == chosen
    assert choose_precision("auto", int8=True) == for_an_encoder_that_keeps_its_vectors_in_int8
    assert choose_precision("fp32", int8=True) == "fp32"


def test_int8_is_refused_where_the_cpu_would_not_be_fast_or_exact(cpu: Callable[..., None]) -> None:
    cpu(*AVX2)
    with pytest.raises(EncoderError, match="needs a CPU with AVX512-VNNI"):
        choose_precision("int8")

    cpu(*AMX)
    assert choose_precision("int8") == "int8"


@pytest.mark.parametrize(
    ("instructions", "beside_integers"), [(VNNI, "float32"), (BF16, "bfloat16")]
)
def test_what_is_not_computed_in_integers_is_in_the_fastest_floats(
    instructions: tuple[str, ...], beside_integers: str, cpu: Callable[..., None]
) -> None:
    import torch

    cpu(*instructions)

    assert floats("int8") == getattr(torch, beside_integers)
    assert (floats("bf16"), floats("fp32")) == (torch.bfloat16, torch.float32)
