from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ticket_assets.embedding.configured import load_encoder
from ticket_assets.embedding.encoder import Encoder
from ticket_assets.embedding.presets import EncoderModel, resolve_model

SENTENCE = "printer broken vpn password screen mail phone new please help the my is"


@pytest.fixture(scope="session")
def encoders_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where encoders are converted: equal ones once for all tests."""
    return tmp_path_factory.mktemp("encoders")


@pytest.fixture(scope="session")
def minilm(encoders_dir: Path) -> EncoderModel:
    return resolve_model("all-minilm-l6-v2", encoders_dir=encoders_dir, allow_download=False)


@pytest.fixture
def resolve_tiny(encoders_dir: Path) -> Callable[..., EncoderModel]:
    """Resolves a folder of `make_folder`."""

    def resolve(folder: Path, dimension: int | None = None) -> EncoderModel:
        return resolve_model(
            str(folder), encoders_dir=encoders_dir, allow_download=False, dimension=dimension
        )

    return resolve


@pytest.fixture(scope="session")
def encoder(minilm: EncoderModel) -> Encoder:
    return load_encoder(minilm, "fp32")


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a two-layer BERT of 15 words, without special tokens, as a Hugging Face folder."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    padding, unknown = "[PAD]", "[UNK]"
    vocabulary = {word: index for index, word in enumerate([padding, unknown, *SENTENCE.split()])}

    def make(name: str = "tiny-bert", *, seed: int = 0, pooling: str | None = None) -> Path:
        torch.manual_seed(seed)
        folder = tmp_path / name
        config = BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=24,
        )
        BertModel(config).save_pretrained(folder)
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token=padding, unk_token=unknown
        ).save_pretrained(folder)
        if pooling:
            (folder / "1_Pooling").mkdir()
            (folder / "1_Pooling" / "config.json").write_text(
                json.dumps({"word_embedding_dimension": 16, f"pooling_mode_{pooling}": True})
            )
        return folder

    return make
