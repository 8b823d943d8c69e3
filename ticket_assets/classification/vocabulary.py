"""Which words the training texts know, and how much of a new text they do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ticket_assets.classification.features import Floats

Vocabulary = Mapping[str, int]
"""Each token with the number of distinct training texts it occurs in."""


def build_vocabulary(tokens: Sequence[str]) -> dict[str, int]:
    """Document frequencies over distinct texts, tokens in alphabetical order."""
    counts: Counter[str] = Counter()
    for text in set(tokens):
        counts.update(set(text.split()))
    return dict(sorted(counts.items()))


def oov_share(tokens: Sequence[str], vocabulary: Vocabulary) -> Floats:
    """Per text the share of its tokens that no training text has; 0 for a text without tokens."""
    return _share_below(tokens, vocabulary, 1)


def leave_one_out_oov_share(tokens: Sequence[str], vocabulary: Vocabulary) -> Floats:
    """Per training text the share of its tokens that no *other* training text has."""
    return _share_below(tokens, vocabulary, 2)


def _share_below(tokens: Sequence[str], vocabulary: Vocabulary, least: int) -> Floats:
    shares = np.zeros(len(tokens))
    for position, text in enumerate(tokens):
        words = text.split()
        if words:
            unknown = sum(vocabulary.get(word, 0) < least for word in words)
            shares[position] = unknown / len(words)
    return shares


def vocabulary_frame(vocabulary: Vocabulary) -> pd.DataFrame:
    """Columns token, document_frequency."""
    return pd.DataFrame(
        {
            "token": pd.Series(list(vocabulary), dtype="object"),
            "document_frequency": np.fromiter(vocabulary.values(), np.int32, len(vocabulary)),
        }
    )


def vocabulary_from_frame(frame: pd.DataFrame) -> dict[str, int]:
    return dict(zip(frame["token"], frame["document_frequency"].astype(int), strict=True))
