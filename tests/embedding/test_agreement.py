from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from ticket_assets.embedding.agreement import Circumstances, is_recorded, record
from ticket_assets.embedding.configured import ConfiguredEncoder
from ticket_assets.embedding.encoder import Encoder
from ticket_assets.embedding.encoder_files import read_parts
from ticket_assets.embedding.errors import EncoderError, NotFusableError
from ticket_assets.embedding.presets import EncoderModel, resolve_model

TEXTS = ["printer is broken", "", "PRINTER, vpn; 🖥️", "vpn " * 100, "mail screen"]
NEW_PROCESS = """
import sys
from pathlib import Path
from ticket_assets.embedding.encoder import Encoder
from ticket_assets.embedding.presets import resolve_model

name, checked, found, *texts = sys.argv[1:]
model = resolve_model(name, encoders_dir=Path(checked), allow_download=False)
encoder = Encoder.load(model, precision="fp32", checked=Path(checked))
Path(found).write_bytes(encoder.encode(texts).tobytes())
print(encoder.path, "transformers" in sys.modules)
"""


@pytest.fixture
def checked(tmp_path: Path) -> Path:
    return tmp_path / "checked"


def resolve(folder: Path) -> EncoderModel:
    return resolve_model(str(folder), encoders_dir=folder, allow_download=False)


def load(folder: Path, checked: Path | None) -> Encoder:
    return Encoder.load(resolve(folder), precision="fp32", checked=checked)


def load_in_new_process(name: str, checked: Path) -> tuple[str, bytes]:
    """Forward pass and whether transformers was imported, and the vectors of `TEXTS`."""
    output = checked.with_name("output")
    done = subprocess.run(
        [sys.executable, "-c", NEW_PROCESS, name, checked, output, *TEXTS],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip(), output.read_bytes()


def records(checked: Path) -> int:
    return len(list(checked.glob("*.json")))


def change_weights(folder: Path, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_an_encoder_that_agreed_is_loaded_without_transformers_and_gives_the_same_bits(
    make_folder: Callable[..., Path], checked: Path
) -> None:
    folder = make_folder()
    compared = load(folder, None).encode(TEXTS).tobytes()

    first = load(folder, checked).encode(TEXTS).tobytes()
    loading, second = load_in_new_process(str(folder), checked)

    assert (loading, records(checked)) == ("fused False", 1)
    assert first == second == compared


@pytest.mark.slow
def test_the_packaged_encoder_gives_the_same_bits_without_transformers(
    encoder: Encoder, minilm: EncoderModel, checked: Path
) -> None:
    Encoder.load(minilm, precision="fp32", checked=checked)

    loading, vectors = load_in_new_process(minilm.name, checked)

    assert loading == "fused False"
    assert vectors == encoder.encode(TEXTS).tobytes()


@pytest.mark.slow
def test_weights_named_after_their_family_are_found(
    make_folder: Callable[..., Path], checked: Path
) -> None:
    folder = make_folder()
    expected = load(folder, None).encode(TEXTS).tobytes()

    def rename(weights: dict[str, np.ndarray]) -> None:
        for name in list(weights):
            weights[f"bert.{name}"] = weights.pop(name)

    change_weights(folder, rename)
    load(folder, checked)

    assert load_in_new_process(str(folder), checked) == ("fused False", expected)


def test_token_ids_are_those_of_transformers(minilm: EncoderModel) -> None:
    from transformers import AutoTokenizer

    tokenize = read_parts(minilm.folder, "fp32", 24).tokenize
    tokenizer = AutoTokenizer.from_pretrained(minilm.folder)

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.text(), min_size=1, max_size=4))
    def same(texts: list[str]) -> None:
        assert tokenize(texts) == tokenizer(texts, truncation=True, max_length=24)["input_ids"]

    same()
    same.hypothesis.inner_test(["[CLS] É 🖥️ 打印机 [MASK] ß", "vpn " * 100, "", "\x00 \t"])


def test_an_encoder_is_compared_until_it_agreed(
    make_folder: Callable[..., Path], checked: Path
) -> None:
    model = resolve(make_folder())
    configured = ConfiguredEncoder(model, "fp32", 24, None, 1, checked)
    assert configured.needs_comparison

    assert configured.encoder.path == "fused"

    assert not configured.needs_comparison
    assert not replace(configured, checked=None).needs_comparison
    assert replace(configured, precision="bf16").needs_comparison


@pytest.mark.parametrize("field", [field.name for field in fields(Circumstances)])
def test_a_record_holds_under_its_own_circumstances_only(field: str, checked: Path) -> None:
    circumstances = Circumstances.of_this_process("tiny@0123456789ab/fp32/24", "query: ")

    record(circumstances, checked, 0.9999)

    assert is_recorded(circumstances, checked)
    assert not is_recorded(replace(circumstances, **{field: "another"}), checked)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"agreed": true}', "\ud800"])
def test_a_damaged_record_is_none(content: str, checked: Path) -> None:
    circumstances = Circumstances.of_this_process("tiny@0123456789ab/fp32/24", "")
    record(circumstances, checked, 0.9999)
    (file,) = checked.iterdir()

    file.write_bytes(content.encode("utf-8", "surrogatepass"))

    assert not is_recorded(circumstances, checked)


@pytest.mark.slow
def test_weights_that_changed_in_place_are_compared_again(
    make_folder: Callable[..., Path], checked: Path
) -> None:
    folder = make_folder()
    before = load(folder, checked).encode(TEXTS)

    def change(weights: dict[str, np.ndarray]) -> None:
        weights["encoder.layer.1.output.dense.weight"] *= 2

    change_weights(folder, change)
    loading, vectors = load_in_new_process(str(folder), checked)

    assert (loading, records(checked)) == ("fused True", 2)
    assert vectors == load(folder, None).encode(TEXTS).tobytes() != before.tobytes()


def test_files_that_break_once_they_are_known_are_refused_as_ever(
    make_folder: Callable[..., Path], checked: Path
) -> None:
    folder = make_folder()
    model = resolve(folder)
    Encoder.load(model, precision="fp32", checked=checked)

    def take_one(weights: dict[str, np.ndarray]) -> None:
        del weights["encoder.layer.1.output.dense.weight"]

    change_weights(folder, take_one)
    with pytest.raises(EncoderError, match=r"lack encoder\.layer\.1\.output\.dense\.weight"):
        Encoder.load(model, precision="fp32", checked=checked)
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(EncoderError, match="Cannot load the encoder"):
        Encoder.load(model, precision="fp32", checked=checked)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", "{"),
        ("config.json", '{"model_type": "bert", "hidden_act": "gelu"}'),
        ("tokenizer.json", "{}"),
        ("model.safetensors", "not weights"),
    ],
)
def test_files_that_cannot_be_read_leave_it_to_transformers(
    file: str, content: str, make_folder: Callable[..., Path]
) -> None:
    folder = make_folder()
    (folder / file).write_text(content)

    with pytest.raises(NotFusableError):
        read_parts(folder, "fp32", 24)


def test_a_folder_that_cannot_be_written_costs_the_record_alone(
    make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")

    encoder = load(make_folder(), tmp_path / "file" / "checked")

    assert encoder.path == "fused"
    assert encoder.encode(TEXTS).shape == (5, 16)


def test_a_tokenizer_that_transformers_changes_is_used_as_transformers_has_it(
    make_folder: Callable[..., Path], checked: Path
) -> None:
    folder = make_folder()
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"truncation_side": "left"}))
    start, end = "printer " * 24, "vpn " * 24

    encoder = load(folder, checked)
    cut, kept = encoder.encode([start + end, end])

    assert (encoder.path, records(checked)) == ("fused", 0)
    np.testing.assert_array_equal(cut, kept)


def test_weights_in_several_files_are_read_by_transformers(
    make_folder: Callable[..., Path], checked: Path
) -> None:
    from transformers import AutoModel

    folder = make_folder()
    expected = load(folder, None).encode(TEXTS)
    network = AutoModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    network.save_pretrained(folder, max_shard_size="10KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1

    encoder = load(folder, checked)

    assert (encoder.path, records(checked)) == ("fused", 0)
    np.testing.assert_array_equal(encoder.encode(TEXTS), expected)


def test_an_architecture_that_is_not_fused_leaves_no_record(
    make_folder: Callable[..., Path], checked: Path
) -> None:
    folder = make_folder()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))

    encoder = load(folder, checked)

    assert encoder.path == "transformers (its activation is relu, not gelu)"
    assert records(checked) == 0
