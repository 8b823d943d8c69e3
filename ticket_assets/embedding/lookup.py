"""Vectors are looked up before they are computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ticket_assets.embedding.encoder import Encoder, Progress, Vectors
from ticket_assets.embedding.errors import EncoderError


def encode_missing(
    text_hashes: Sequence[str],
    texts: Sequence[str],
    known: Mapping[str, Vectors],
    *,
    dimension: int,
    load_encoder: Callable[[], Encoder],
    on_progress: Progress | None = None,
) -> tuple[Vectors, int]:
    """Vectors of `texts` in their order, shape (len(texts), dimension), and how many were encoded.

    A text that occurs several times is encoded once. `load_encoder` is only called when a vector
    is missing, since loading takes seconds.

    Args:
        text_hashes: the hash of each text.
        known: stored vectors by text hash, made under the model id of the encoder to be loaded.
        dimension: `EncoderModel.dimension`.

    Raises:
        EncoderError: a known vector or the encoder has another dimension.
    """
    missing = {
        text_hash: text
        for text_hash, text in zip(text_hashes, texts, strict=True)
        if text_hash not in known
    }
    computed: dict[str, Vectors] = {}
    if missing:
        encoded = load_encoder().encode(list(missing.values()), on_progress)
        computed = dict(zip(missing, encoded, strict=True))

    vectors = np.empty((len(texts), dimension), np.float32)
    for row, text_hash in enumerate(text_hashes):
        vector = computed[text_hash] if text_hash in computed else known[text_hash]
        if vector.shape != (dimension,):
            raise EncoderError(
                f"The vector of text {text_hash[:12]} has shape {vector.shape}, expected"
                f" ({dimension},). Were the stored vectors made by another encoder?"
            )
        vectors[row] = vector
    return vectors, len(missing)
