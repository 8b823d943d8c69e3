"""Turns texts into unit vectors with a transformer encoder."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ticket_assets.cores import available_cores
from ticket_assets.embedding.agreement import Circumstances, is_recorded, record
from ticket_assets.embedding.encoder_files import (
    EncoderParts,
    fused_forward,
    has_parts,
    read_parts,
    read_quantised,
)
from ticket_assets.embedding.errors import EncoderError, NotFusableError
from ticket_assets.embedding.hardware import (
    Precision,
    RequestedPrecision,
    choose_precision,
    floats,
)
from ticket_assets.embedding.presets import EncoderModel
from ticket_assets.free_memory import give_back_free_memory

if TYPE_CHECKING:
    import torch

    from ticket_assets.embedding.encoder_files import Quantised

Vectors = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]
"""Called with the number of texts done and their total."""

CPU_BATCH_TOKENS = 1024
"""A core's share of the caches: products are no faster with more, and there is less padding."""
GPU_BATCH_TOKENS = 16_384

_CHUNK_TEXTS = 4096
"""Texts that are sorted by length together, which leaves little padding in batches."""
_TOKENISED_TEXTS = 512
"""Texts that are tokenised while the preceding ones are encoded."""
_GIVEN_BACK_TEXTS = 256
"""Texts after which freed memory is returned: tensors of different sizes leave gaps in it."""

_LEAST_AGREEMENT = 0.9995
"""Smallest cosine between the two forward passes; bf16's rounding alone leaves 0.9998."""
_LEAST_INT8_AGREEMENT = 0.999
"""Smallest cosine to fp32 of vectors in int8."""
_CHECK_TEXTS = (
    "VPN\nLa connexion VPN tombe toutes les dix minutes depuis la mise à jour de ce matin.",
    "The invoice of March was charged twice, please refund one of the two payments. " * 4,
    "Passwort",
    "",
    " \t\n\u00a0\u200b\u0007 ",
    "ÉCRAN NOIR À L’ALLUMAGE — Straße, ſ, ﬁ, e\u0301, ½, ＶＰＮ",
    "Le 🖥️ ne s'allume plus 😡👩🏽‍💻",
    "无法连接VPN，请帮忙。パスワード 암호 пароль كلمة السر",
    "<s> </s> <mask> <pad> <unk> [CLS] [SEP] [MASK] [PAD] [UNK]",
    "jean.dupont@example.org https://example.org/a?b=1&c=%20 PC-40012 0x80070005 ####",
    "imprimante " * 600,  # longer than any encoder of this kind takes
)
"""Texts whose vectors are compared, and whose token ids must be equal."""


class Encoder:
    """A loaded encoder.

    A vector does not depend on the texts that are encoded together with it, nor by a bit on the
    number of cores: one thread computes a batch, while other threads compute other batches.
    """

    def __init__(
        self,
        model: EncoderModel,
        parts: EncoderParts,
        path: str,
        *,
        precision: Precision,
        device: str,
        max_tokens: int,
        batch_tokens: int,
        streams: int,
    ) -> None:
        self.dimension = model.dimension
        self.precision = precision
        self.model_id = model_id(model, precision, max_tokens)
        self.path = path
        """The forward pass in use, with the reason where it is not the fused one."""
        self.load_seconds = 0.0
        self.streams = streams
        """The number of batches that are computed at the same time."""
        self._model = model
        self._parts = parts
        self._device = device
        self._batch_tokens = batch_tokens

    @classmethod
    def load(
        cls,
        model: EncoderModel,
        *,
        precision: RequestedPrecision = "auto",
        max_tokens: int = 256,
        batch_tokens: int | None = None,
        threads: int | None = None,
        fused: bool = True,
        checked: Path | None = None,
    ) -> Encoder:
        """The encoder in `model.folder`, on the GPU when there is one.

        Args:
            precision: the weights' number format; `auto` as in `choose_precision`.
            max_tokens: longer texts are cut to this many, special tokens included.
            batch_tokens: most tokens per batch, padding included (a longer text is a batch).
                None: `CPU_BATCH_TOKENS` or `GPU_BATCH_TOKENS`.
            threads: CPU threads, each with a batch of its own; None: `available_cores`.
            fused: use `FusedBert` where it knows the architecture and its vectors agree with
                those of transformers on a few texts.
            checked: folder with the records of encoders that agreed, which are then loaded without
                transformers. None: compare now, and record nothing.

        Raises:
            EncoderError: the folder's files are not those of a usable encoder, or int8 was
                requested and is not possible with this encoder or on this machine.
        """
        import torch

        started = time.monotonic()
        chosen = choose_precision(precision, int8=model.int8 and fused)
        tokens = min(max_tokens, model.max_tokens)
        on_gpu = torch.cuda.is_available()
        device = "cuda" if on_gpu else "cpu"

        def make(parts: EncoderParts, path: str) -> Encoder:
            return cls(
                model,
                parts,
                path,
                precision=chosen,
                device=device,
                max_tokens=max_tokens,
                batch_tokens=batch_tokens or (GPU_BATCH_TOKENS if on_gpu else CPU_BATCH_TOKENS),
                streams=1 if on_gpu else threads or available_cores(),
            )

        if on_gpu or not fused:
            tokenizer, network = load_network(model, chosen)
            parts = _transformers_parts(tokenizer, network.to(device), tokens)
            encoder = make(parts, "transformers (on the GPU)" if on_gpu else "transformers")
        elif checked is None:
            encoder = _compared(make, model, chosen, tokens).encoder
        else:
            encoder = _remembered(make, model, chosen, tokens, checked)
        encoder.load_seconds = time.monotonic() - started
        return encoder

    def encode(self, texts: Sequence[str], on_progress: Progress | None = None) -> Vectors:
        """Vectors of unit length, shape (len(texts), dimension), in the order of `texts`."""
        import torch

        vectors = np.empty((len(texts), self.dimension), np.float32)
        done = given_back = 0
        # With a batch per core the cores need no synchronisation; one batch for all would.
        pool = ThreadPoolExecutor(
            self.streams, "encoder", initializer=torch.set_num_threads, initargs=(1,)
        )
        try:
            for start in range(0, len(texts), _CHUNK_TEXTS):
                chunk = texts[start : start + _CHUNK_TEXTS]
                rows_of: dict[Future[Vectors], list[int]] = {
                    pool.submit(self._encode_batch, tokens): rows
                    for rows, tokens in self._batches(chunk)
                }
                for batch in as_completed(rows_of):
                    rows = rows_of[batch]
                    vectors[start:][rows] = batch.result()
                    done += len(rows)
                    if done - given_back >= _GIVEN_BACK_TEXTS:
                        give_back_free_memory()
                        given_back = done
                    if on_progress is not None:
                        on_progress(done, len(texts))
        finally:
            # After an error or Ctrl-C the remaining batches are not computed.
            pool.shutdown(cancel_futures=True)
            # The pool's threads have changed a part of PyTorch's thread count, the process's.
            torch.set_num_threads(torch.get_num_threads())
        return vectors

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], list[list[int]]]]:
        """Batches of similar length, the longest first: positions in `texts`, and token ids.

        So a batch too large for the memory fails at once, and the streams end at the same time.
        """
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]), reverse=True)
        for start in range(0, len(order), _TOKENISED_TEXTS):
            rows = order[start : start + _TOKENISED_TEXTS]
            tokens = self.token_ids([texts[row] for row in rows])
            for batch in batches_by_length([len(ids) for ids in tokens], self._batch_tokens):
                yield [rows[index] for index in batch], [tokens[index] for index in batch]

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text's tokens, at least one."""
        tokens = self._parts.tokenize([self._model.prefix + text for text in texts])
        # Without special tokens an empty text has none at all; the mean needs one.
        return [ids or [self._parts.padding_id] for ids in tokens]

    def _encode_batch(self, tokens: list[list[int]]) -> Vectors:
        import torch
        from torch.nn import functional

        lengths = torch.tensor([len(ids) for ids in tokens])
        ids = torch.full((len(tokens), int(lengths.max())), self._parts.padding_id)
        for row, text in enumerate(tokens):
            ids[row, : len(text)] = torch.tensor(text)
        ids, lengths = ids.to(self._device), lengths.to(self._device)
        with torch.inference_mode():
            hidden = self._parts.forward(ids, lengths)
            if self._model.pooling == "cls":
                pooled = hidden[:, 0].float()
            else:
                # In fp32, since a sum of some hundred bf16 numbers keeps two digits.
                weights = _own_tokens(ids, lengths) / lengths[:, None]
                pooled = torch.einsum("btd,bt->bd", hidden.float(), weights)
            unit: Vectors = functional.normalize(pooled[:, : self.dimension], dim=1).cpu().numpy()
        return unit


def model_id(model: EncoderModel, precision: Precision, max_tokens: int) -> str:
    """The key under which vectors are stored; vectors of equal keys are interchangeable.

    Like `multilingual-e5-small@1571fc982750/bf16/256`, with `/128` at the end where vectors are cut
    to 128 numbers.
    """
    tokens = min(max_tokens, model.max_tokens)
    cut = f"/{model.dimension}" if model.dimension < model.hidden_size else ""
    return f"{model.name}@{model.revision}/{precision}/{tokens}{cut}"


class _Compared(NamedTuple):
    encoder: Encoder
    cosine: float
    """The smallest between its vectors and those of transformers."""
    quantised: Quantised | None


def _remembered(
    make: Callable[[EncoderParts, str], Encoder],
    model: EncoderModel,
    precision: Precision,
    max_tokens: int,
    checked: Path,
) -> Encoder:
    """Straight from its files where `checked` records that this gives the same vectors."""
    circumstances = Circumstances.of_this_process(
        model_id(model, precision, max_tokens), model.prefix
    )
    if is_recorded(circumstances, checked):
        # Files that have changed in the meantime are compared again.
        with contextlib.suppress(NotFusableError):
            weights_path = circumstances.weights_path(checked)
            quantised = read_quantised(weights_path) if precision == "int8" else None
            return make(read_parts(model.folder, precision, max_tokens, quantised), "fused")
    encoder, cosine, quantised = _compared(make, model, precision, max_tokens)
    if encoder.path != "fused" or not has_parts(model.folder):
        return encoder
    ids, vectors = encoder.token_ids(_CHECK_TEXTS), encoder.encode(_CHECK_TEXTS)
    del encoder  # two tokenizers and two tables of words would need twice the memory
    give_back_free_memory()
    with contextlib.suppress(NotFusableError):
        encoder = make(read_parts(model.folder, precision, max_tokens, quantised), "fused")
        same_vectors = np.allclose(encoder.encode(_CHECK_TEXTS), vectors, rtol=0, atol=1e-6)
        if same_vectors and encoder.token_ids(_CHECK_TEXTS) == ids:
            record(circumstances, checked, cosine, quantised)
            return encoder
    return _compared(make, model, precision, max_tokens).encoder


def _compared(
    make: Callable[[EncoderParts, str], Encoder],
    model: EncoderModel,
    precision: Precision,
    max_tokens: int,
) -> _Compared:
    """With the fused pass if its vectors are those of transformers; `path` has the reason if not.

    In int8 there is no other pass, so a difference is an error.
    """
    in_integers = precision == "int8"
    tokenizer, network = load_network(model, "fp32" if in_integers else precision)
    parts = _transformers_parts(tokenizer, network, max_tokens)
    plain = make(parts, "transformers")
    expected = plain.encode(_CHECK_TEXTS)
    cosine = 0.0
    try:
        quantised = _quantised(network, plain) if in_integers else None
        weights, dtype = network.state_dict(), floats(precision)
        forward = fused_forward(
            network.config.to_dict(), lambda name: weights[name].to(dtype), quantised
        )
        fused = make(parts._replace(forward=forward), "fused")
        cosine = float(np.einsum("nd,nd->n", fused.encode(_CHECK_TEXTS), expected).min())
        if cosine >= (_LEAST_INT8_AGREEMENT if in_integers else _LEAST_AGREEMENT):
            return _Compared(fused, cosine, quantised)
        reason = f"the fused vectors differ: cosine {cosine:.4f}"
    except (NotFusableError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
    if in_integers:
        raise EncoderError(
            f"{model.name} cannot be computed in int8 ({reason})."
            " Set TICKETS_ENCODER_PRECISION to bf16 or fp32."
        )
    plain.path = f"transformers ({reason})"
    return _Compared(plain, cosine, None)


def _quantised(network: Any, encoder: Encoder) -> Quantised:
    from ticket_assets.embedding.quantisation import quantise

    # Tickets, and texts that are as unlike them as mail gets.
    lines = Path(__file__).with_name("calibration_texts.txt").read_text("utf-8").splitlines()
    quantised = quantise(network, encoder.token_ids([json.loads(line) for line in lines]))
    give_back_free_memory()  # before a second table of words is loaded
    return quantised


def load_network(model: EncoderModel, precision: Precision) -> tuple[Any, Any]:
    """Tokenizer and network of the model's folder."""
    from safetensors import SafetensorError
    from transformers import AutoModel, AutoTokenizer

    with _quiet_transformers():
        try:
            tokenizer = AutoTokenizer.from_pretrained(model.folder, local_files_only=True)
            network, loading = AutoModel.from_pretrained(
                model.folder,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                dtype=floats(precision),
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise EncoderError(f"Cannot load the encoder {model.folder}: {reason}") from error
    # transformers fills missing weights with random numbers; the pooler's are not used here.
    missing = sorted(name for name in loading["missing_keys"] if "pooler" not in name)
    if missing:
        raise EncoderError(
            f"{model.folder}: the weights lack {missing[0]} and {len(missing) - 1} others."
        )
    network.pooler = None
    return tokenizer, network.eval()


def _transformers_parts(tokenizer: Any, network: Any, max_tokens: int) -> EncoderParts:
    """Tokenizer and forward pass of transformers, for any encoder that it knows."""

    def tokenize(texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = tokenizer(
            texts,
            truncation=True,
            max_length=max_tokens,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        return ids

    def forward(ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        mask = _own_tokens(ids, lengths)
        # A batch without padding needs no mask.
        hidden: torch.Tensor = network(
            input_ids=ids, attention_mask=None if bool(mask.all()) else mask.long()
        ).last_hidden_state
        return hidden

    return EncoderParts(tokenize, tokenizer.pad_token_id or 0, forward)


def _own_tokens(ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Mask of the padded `ids` that belong to a text, shape (texts, tokens)."""
    import torch

    return torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]


def batches_by_length(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices in batches of similar length, each within `budget` tokens with its padding."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        # The first text of a batch is its longest, so it sets the padded length.
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Without transformers' progress bars and its table of unused weights."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
