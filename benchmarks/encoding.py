"""Speed of the encoder beside sentence-transformers and OpenVINO, on the same texts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from benchmarks.table import Line
from ticket_assets.cores import available_cores
from ticket_assets.embedding.encoder import (
    CPU_BATCH_TOKENS,
    Encoder,
    Vectors,
    batches_by_length,
    load_network,
)
from ticket_assets.embedding.hardware import Precision, RequestedPrecision, floats
from ticket_assets.embedding.presets import EncoderModel
from ticket_assets.errors import TicketAssetsError
from ticket_assets.sample.mailbox import generate

if TYPE_CHECKING:
    import torch

Encode = Callable[[Sequence[str]], Vectors]
Peer = Literal["sentence-transformers", "openvino"]
PEERS: tuple[Peer, ...] = ("sentence-transformers", "openvino")

MIN_COSINE = 0.999
MIN_RATIO = {  # (model, precision): how often sentence-transformers' speed is wanted
    ("all-minilm-l6-v2", "bf16"): 5.5,
    ("all-minilm-l6-v2", "fp32"): 1.6,
    ("multilingual-e5-small", "bf16"): 4.0,
    ("multilingual-e5-small", "int8"): 4.0,
}
UNTIL = date(2026, 3, 1)
WARM_UP_TEXTS = 32


class PeerError(TicketAssetsError):
    """What the encoder is compared with is not installed."""


@dataclass(frozen=True)
class EncodingSpeed:
    """Texts per second on all cores, the best round of each, tokenising included."""

    model: str
    precision: Precision
    path: str
    """Which forward pass the encoder takes."""
    cores: int
    texts: int
    tokens_per_text: float
    texts_per_second: float
    peers: dict[Peer, float]
    """sentence-transformers as it is by default (fp32, 32 texts a batch); OpenVINO in bf16 with
    a stream per core, on batches of similar length."""
    least_cosine: float
    """To the fp32 vectors of transformers, over all texts."""
    gflop_per_text: float
    """Of the matrix products over a text's own tokens."""
    peak_gflops: float
    """Of `torch.mm` at the model's shapes and in its floating-point numbers, on all cores."""

    @property
    def peak_share(self) -> float:
        return self.texts_per_second * self.gflop_per_text / self.peak_gflops

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
    encoder = Encoder.load(model, precision=precision, max_tokens=max_tokens)
    tokenizer, network = load_network(model, "fp32")
    max_tokens = min(max_tokens, model.max_tokens)
    prefixed = [model.prefix + text for text in texts]
    work: dict[str, tuple[Encode, Sequence[str]]] = {"product": (encoder.encode, texts)}
    if "sentence-transformers" in peers:
        work["sentence-transformers"] = _sentence_transformers(model, max_tokens), prefixed
    if "openvino" in peers:
        work["openvino"] = _openvino(network, tokenizer, max_tokens, encoder.streams), prefixed
    for encode, given in work.values():
        encode(given[:WARM_UP_TEXTS])

    seconds = dict.fromkeys(work, float("inf"))
    peak = 0.0
    for _ in range(rounds):
        for name, (encode, given) in work.items():
            started = time.perf_counter()
            encode(given)
            seconds[name] = min(seconds[name], time.perf_counter() - started)
        peak = max(peak, _peak_gflops(network.config, encoder.precision, encoder.streams))

    reference = Encoder.load(model, precision="fp32", max_tokens=max_tokens, fused=False)
    cosines = np.einsum("nd,nd->n", encoder.encode(texts), reference.encode(texts))
    lengths = np.array(
        [len(ids) for ids in tokenizer(prefixed, truncation=True, max_length=max_tokens).input_ids]
    )
    return EncodingSpeed(
        model=model.name,
        precision=encoder.precision,
        path=encoder.path,
        cores=available_cores(),
        texts=len(texts),
        tokens_per_text=float(lengths.mean()),
        texts_per_second=len(texts) / seconds["product"],
        peers={peer: len(texts) / seconds[peer] for peer in peers},
        least_cosine=float(cosines.min()),
        gflop_per_text=_gflop_per_text(network.config, lengths),
        peak_gflops=peak,
    )


def lines(speed: EncodingSpeed) -> Iterator[Line]:
    """The figures for the benchmark's table."""
    what = f"{speed.model}, {speed.precision}"
    here = f"{speed.texts_per_second:,.0f} texts/s"
    wanted = {
        "sentence-transformers": MIN_RATIO.get((speed.model, speed.precision)),
        "openvino": None if speed.precision == "fp32" else 1.0,
    }
    for peer, rate in speed.peers.items():
        least, ratio = wanted[peer], speed.ratio(peer)
        yield Line(
            "encoding",
            f"{what} (peer: {peer})",
            here,
            f"{rate:,.0f} texts/s",
            ratio,
            "" if least is None else f"≥ {least:,.4g}",
            None if least is None else ratio >= least,
        )
    yield Line(
        "encoding",
        f"{what}, share of the floating-point peak ({speed.tokens_per_text:.0f} tokens a text)",
        f"{speed.peak_share:.0%} of {speed.peak_gflops:,.0f} GFLOP/s",
    )
    yield Line(
        "encoding",
        f"{what}, least cosine to fp32",
        f"{speed.least_cosine:.5f}",
        wanted=f"≥ {MIN_COSINE}",
        met=speed.least_cosine >= MIN_COSINE,
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


def _openvino(network: Any, tokenizer: Any, max_tokens: int, streams: int) -> Encode:
    """OpenVINO in bf16, its throughput hint, a stream per core, and batches like the encoder's."""
    try:
        import openvino
    except ImportError as error:
        raise _not_installed("openvino") from error
    import torch

    class HiddenStates(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            return self.network(
                input_ids=input_ids, attention_mask=attention_mask
            ).last_hidden_state

    example = torch.ones(2, 8, dtype=torch.long)
    compiled = openvino.Core().compile_model(
        openvino.convert_model(HiddenStates(), example_input=(example, example)),
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "bf16",
            "PERFORMANCE_HINT": "THROUGHPUT",
            "NUM_STREAMS": streams,
        },
    )
    queue = openvino.AsyncInferQueue(compiled, 2 * streams)

    def encode(texts: Sequence[str]) -> Vectors:
        tokens = tokenizer(list(texts), truncation=True, max_length=max_tokens)["input_ids"]
        vectors = np.empty((len(texts), network.config.hidden_size), np.float32)

        def pool(request: Any, batch: tuple[list[int], Any]) -> None:
            rows, mask = batch
            sums = np.einsum("btd,bt->bd", request.get_output_tensor().data, mask)
            vectors[rows] = sums / np.linalg.norm(sums, axis=1, keepdims=True)

        queue.set_callback(pool)
        for rows in batches_by_length([len(text) for text in tokens], CPU_BATCH_TOKENS):
            shape = (len(rows), len(tokens[rows[0]]))
            ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
            for row, index in enumerate(rows):
                ids[row, : len(tokens[index])] = tokens[index]
                mask[row, : len(tokens[index])] = 1
            queue.start_async({0: ids, 1: mask}, (rows, mask.astype(np.float32)))
        queue.wait_all()
        return vectors

    return encode


def _not_installed(package: str) -> PeerError:
    return PeerError(
        f"{package}, which the encoder is compared with, is not installed:"
        " pip install 'ticket-assets[bench]'"
    )


def _gflop_per_text(config: Any, lengths: np.ndarray[Any, Any]) -> float:
    """Multiplications and additions in matrix products over own tokens, without padding.

    Per token and layer 4 products of width x width and 2 with the wide layer; per text and layer
    2 products of tokens x tokens x width.
    """
    hidden, wide, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    per_token = 2 * (4 * hidden**2 + 2 * hidden * wide)
    attention = 2 * 2 * float((lengths.astype(float) ** 2).mean()) * hidden
    return float(layers * (lengths.mean() * per_token + attention)) / 1e9


def _peak_gflops(config: Any, precision: Precision, cores: int, repeats: int = 12) -> float:
    """Speed of `torch.mm` on a layer's matrices, each core multiplying its own; best of several."""
    import torch

    hidden, wide = config.hidden_size, config.intermediate_size
    shapes = [(hidden, 3 * hidden), (hidden, hidden), (hidden, wide), (wide, hidden)]
    number = floats(precision)

    def multiply(_: int) -> float:
        pairs = [
            (torch.randn(CPU_BATCH_TOKENS, into).to(number), torch.randn(into, out).to(number))
            for into, out in shapes
        ]
        best = float("inf")
        for _repeat in range(repeats):
            started = time.perf_counter()
            for left, right in pairs:
                torch.mm(left, right)
            best = min(best, time.perf_counter() - started)
        return best

    with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        seconds = list(pool.map(multiply, range(cores)))
    # Part of PyTorch's thread count is the process's; the peers take all cores.
    torch.set_num_threads(torch.get_num_threads())
    operations = 2 * CPU_BATCH_TOKENS * sum(into * out for into, out in shapes)
    return float(sum(operations / each for each in seconds)) / 1e9
