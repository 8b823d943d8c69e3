from __future__ import annotations

import json
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
from ticket_assets.embedding.presets import resolve_model

pytestmark = pytest.mark.slow

SPEED = EncodingSpeed(
    model="all-minilm-l6-v2",
    precision="bf16",
    path="fused",
    cores=2,
    texts=1024,
    tokens_per_text=100.0,
    texts_per_second=300.0,
    peers={"sentence-transformers": 50.0, "openvino": 400.0},
    least_cosine=0.9998,
    gflop_per_text=2.0,
    peak_gflops=800.0,
)


def test_the_product_is_measured_without_any_peer(tmp_path: Path) -> None:
    model = resolve_model("all-minilm-l6-v2", encoders_dir=tmp_path, allow_download=False)

    speed = encoding_speed(
        ["Printer\nThe printer is broken", "VPN"], model, precision="fp32", rounds=1, peers=()
    )

    assert (speed.model, speed.texts, speed.peers) == ("all-minilm-l6-v2", 2, {})
    assert speed.path == "fused"
    assert (
        speed.tokens_per_text == 5.5
    )  # [CLS] printer the printer is broken [SEP], [CLS] vp ##n [SEP]
    assert speed.texts_per_second > 0
    assert speed.peak_gflops > 0
    assert speed.least_cosine == pytest.approx(1, abs=1e-5)


def test_operations_are_those_of_the_matrices() -> None:
    class Config:
        hidden_size, intermediate_size, num_hidden_layers = 10, 40, 3

    # A layer: 3 x 20 x (4 x 100 + 2 x 400) for the tokens, 4 x 20² x 10 between them.
    expected = 3 * (20 * 2 * (4 * 100 + 2 * 400) + 4 * 20**2 * 10) / 1e9
    assert encoding._gflop_per_text(Config, np.array([20])) == pytest.approx(expected)


def test_ratios_and_the_share_of_the_peak() -> None:
    assert SPEED.ratio("sentence-transformers") == 6.0
    assert SPEED.ratio("openvino") == 0.75
    assert SPEED.peak_share == 0.75


def test_the_table_says_which_peers_speed_is_wanted_and_whether_it_is_reached() -> None:
    plain, openvino, share, cosine = lines(SPEED)

    assert (plain.peer, plain.ratio, plain.wanted, plain.met) == ("50 texts/s", 6.0, "≥ 5.5", True)
    assert (openvino.ratio, openvino.wanted, openvino.met) == (0.75, "≥ 1", False)
    assert (share.value, share.met) == ("75% of 800 GFLOP/s", None)
    assert (cosine.value, cosine.met) == ("0.99980", True)


def test_fp32_has_a_ratio_of_its_own() -> None:
    plain, openvino, *_ = lines(replace(SPEED, precision="fp32"))

    assert plain.wanted == "≥ 1.6"
    assert (openvino.wanted, openvino.met) == ("", None)


@pytest.mark.parametrize(
    ("peer", "package"),
    [("sentence-transformers", "sentence_transformers"), ("openvino", "openvino")],
)
def test_a_peer_that_is_not_installed_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, peer: encoding.Peer, package: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)  # as where it is not installed
    model = resolve_model("all-minilm-l6-v2", encoders_dir=tmp_path, allow_download=False)

    with pytest.raises(PeerError) as raised:
        encoding_speed(["VPN"], model, precision="fp32", rounds=1, peers=(peer,))
    assert str(raised.value).startswith(f"{peer}, which the encoder is compared with, is not")
    assert "pip install 'ticket-assets[bench]'" in str(raised.value)


def test_sample_texts_are_the_requests_of_the_sample_mailbox() -> None:
    texts = sample_texts(50)

    assert len(texts) == len(set(texts)) == 50
    assert all("\n" in text and text.strip() for text in texts)
    assert json.dumps(texts) == json.dumps(sample_texts(50))
