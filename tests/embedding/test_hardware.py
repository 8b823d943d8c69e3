from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path

import pytest
import torch

from ticket_assets.embedding.errors import EncoderError
from ticket_assets.embedding.hardware import (
    available_cores,
    cgroup_cores,
    choose_precision,
    floats,
    native_bf16,
    native_int8,
)


def write(files: dict[str, str], root: Path) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Lets PyTorch see a CPU with just these instruction sets."""

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
    ("instructions", "beside_integers"), [(VNNI, torch.float32), (BF16, torch.bfloat16)]
)
def test_what_is_not_computed_in_integers_is_in_the_fastest_floats(
    instructions: tuple[str, ...], beside_integers: torch.dtype, cpu: Callable[..., None]
) -> None:
    cpu(*instructions)

    assert floats("int8") == beside_integers
    assert (floats("bf16"), floats("fp32")) == (torch.bfloat16, torch.float32)


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
