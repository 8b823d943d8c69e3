"""Encoders converted for OpenVINO: made once, whole or not at all, used where they agree."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ticket_assets.embedding import conversion, hardware
from ticket_assets.embedding.configured import ConfiguredEncoder, accepted, load_encoder
from ticket_assets.embedding.conversion import LEAST_COSINE, reason_against, same_neighbours
from ticket_assets.embedding.errors import EncoderError
from ticket_assets.embedding.presets import EncoderModel

TEXTS = ["printer is broken", "", "PRINTER, vpn; 🖥️", "vpn " * 100, "mail screen"]
PROCESS = """
import sys
from pathlib import Path
from ticket_assets.embedding.configured import load_encoder
from ticket_assets.embedding.presets import resolve_model

if __name__ == "__main__":
    name, folder, output, *texts = sys.argv[1:]
    model = resolve_model(name, encoders_dir=Path(folder), allow_download=False)
    encoder = load_encoder(model, "fp32")
    Path(output).write_bytes(encoder.encode(texts).tobytes())
    print(encoder.path, *sorted({"torch", "transformers", "nncf"} & sys.modules.keys()))
"""


@pytest.fixture
def tiny(
    make_folder: Callable[..., Path], resolve_tiny: Callable[..., EncoderModel], tmp_path: Path
) -> EncoderModel:
    """An encoder that has not been converted."""
    return replace(resolve_tiny(make_folder()), converted=tmp_path / "openvino" / "tiny")


@pytest.fixture
def vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO computes int8 on any CPU, only not as fast and exact; few texts make it cheap."""
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset({"avx512_vnni"}))
    monkeypatch.setattr(conversion, "_CALIBRATION_REQUESTS", 3)
    monkeypatch.setattr(conversion, "_JUDGED_REQUESTS", 70)
    monkeypatch.setattr(conversion, "LEAST_SAME_NEIGHBOURS", 0.1)


def record(model: EncoderModel, kind: str = "float") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((model.converted / kind / "record.json").read_text())
    return content


def moments(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.is_file()}


def start(model: EncoderModel, encoders_dir: Path, output: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, model.folder, encoders_dir, output, *TEXTS],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_processes_that_convert_at_once_leave_whole_files_which_load_without_torch(
    tiny: EncoderModel, tmp_path: Path
) -> None:
    outputs = [tmp_path / name for name in ("first", "second", "later")]

    together = [start(tiny, tmp_path, output) for output in outputs[:2]]
    printed = [process.communicate()[0] for process in together]
    (converted,) = (tmp_path / "openvino").iterdir()
    before = moments(converted / "float")
    later = start(tiny, tmp_path, outputs[2]).communicate()[0]

    # A process of its own has converted.
    assert [*printed, later] == ["OpenVINO\n"] * 3
    vectors = [output.read_bytes() for output in outputs]
    assert vectors[0] == vectors[1] == vectors[2] != b""
    assert [path.name for path in converted.iterdir()] == ["float"]
    assert moments(converted / "float") == before


@pytest.mark.slow
def test_a_script_without_main_guard_fails_and_does_not_wait_for_itself(
    tiny: EncoderModel, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(PROCESS.replace('__name__ == "__main__"', "True"))

    done = subprocess.run(
        [sys.executable, script, tiny.folder, tmp_path, tmp_path / "output", *TEXTS],
        capture_output=True, check=False, text=True, timeout=120,
    )  # fmt: skip

    assert done.returncode == 1
    assert "ProcessError: A process was ended" in done.stderr


@pytest.mark.slow
def test_a_converted_encoder_is_recorded_with_its_agreement(tiny: EncoderModel) -> None:
    configured = ConfiguredEncoder(tiny, ("fp32",), 24, None, 1)
    assert configured.needs_conversion

    assert configured.encoder.path == "OpenVINO"

    assert not configured.needs_conversion
    assert record(tiny)["least_cosine"] > 0.9999
    assert np.shape(record(tiny)["vectors"]) == (16, 16)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("encoder.bin", lambda content: content[:-1]),
        ("tokenizer.json", lambda _: None),
        ("record.json", lambda _: b"{"),
        ("record.json", lambda content: content.replace(b'"openvino": "', b'"openvino": "1')),
    ],
)
def test_damaged_files_and_those_of_another_version_are_made_anew(
    tiny: EncoderModel, name: str, damage: Callable[[bytes], bytes | None]
) -> None:
    expected = load_encoder(tiny, "fp32").encode(TEXTS).tobytes()
    file = tiny.converted / "float" / name

    if (content := damage(file.read_bytes())) is None:
        file.unlink()
    else:
        file.write_bytes(content)
    again = load_encoder(tiny, "fp32")

    assert again.path == "OpenVINO"
    assert again.encode(TEXTS).tobytes() == expected
    assert file.read_bytes() != content


@pytest.mark.slow
def test_a_conversion_that_was_cut_off_is_begun_again(
    tiny: EncoderModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(conversion, "_save_network", interrupt)
        with pytest.raises(KeyboardInterrupt):
            load_encoder(tiny, "fp32")
    assert list(tiny.converted.iterdir()) == []

    assert load_encoder(tiny, "fp32").path == "OpenVINO"


@pytest.mark.slow
def test_what_openvino_cannot_convert_is_computed_by_transformers_which_says_why(
    tiny: EncoderModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no operation\nof this kind")

    monkeypatch.setattr(conversion, "_save_network", fail)
    first = load_encoder(tiny, "bf16")
    monkeypatch.undo()
    before = moments(tiny.converted / "float")
    later = load_encoder(tiny, "fp32")

    assert first.path == later.path == "transformers (no operation of this kind)"
    assert later.encode(TEXTS).shape == (5, 16)
    # Remembered, so that a later start does not try again.
    assert moments(tiny.converted / "float") == before
    with pytest.raises(EncoderError, match=r"int8 \(no operation of this kind\)\. Set TICKETS_"):
        load_encoder(tiny, "int8")


@pytest.mark.slow
def test_vectors_that_differ_from_those_of_transformers_are_not_used(
    tiny: EncoderModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LEAST_COSINE, "fp32", 1.1)

    encoder = load_encoder(tiny, "fp32")

    assert encoder.path == "transformers (its vectors in fp32 differ: cosine 1.0000)"


@pytest.mark.slow
def test_another_kind_of_cpu_compares_the_kept_vectors_again(
    tiny: EncoderModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_encoder(tiny, "fp32")
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset({"avx9"}))
    assert not ConfiguredEncoder(tiny, ("fp32",), 24, None, 1).needs_conversion

    with monkeypatch.context() as patch:
        patch.setitem(LEAST_COSINE, "fp32", 1.1)
        assert load_encoder(tiny, "fp32").path == (
            "transformers (on this CPU its vectors in fp32 differ: cosine 1.0000)"
        )
    assert load_encoder(tiny, "fp32").path == "OpenVINO"

    assert len(list((tiny.converted / "float").glob("fp32-*.json"))) == 2


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_one_clear_line(
    tiny: EncoderModel, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(EncoderError, match=r"Cannot write the converted encoder to .*_DIR"):
        load_encoder(replace(tiny, converted=tmp_path / "file" / "tiny"), "fp32")


@pytest.mark.slow
def test_a_tokenizer_that_transformers_changes_is_kept_as_transformers_has_it(
    make_folder: Callable[..., Path], resolve_tiny: Callable[..., EncoderModel]
) -> None:
    folder = make_folder()
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"truncation_side": "left"}))
    start, end = "printer " * 24, "vpn " * 24

    encoder = load_encoder(resolve_tiny(folder), "fp32")
    cut, kept = encoder.encode([start + end, end])

    assert encoder.path == "OpenVINO"
    np.testing.assert_array_equal(cut, kept)


@pytest.mark.slow
@pytest.mark.usefixtures("vnni")
def test_int8_is_measured_on_other_texts_than_it_was_calibrated_on(
    tiny: EncoderModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LEAST_COSINE, "int8", 0.9)

    assert accepted(tiny, ("int8", "fp32")) == "int8"

    content = record(tiny, "int8")
    assert content["tickets"] == "70 requests of the sample mailbox, seed 12"
    assert content["least_cosine"] > 0.9
    assert not set(content["texts"]) & set(conversion.request_texts(250, seed=11))
    encoder = load_encoder(tiny, "int8")
    exact = load_encoder(tiny, "fp32")
    # Not the same pass in other clothes.
    assert 1e-5 < np.abs(encoder.encode(TEXTS) - exact.encode(TEXTS)).max() < 0.5

    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset({"avx_vnni"}))
    monkeypatch.setitem(LEAST_COSINE, "int8", 1.1)
    with pytest.raises(EncoderError, match="on this CPU its vectors in int8 differ"):
        load_encoder(tiny, "int8")


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_transformers_take_as_many_threads_as_are_set(
    tiny: EncoderModel, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    import torch

    monkeypatch.setitem(LEAST_COSINE, "fp32", 1.1)
    present = torch.get_num_threads()

    try:
        encoder = load_encoder(tiny, "fp32", threads=threads)
        assert encoder.path.startswith("transformers (")
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(present)


@pytest.mark.slow
@pytest.mark.usefixtures("vnni")
def test_an_encoder_that_int8_changes_too_much_is_computed_in_floats(
    tiny: EncoderModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LEAST_COSINE, "int8", 1.1)

    assert accepted(tiny, ("int8", "fp32")) == "fp32"

    assert record(tiny, "int8")["refused"].startswith("its vectors in int8 differ: cosine ")
    assert sorted(moments(tiny.converted / "int8")) == ["record.json"]


@pytest.mark.slow
def test_without_nncf_nothing_is_quantised_and_nothing_decided(
    tiny: EncoderModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_encoder(tiny, "fp32")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    assert reason_against(tiny, "int8") == (
        "the Python package nncf, which makes it, is not installed"
    )
    assert not (tiny.converted / "int8").exists()


def test_the_share_of_the_same_neighbours() -> None:
    reference = np.eye(8, dtype=np.float32)[:, ::-1].cumsum(axis=0)

    assert same_neighbours(reference, reference) == 1
    assert same_neighbours(np.roll(reference, 4, axis=0), reference) < 1


def test_converters_have_nothing_to_report_with() -> None:
    import openvino.tools.ovc.telemetry_utils as reports

    assert sys.modules["openvino_telemetry"] is None
    assert reports.tm.__name__ == "openvino.tools.ovc.telemetry_stub"
