from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import encoding
from benchmarks.encoding import (
    EncodingSpeed,
    PeerError,
    encoding_speed,
    lines,
    sample_texts,
)
from ticket_assets.embedding.configured import load_encoder
from ticket_assets.embedding.hardware import native_bf16
from ticket_assets.embedding.presets import resolve_model

pytestmark = pytest.mark.slow

SPEED = EncodingSpeed(
    model="all-minilm-l6-v2",
    precision="bf16",
    path="OpenVINO",
    cores=2,
    texts=1024,
    tokens_per_text=100.0,
    texts_per_second=300.0,
    peers={"sentence-transformers": 50.0, "openvino": 400.0},
    least_cosine=0.9998,
)


@pytest.fixture(scope="module")
def encoders_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encoders")


def test_the_product_is_measured_without_any_peer(encoders_dir: Path) -> None:
    model = resolve_model("all-minilm-l6-v2", encoders_dir=encoders_dir, allow_download=False)

    speed = encoding_speed(
        ["Printer\nThe printer is broken", "VPN"], model, precision="fp32", rounds=1, peers=()
    )

    assert (speed.model, speed.texts, speed.peers) == ("all-minilm-l6-v2", 2, {})
    assert speed.path == "OpenVINO"
    assert (
        speed.tokens_per_text == 5.5
    )  # [CLS] printer the printer is broken [SEP], [CLS] vp ##n [SEP]
    assert speed.texts_per_second > 0
    assert speed.least_cosine == pytest.approx(1, abs=1e-5)


def test_the_table_says_which_peers_speed_is_wanted_and_whether_it_is_reached() -> None:
    plain, openvino, cosine = lines(SPEED)

    assert (plain.peer, plain.ratio, plain.wanted, plain.met) == ("50 texts/s", 6.0, "≥ 3.4", True)
    assert (openvino.ratio, openvino.wanted, openvino.met) == (0.75, "≥ 1.7", False)
    assert (cosine.value, cosine.met) == ("0.99980", True)


def test_a_precision_without_a_wanted_ratio_is_only_shown() -> None:
    plain, openvino, _ = lines(replace(SPEED, precision="fp32"))

    assert (plain.ratio, openvino.ratio) == (6.0, 0.75)
    assert {(line.wanted, line.met) for line in (plain, openvino)} == {("", None)}


def test_openvino_as_users_call_it_gives_the_same_vectors(encoders_dir: Path) -> None:
    model = resolve_model("all-minilm-l6-v2", encoders_dir=encoders_dir, allow_download=False)
    texts = ["Printer\nThe printer is broken", "VPN", *["Badge"] * 40]

    product = load_encoder(model, "fp32").encode(texts)

    # It takes bf16, of eight bits, where the CPU has it.
    tolerance = 5e-3 if native_bf16() else 1e-5
    np.testing.assert_allclose(encoding._openvino(model, 256)(texts), product, atol=tolerance)


def test_a_peer_that_is_not_installed_is_named_with_its_extra(
    encoders_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)  # as where it is not installed
    model = resolve_model("all-minilm-l6-v2", encoders_dir=encoders_dir, allow_download=False)

    with pytest.raises(PeerError, match=r"compared with, is not installed: .*assets\[bench\]"):
        encoding_speed(["VPN"], model, precision="fp32", rounds=1, peers=("sentence-transformers",))


def test_sample_texts_are_the_requests_of_the_sample_mailbox() -> None:
    texts = sample_texts(50)

    assert len(texts) == len(set(texts)) == 50
    assert all("\n" in text and text.strip() for text in texts)
    assert json.dumps(texts) == json.dumps(sample_texts(50))
