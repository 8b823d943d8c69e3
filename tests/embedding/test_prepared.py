"""Encoders that were prepared elsewhere: no weights, no PyTorch, nothing written."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ticket_assets.embedding import conversion, hardware, prepared
from ticket_assets.embedding.configured import load_encoder
from ticket_assets.embedding.conversion import LEAST_COSINE
from ticket_assets.embedding.errors import EncoderError
from ticket_assets.embedding.prepared import prepare
from ticket_assets.embedding.presets import EncoderModel, resolve_model

TEXTS = ["printer is broken", "", "vpn " * 100]
find_spec, _reason_against = importlib.util.find_spec, conversion.reason_against


@pytest.fixture
def moved(
    make_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Path, bytes]:
    """Name and folder of an encoder whose weights are gone, and the vectors it gave before."""
    monkeypatch.setattr(conversion, "reason_against", _in_floats_alone)
    monkeypatch.setattr(prepared, "reason_against", _in_floats_alone)
    folder, encoders = make_folder("desk-bert"), tmp_path / "encoders"
    model = resolve_model(str(folder), encoders_dir=encoders, allow_download=False)
    assert prepare(model, str(folder), encoders) == {"fp32": None, "int8": "not here"}
    vectors = load_encoder(model, "fp32").encode(TEXTS).tobytes()
    shutil.rmtree(folder)
    return folder, encoders, vectors


def _in_floats_alone(model: EncoderModel, precision: hardware.Precision) -> str | None:
    return "not here" if precision == "int8" else _reason_against(model, precision)


def resolve(name: Path, encoders: Path, **options: int) -> EncoderModel:
    return resolve_model(str(name), encoders_dir=encoders, allow_download=False, **options)


def without_torch(name: str, *arguments: str) -> object:
    return None if name in {"torch", "transformers", "nncf"} else find_spec(name, *arguments)


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.slow
def test_an_encoder_without_weights_and_packages_gives_the_vectors_it_gave(
    moved: tuple[Path, Path, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, encoders, vectors = moved
    monkeypatch.setattr(importlib.util, "find_spec", without_torch)
    before = files(encoders)

    model = resolve(folder, encoders)
    encoder = load_encoder(model, "fp32")

    assert encoder.path == "OpenVINO"
    assert encoder.encode(TEXTS).tobytes() == vectors
    assert files(encoders) == before
    assert resolve(folder, encoders, dimension=4).dimension == 4


@pytest.mark.slow
def test_another_kind_of_cpu_compares_without_pytorch(
    moved: tuple[Path, Path, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, encoders, _ = moved
    monkeypatch.setattr(importlib.util, "find_spec", without_torch)
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset({"avx9"}))
    model = resolve(folder, encoders)

    assert load_encoder(model, "fp32").path == "OpenVINO"

    shutil.rmtree(model.converted.parent)
    with pytest.raises(EncoderError, match=r"desk-bert is not converted in .*needs torch and"):
        load_encoder(model, "fp32")


@pytest.mark.slow
def test_a_cpu_that_computes_other_vectors_says_what_is_missing(
    moved: tuple[Path, Path, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, encoders, _ = moved
    monkeypatch.setattr(importlib.util, "find_spec", without_torch)
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset({"avx9"}))
    monkeypatch.setitem(LEAST_COSINE, "fp32", 1.1)

    with pytest.raises(EncoderError, match=r"by transformers \(on this CPU .* needs torch"):
        load_encoder(resolve(folder, encoders), "fp32")


@pytest.mark.slow
def test_the_weights_go_before_what_was_prepared(
    moved: tuple[Path, Path, bytes], make_folder: Callable[..., Path]
) -> None:
    folder, encoders, _ = moved
    former = resolve(folder, encoders)

    make_folder(folder.name, seed=1)

    assert resolve(folder, encoders).revision != former.revision


@pytest.mark.slow
def test_what_openvino_cannot_compute_is_not_prepared(
    make_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "reason_against", lambda *_: "no operation of this kind")
    model = resolve(make_folder(), tmp_path)

    with pytest.raises(EncoderError, match="cannot be computed by OpenVINO: no operation"):
        prepare(model, "tiny-bert", tmp_path)

    assert list(tmp_path.glob("prepared/*")) == []


def test_a_gpu_is_nothing_to_an_installation_without_pytorch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nvidiactl").write_text("")
    monkeypatch.setattr(hardware, "_GPU_FILES", (str(tmp_path / "nvidiactl"),))
    monkeypatch.setattr(importlib.util, "find_spec", without_torch)
    hardware.has_gpu.cache_clear()

    assert not hardware.has_gpu()
    hardware.has_gpu.cache_clear()


@pytest.mark.slow
def test_the_module_prepares_by_name_and_says_in_one_line_what_it_cannot(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ticket_assets.embedding.prepared", tmp_path, "no/such-encoder"],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        check=False,
        text=True,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("There is no encoder 'no/such-encoder'")
    assert len(done.stderr.splitlines()) == 1
