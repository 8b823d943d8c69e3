"""Turns texts into unit vectors with a transformer encoder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ticket_assets.embedding.errors import EncoderError
from ticket_assets.embedding.hardware import Precision
from ticket_assets.embedding.presets import EncoderModel
from ticket_assets.free_memory import give_back_free_memory

if TYPE_CHECKING:
    from ticket_assets.embedding.backends import Backend

Vectors = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]
"""Called with the number of texts done and their total."""

CPU_BATCH_TOKENS = 1024
"""A core's share of the caches: products are no faster with more, and there is less padding."""

_CHUNK_TEXTS = 4096
"""Texts that are sorted by length together, which leaves little padding in batches."""
LENGTH_STEP = 8
"""Lengths of batches are multiples of it. OpenVINO prepares each shape that is new to it and keeps
that: with every length it took 10 % of the time, and 300 MB after 2,000 tickets."""
_TOKENISED_TEXTS = 512
"""Texts that are tokenised while the preceding ones are encoded."""
_GIVEN_BACK_TEXTS = 256
"""Texts after which freed memory is returned: tensors of different sizes leave gaps in it."""
_REPEATED_PER_STREAM = 2
"""Batches of each shape of which a text is computed twice: those in which each stream meets it."""
_SAME_VECTOR = 0.14
"""Distance within which a text's two vectors are the same: a cosine of 0.99. Rounding makes less of
it, and vectors of other texts are 0.3 and more apart."""
_COMPUTED_BY = "openvino"
"""Part of the key of vectors. Change it when the same weights give other vectors."""


class Encoder:
    """A loaded encoder; `configured.load_encoder` makes one.

    A vector does not depend on the texts that are encoded together with it, but for the rounding of
    sums over more or less padding: cosines of 0.999999 in fp32.
    """

    def __init__(
        self,
        model: EncoderModel,
        backend: Backend,
        *,
        precision: Precision,
        max_tokens: int,
        batch_tokens: int = CPU_BATCH_TOKENS,
    ) -> None:
        self.dimension = model.dimension
        self.precision = precision
        self.model_id = model_id(model, precision, max_tokens)
        self.path = backend.path
        """The library that computes, with the reason where it is not OpenVINO."""
        self.streams = backend.streams
        """The number of batches that are computed at the same time."""
        self.load_seconds = 0.0
        self._model = model
        self._backend = backend
        self._max_tokens = min(max_tokens, model.max_tokens)
        self._batch_tokens = batch_tokens
        self._repeated: Counter[tuple[int, int]] = Counter()
        """Of how many batches of a shape a text was computed twice."""

    def encode(self, texts: Sequence[str], on_progress: Progress | None = None) -> Vectors:
        """Vectors of unit length, shape (len(texts), dimension), in the order of `texts`.

        Raises:
            EncoderError: the same text gets one vector and then another.
        """
        vectors = np.empty((len(texts), self.dimension), np.float32)
        done = given_back = 0

        def advance(count: int) -> None:
            nonlocal done, given_back
            done += count
            if done - given_back >= _GIVEN_BACK_TEXTS:
                give_back_free_memory()
                given_back = done
            if on_progress is not None:
                on_progress(done, len(texts))

        # With a batch per core the cores need no synchronisation; one batch for all would.
        pool = ThreadPoolExecutor(self.streams, "encoder")
        try:
            for start in range(0, len(texts), _CHUNK_TEXTS):
                chunk = texts[start : start + _CHUNK_TEXTS]
                part = vectors[start : start + len(chunk)]
                if self._encode_chunk(pool, chunk, part, advance):
                    continue
                self._backend.reload()
                self._repeated.clear()
                if not self._encode_chunk(pool, chunk, part, lambda _: None):
                    raise EncoderError(
                        f"{self.path} gives the same text one vector and then another, also after"
                        " the encoder was loaded anew: none was kept. Start again; if that does not"
                        " help, look at the memory of this machine."
                    )
        finally:
            # After an error or Ctrl-C the remaining batches are not computed.
            pool.shutdown(cancel_futures=True)
        return vectors

    def _encode_chunk(
        self,
        pool: ThreadPoolExecutor,
        texts: Sequence[str],
        vectors: Vectors,
        advance: Callable[[int], None],
    ) -> bool:
        """Fills in the vectors; whether those that were computed twice are the same."""
        rows_of: dict[Future[Vectors], list[int]] = {}
        repeated: dict[int, list[int]] = {}
        for rows, tokens in self._batches(texts):
            rows_of[pool.submit(self._encode_batch, tokens)] = rows
            shape = self._shape(tokens)
            if self._repeated[shape] < _REPEATED_PER_STREAM * self.streams:
                self._repeated[shape] += 1
                repeated[rows[0]] = tokens[0]
        for batch in as_completed(rows_of):
            rows = rows_of[batch]
            vectors[rows] = batch.result()
            advance(len(rows))
        # One batch, or one at a time, has nothing to be disturbed by.
        return min(len(rows_of), self.streams) < 2 or self._are_repeated(repeated, vectors)

    def _are_repeated(self, tokens_of: Mapping[int, list[int]], vectors: Vectors) -> bool:
        """Whether these rows get the same vectors again, while nothing else is computed.

        OpenVINO lays out weights when it meets a shape, for all streams. Of some thousand runs on
        busy cores one had a batch whose 16 vectors had nothing to do with their texts (cosines
        around 0), and a model was trained on them.
        """
        rows, tokens = list(tokens_of), list(tokens_of.values())
        return all(
            np.linalg.norm(
                self._encode_batch([tokens[index] for index in batch])
                - vectors[[rows[index] for index in batch]],
                axis=1,
            ).max()
            < _SAME_VECTOR
            for batch in batches_by_length(self._padded_lengths(tokens), self._batch_tokens)
        )

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text's tokens, at least one."""
        tokens = self._backend.tokenize([self._model.prefix + text for text in texts])
        # Without special tokens an empty text has none at all; the mean needs one.
        return [ids or [self._backend.padding_id] for ids in tokens]

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], list[list[int]]]]:
        """Batches of similar length, the longest first: positions in `texts`, and token ids.

        So a batch too large for the memory fails at once, and the streams end at the same time.
        """
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]), reverse=True)
        for start in range(0, len(order), _TOKENISED_TEXTS):
            rows = order[start : start + _TOKENISED_TEXTS]
            tokens = self.token_ids([texts[row] for row in rows])
            for batch in batches_by_length(self._padded_lengths(tokens), self._batch_tokens):
                yield [rows[index] for index in batch], [tokens[index] for index in batch]

    def _padded_lengths(self, tokens: Sequence[list[int]]) -> list[int]:
        return [min(padded_length(len(ids)), self._max_tokens) for ids in tokens]

    def _shape(self, tokens: list[list[int]]) -> tuple[int, int]:
        return len(tokens), max(self._padded_lengths(tokens))

    def _encode_batch(self, tokens: list[list[int]]) -> Vectors:
        _, length = self._shape(tokens)
        ids, mask = padded_batch(tokens, length, self._backend.padding_id)
        hidden = self._backend.hidden_states(ids, mask)
        if self._model.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            # The direction of the sum is that of the mean.
            pooled = np.matmul(mask.astype(np.float32)[:, None], hidden)[:, 0]
        cut = pooled[:, : self.dimension]
        unit: Vectors = cut / np.linalg.norm(cut, axis=1, keepdims=True).clip(1e-12)
        return unit


def model_id(model: EncoderModel, precision: Precision, max_tokens: int) -> str:
    """The key under which vectors are stored; vectors of equal keys are interchangeable.

    Like `multilingual-e5-small@1571fc982750-openvino/bf16/256`, with `/128` at the end where
    vectors are cut to 128 numbers.
    """
    tokens = min(max_tokens, model.max_tokens)
    cut = f"/{model.dimension}" if model.dimension < model.hidden_size else ""
    return f"{model.name}@{model.revision}-{_COMPUTED_BY}/{precision}/{tokens}{cut}"


def padded_length(tokens: int) -> int:
    """The length of a batch whose longest text has so many tokens."""
    return -(-tokens // LENGTH_STEP) * LENGTH_STEP


def padded_batch(
    tokens: Sequence[list[int]], length: int, padding_id: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Token ids and the mask of those that are no padding, both of shape (len(tokens), length)."""
    ids = np.full((len(tokens), length), padding_id, np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(tokens):
        ids[row, : len(text)] = text
        mask[row, : len(text)] = 1
    return ids, mask


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
