"""Speed of the encoder beside sentence-transformers and OpenVINO, on the same texts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from statistics import median
from typing import Any, Literal

import numpy as np

from benchmarks.table import Line
from ticket_assets.cores import available_cores
from ticket_assets.embedding import ticket_encoder
from ticket_assets.embedding.backends.openvino import NETWORK
from ticket_assets.embedding.backends.transformers import TransformersBackend
from ticket_assets.embedding.configured import accepted, load_encoder
from ticket_assets.embedding.conversion import LEAST_COSINE, folder_of
from ticket_assets.embedding.encoder import Encoder, Vectors
from ticket_assets.embedding.hardware import (
    Precision,
    RequestedPrecision,
    candidates,
    native_bf16,
)
from ticket_assets.embedding.presets import EncoderModel
from ticket_assets.errors import TicketAssetsError
from ticket_assets.sample.mailbox import generate

Encode = Callable[[Sequence[str]], Vectors]
Peer = Literal["sentence-transformers", "openvino"]
PEERS: tuple[Peer, ...] = ("sentence-transformers", "openvino")

MIN_RATIO: dict[tuple[str, Precision], dict[Peer, float]] = {
    # How often the speed of each peer is wanted.
    ("all-minilm-l6-v2", "bf16"): {"sentence-transformers": 3.4, "openvino": 1.7},
    ("multilingual-e5-small", "int8"): {"sentence-transformers": 3.7, "openvino": 2.3},
    (ticket_encoder.NAME, "int8"): {"sentence-transformers": 3.7, "openvino": 2.3},
}
UNTIL = date(2026, 3, 1)
WARM_UP_TEXTS = 32
PEER_BATCH_TEXTS = 32


class PeerError(TicketAssetsError):
    """What the encoder is compared with is not installed."""


@dataclass(frozen=True)
class EncodingSpeed:
    """Texts per second on all cores, the median round of each, tokenising included."""

    model: str
    precision: Precision
    path: str
    """Which library computes, and why where it is not OpenVINO."""
    cores: int
    texts: int
    tokens_per_text: float
    texts_per_second: float
    peers: dict[Peer, float]
    """sentence-transformers as it is by default (fp32, 32 texts a batch); OpenVINO as its
    documentation calls it, in bf16 where the CPU has it, with 32 texts a batch in their order."""
    least_cosine: float
    """To the fp32 vectors of transformers, over all texts."""

    def ratio(self, peer: Peer) -> float:
        return self.texts_per_second / self.peers[peer]


def sample_texts(count: int) -> list[str]:
    """Subject and body of that many requests in the sample mailbox."""
    texts: list[str] = []
    for mail in generate(messages=2 * count + 64, days=60, until=UNTIL):
        if mail.group == "ticket" and len(texts) < count:
            texts.append(_subject_and_body(mail.content))
    return texts


def encoding_speed(
    texts: Sequence[str],
    model: EncoderModel,
    *,
    precision: RequestedPrecision = "auto",
    max_tokens: int = 256,
    rounds: int = 3,
    peers: Sequence[Peer] = PEERS,
) -> EncodingSpeed:
    """The speed of the encoder and of its peers, taken in turns, `rounds` times, warm.

    Raises:
        PeerError: a peer is not installed.
        EncoderError: the model cannot be loaded.
    """
    chosen = accepted(model, candidates(precision))
    encoder = load_encoder(model, chosen, max_tokens=max_tokens)
    max_tokens = min(max_tokens, model.max_tokens)
    prefixed = [model.prefix + text for text in texts]
    work: dict[str, tuple[Encode, Sequence[str]]] = {"product": (encoder.encode, texts)}
    if "sentence-transformers" in peers:
        work["sentence-transformers"] = _sentence_transformers(model, max_tokens), prefixed
    if "openvino" in peers:
        work["openvino"] = _openvino(model, max_tokens), prefixed
    for encode, given in work.values():
        encode(given[:WARM_UP_TEXTS])

    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, (encode, given) in work.items():
            started = time.perf_counter()
            encode(given)
            seconds[name].append(time.perf_counter() - started)

    plain = TransformersBackend(model, "fp32", max_tokens)
    reference = Encoder(model, plain, precision="fp32", max_tokens=max_tokens)
    cosines = np.einsum("nd,nd->n", encoder.encode(texts), reference.encode(texts))
    return EncodingSpeed(
        model=model.name,
        precision=encoder.precision,
        path=encoder.path,
        cores=available_cores(),
        texts=len(texts),
        tokens_per_text=float(np.mean([len(ids) for ids in reference.token_ids(texts)])),
        texts_per_second=len(texts) / median(seconds["product"]),
        peers={peer: len(texts) / median(seconds[peer]) for peer in peers},
        least_cosine=float(cosines.min()),
    )


def lines(speed: EncodingSpeed) -> Iterator[Line]:
    """The figures for the benchmark's table."""
    what = f"{speed.model}, {speed.precision}"
    here = f"{speed.texts_per_second:,.0f} texts/s"
    wanted = MIN_RATIO.get((speed.model, speed.precision), {})
    for peer, rate in speed.peers.items():
        least, ratio = wanted.get(peer), speed.ratio(peer)
        yield Line(
            "encoding",
            f"{what} (peer: {peer}; {speed.tokens_per_text:.0f} tokens a text)",
            here,
            f"{rate:,.0f} texts/s",
            ratio,
            "" if least is None else f"≥ {least:,.4g}",
            None if least is None else ratio >= least,
        )
    yield Line(
        "encoding",
        f"{what}, least cosine to fp32",
        f"{speed.least_cosine:.5f}",
        wanted=f"≥ {LEAST_COSINE[speed.precision]}",
        met=speed.least_cosine >= LEAST_COSINE[speed.precision],
    )


def _subject_and_body(content: bytes) -> str:
    from email import message_from_bytes
    from email.policy import default

    message = message_from_bytes(content, policy=default)
    body = message.get_body(("plain", "html"))
    return f"{message['subject']}\n{body.get_content() if body else ''}"


def _sentence_transformers(model: EncoderModel, max_tokens: int) -> Encode:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise _not_installed("sentence-transformers") from error
    peer = SentenceTransformer(str(model.folder), device="cpu", local_files_only=True)
    peer.max_seq_length = max_tokens

    def encode(texts: Sequence[str]) -> Vectors:
        vectors: Vectors = peer.encode(
            list(texts), normalize_embeddings=True, show_progress_bar=False
        )
        return vectors

    return encode


def _openvino(model: EncoderModel, max_tokens: int) -> Encode:
    """What a user writes who follows OpenVINO's documentation: 32 texts a batch, in their order."""
    import openvino

    backend = TransformersBackend(model, "fp32", max_tokens)
    tokenizer: Any = backend.tokenizer
    compiled = openvino.Core().compile_model(
        folder_of(model, "fp32") / NETWORK,
        "CPU",
        {"INFERENCE_PRECISION_HINT": "bf16" if native_bf16() else "f32"},
    )

    def encode(texts: Sequence[str]) -> Vectors:
        vectors = []
        for start in range(0, len(texts), PEER_BATCH_TEXTS):
            batch = tokenizer(
                list(texts[start : start + PEER_BATCH_TEXTS]),
                padding=True,
                truncation=True,
                max_length=max_tokens,
                return_tensors="np",
            )
            mask = batch["attention_mask"].astype(np.int64)
            hidden = compiled([batch["input_ids"].astype(np.int64), mask])[0]
            sums = np.einsum("btd,bt->bd", hidden, mask.astype(np.float32))
            vectors.append(sums / np.linalg.norm(sums, axis=1, keepdims=True))
        return np.concatenate(vectors)

    return encode


def _not_installed(package: str) -> PeerError:
    return PeerError(
        f"{package}, which the encoder is compared with, is not installed:"
        " pip install 'ticket-assets[bench]'"
    )
