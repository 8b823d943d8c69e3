"""Scores of tokens: those that transformers gives with the changed weights, at their places."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from ticket_assets.embedding import token_scores
from ticket_assets.embedding.conversion import converted_floats
from ticket_assets.embedding.encoder import LENGTH_STEP
from ticket_assets.embedding.errors import EncoderError
from ticket_assets.embedding.presets import EncoderModel
from ticket_assets.embedding.token_scores import (
    MAX_TOKENS,
    ScoredTokens,
    TokenScores,
    packaged_reader,
)

TEXTS = ["The printer says no, again", "x", "", "mot de passe \n Tulipe99 ?!", "word " * 400]
CHANGED = ("encoder.layer.0.attention.self.query", "encoder.layer.2.output.dense")

FREED = """
import gc
import os
import signal
import sys
from pathlib import Path
from ticket_assets.embedding.backends.openvino import NETWORK, openvino_core

first, second = (
    openvino_core().compile_model(Path(sys.argv[1]) / NETWORK, "CPU") for _ in range(2)
)
del first
gc.collect()
del second
gc.collect()
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def random_weights(model: EncoderModel) -> tuple[np.ndarray, dict[str, tuple[np.ndarray, ...]]]:
    numbers = np.random.default_rng(0)
    size = model.hidden_size
    shapes = {CHANGED[0]: (size, size), CHANGED[1]: (size, 4 * size)}
    return numbers.normal(size=size).astype(np.float32), {
        name: tuple(
            0.1 * numbers.normal(size=shape).astype(np.float32)
            for shape in ((outputs, 4), (4, inputs))
        )
        for name, (outputs, inputs) in shapes.items()
    }


@pytest.mark.slow
def test_scores_are_those_of_transformers_with_the_changed_weights(minilm: EncoderModel) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    states, adapters = random_weights(minilm)
    tokenizer = AutoTokenizer.from_pretrained(minilm.folder)
    network = AutoModel.from_pretrained(minilm.folder).eval()
    for name, (up, down) in adapters.items():
        network.get_submodule(name).weight.data += torch.tensor(up @ down)

    scored = TokenScores(minilm, states, adapters, threads=2).of(TEXTS)

    assert len(scored) == len(TEXTS)
    for text, tokens in zip(TEXTS, scored, strict=True):
        encoded = tokenizer(text, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        with torch.inference_mode():
            hidden = network(**encoded, output_hidden_states=True).hidden_states[3][0].numpy()
        # The first and the last are no part of the text.
        np.testing.assert_allclose(tokens.scores, (hidden @ states)[1:-1], atol=0.02)


@pytest.mark.slow
def test_a_text_that_was_read_is_not_read_again_until_it_is_forgotten(
    minilm: EncoderModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = TokenScores(minilm, *random_weights(minilm), threads=1)
    monkeypatch.setattr(token_scores, "_REMEMBERED_TEXTS", 2)
    read, read_chunk = [], scores._of_chunk

    def of_chunk(texts: list[str]) -> list[ScoredTokens]:
        read.append(texts)
        return read_chunk(texts)

    monkeypatch.setattr(scores, "_of_chunk", of_chunk)

    first, _, same = scores.of(["le mdp est Tulipe", "bonjour", "le mdp est Tulipe"])
    again, _ = scores.of(["le mdp est Tulipe", "merci"])
    scores.of(["le mdp est Tulipe"])

    assert read == [["le mdp est Tulipe", "bonjour"], ["merci"], ["le mdp est Tulipe"]]
    for other in (same, again):
        np.testing.assert_array_equal(first.scores, other.scores)
        np.testing.assert_array_equal(first.spans, other.spans)


@pytest.mark.slow
def test_tokens_are_at_their_places_in_the_text_without_the_prefix(minilm: EncoderModel) -> None:
    states, adapters = random_weights(minilm)
    prefixed = replace(minilm, prefix="query: ")

    (tokens,) = TokenScores(prefixed, states, adapters, threads=1).of(["le mdp est  Tulipe"])

    text = "le mdp est  Tulipe"
    assert "".join(text[start:end] for start, end in tokens.spans) == "lemdpestTulipe"
    assert len(tokens.scores) == len(tokens.spans)


@pytest.mark.slow
def test_a_score_does_not_depend_on_the_texts_beside(minilm: EncoderModel) -> None:
    reader = TokenScores(minilm, *random_weights(minilm), threads=2)
    short, long = "no wifi", "the wifi of the second floor " * LENGTH_STEP

    (alone,), (beside, _) = reader.of([short]), reader.of([short, long])

    np.testing.assert_allclose(alone.scores, beside.scores, atol=1e-3)


@pytest.mark.slow
def test_weights_of_another_encoder_are_refused(minilm: EncoderModel) -> None:
    states, adapters = random_weights(minilm)
    reader = TokenScores(
        minilm, states, adapters | {"encoder.layer.77.query": adapters[CHANGED[0]]}
    )

    with pytest.raises(EncoderError, match=r"has no layer encoder\.layer\.77"):
        reader.of(["a text"])


def test_no_text_loads_nothing(minilm: EncoderModel) -> None:
    reader = TokenScores(
        replace(minilm, converted=minilm.converted / "missing"), *random_weights(minilm)
    )

    assert reader.of([]) == []


def test_another_revision_of_the_encoder_is_refused_with_what_to_do(minilm: EncoderModel) -> None:
    with pytest.raises(EncoderError, match=r"revision 123, and here is .*SECRETS_IN_CONTEXT=false"):
        packaged_reader(
            ("all-minilm-l6-v2", "123"),
            *random_weights(minilm),
            encoders_dir=minilm.converted.parents[1],
            threads=None,
        )


@pytest.mark.slow
def test_a_signal_finds_its_stack_after_networks_were_freed(minilm: EncoderModel) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FREED, str(converted_floats(minilm))],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
