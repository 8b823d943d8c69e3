"""The numbers a classifier reads: weighted terms, the centred embedding, impact and urgency.

Terms are hashed, so counting them needs no fitted vocabulary: a data set is counted once and every
cross-validation fold only reweights its own rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.preprocessing import normalize

from ticket_assets.classification.impact_urgency import impact_urgency

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.integer[Any]]
Booleans = npt.NDArray[np.bool_]

TERM_BUCKETS = 2**20
"""With some 60,000 distinct terms in 2,000 tickets, about 3 % share their bucket with another."""
CHARACTERS_READ = 4000
"""Longer texts (pasted logs, mostly) are cut: their tail costs time and decides nothing."""
KINDS = ("words", "characters")


@cache
def term_counter(kind: str) -> HashingVectorizer:
    """The counter of one kind of term: words and word pairs, or 3 to 4 characters of a word.

    Character terms carry typing mistakes, inflections and compounds. Lengths 3 to 4 scored as well
    as 3 to 5 on German and English tickets, for two thirds of the time.
    """
    terms = (
        {"analyzer": "word", "ngram_range": (1, 2)}
        if kind == "words"
        else {"analyzer": "char_wb", "ngram_range": (3, 4)}
    )
    return HashingVectorizer(
        **terms, n_features=TERM_BUCKETS, alternate_sign=False, norm=None, dtype=np.float32
    )


@dataclass(frozen=True)
class TermCounts:
    """Occurrences of each hashed term in each text: per kind a sparse (rows, buckets) matrix."""

    blocks: dict[str, Any]
    impact_urgency: Floats
    """What each text says of its impact and urgency, shape (rows, 6)."""

    def rows(self, rows: Integers) -> TermCounts:
        blocks = {kind: block[rows] for kind, block in self.blocks.items()}
        return TermCounts(blocks, self.impact_urgency[rows])


def count_terms(texts: Sequence[str]) -> TermCounts:
    """Term occurrences of the first `CHARACTERS_READ` characters of each text."""
    read = [text[:CHARACTERS_READ] for text in texts]
    blocks = {"words": term_counter("words").transform(read), "characters": _characters(read)}
    return TermCounts(blocks, impact_urgency(read))


def _characters(texts: Sequence[str]) -> Any:
    """What the counter of character terms counts, in less than half the time: its terms never
    cross words, which come back in text after text, so those of each word are hashed once."""
    places: dict[str, int] = {}
    found = [
        [places.setdefault(word, len(places)) for word in text.lower().split()] for text in texts
    ]
    if not places:
        return term_counter("characters").transform(texts)
    ends = np.cumsum([0, *map(len, found)])
    columns = np.fromiter(chain.from_iterable(found), np.int32, ends[-1])
    words = sparse.csr_matrix(
        (np.ones(len(columns), np.float32), columns, ends), shape=(len(texts), len(places))
    )
    counts = words @ term_counter("characters").transform(list(places))
    counts.sort_indices()
    return counts


@dataclass(frozen=True)
class FeatureSpace:
    """How rows become features: the terms kept with their weights, and the vectors' centre."""

    columns: dict[str, Integers]
    """Per kind of term, the kept buckets in ascending order."""
    term_weights: dict[str, Floats]
    """Per kind of term, the inverse document frequency of each kept bucket."""
    vector_centre: Floats
    vector_scale: float

    @classmethod
    def fit(cls, counts: TermCounts, vectors: Floats) -> FeatureSpace:
        """The space of these training rows.

        Terms of a single row are dropped: they cannot generalise and are most of all terms. The
        weight is the smoothed ln((1 + n) / (1 + df)) + 1 of scikit-learn. Vectors are centred and
        scaled to a mean square length of one, because e5 vectors all point the same way.
        """
        columns: dict[str, Integers] = {}
        weights: dict[str, Floats] = {}
        for kind, block in counts.blocks.items():
            frequency = np.bincount(block.indices, minlength=block.shape[1])
            shared = np.flatnonzero(frequency >= 2)
            # Texts without a common term still need one column for the estimators to accept them.
            columns[kind] = (shared if len(shared) else np.arange(1)).astype(np.int32)
            weight = np.log((1 + block.shape[0]) / (1 + frequency[columns[kind]])) + 1
            weights[kind] = weight.astype(np.float32)
        centre = vectors.mean(axis=0)
        spread = float(np.sqrt(np.square(vectors - centre).sum(axis=1).mean()))
        return cls(columns, weights, centre.astype(np.float32), spread or 1.0)

    def features(self, counts: TermCounts, vectors: Floats) -> Features:
        blocks = []
        for kind, block in counts.blocks.items():
            kept = block[:, self.columns[kind]]
            # A term's tenth occurrence says less than its first: 1 + ln(count).
            kept.data = np.log(kept.data) + np.float32(1)
            blocks.append(normalize(kept.multiply(self.term_weights[kind]).tocsr()))
        centred = ((vectors - self.vector_centre) / self.vector_scale).astype(np.float32)
        terms = sparse.hstack(blocks, format="csr")
        return Features(terms, centred, counts.impact_urgency)

    def to_parts(self) -> dict[str, Any]:
        return {
            "columns": dict(self.columns),
            "term_weights": dict(self.term_weights),
            "vector_centre": self.vector_centre,
            "vector_scale": self.vector_scale,
        }

    @classmethod
    def from_parts(cls, parts: dict[str, Any]) -> FeatureSpace:
        return cls(**parts)


@dataclass(frozen=True)
class Features:
    """`terms`: sparse (rows, kept terms), each kind of unit length; `vectors`: (rows, d);
    `impact_urgency`: (rows, 6)."""

    terms: Any
    vectors: Floats
    impact_urgency: Floats

    def rows(self, rows: Integers) -> Features:
        return Features(self.terms[rows], self.vectors[rows], self.impact_urgency[rows])

    def joined(self, *, with_impact_urgency: bool = False) -> Any:
        """Terms and vectors side by side, impact and urgency beside them on demand; sparse."""
        dense = [self.vectors, self.impact_urgency] if with_impact_urgency else [self.vectors]
        blocks = [self.terms, *(sparse.csr_array(block) for block in dense)]
        return sparse.hstack(blocks, format="csr")
