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
    """The counter of one kind of term: words and word pairs, word pairs alone, or 3 to 4 characters
    of a word. A pair has one bucket, whatever else is counted.

    Character terms carry typing mistakes, inflections and compounds. Lengths 3 to 4 scored as well
    as 3 to 5 on German and English tickets, for two thirds of the time.
    """
    terms: dict[str, dict[str, Any]] = {
        "words": {"analyzer": "word", "ngram_range": (1, 2)},
        "pairs": {"analyzer": "word", "ngram_range": (2, 2)},
        "characters": {"analyzer": "char_wb", "ngram_range": (3, 4)},
    }
    return HashingVectorizer(
        **terms[kind], n_features=TERM_BUCKETS, alternate_sign=False, norm=None, dtype=np.float32
    )


@dataclass(frozen=True)
class TermCounts:
    """Occurrences of each hashed term in each text: per kind a sparse (rows, buckets) matrix."""

    blocks: dict[str, Any]
    impact_urgency: Floats
    """Impact and urgency that each text names, shape (rows, 6)."""

    def rows(self, rows: Integers) -> TermCounts:
        if _are_all(rows, len(self.impact_urgency)):
            return self
        blocks = {kind: block[rows] for kind, block in self.blocks.items()}
        return TermCounts(blocks, self.impact_urgency[rows])


def count_terms(texts: Sequence[str]) -> TermCounts:
    """Term occurrences of the first `CHARACTERS_READ` characters of each text."""
    texts = [text[:CHARACTERS_READ] for text in texts]
    blocks = {"words": term_counter("words").transform(texts), "characters": _characters(texts)}
    return TermCounts(blocks, impact_urgency(texts))


def _characters(texts: Sequence[str]) -> Any:
    """The same counts as `term_counter("characters")` gives, in less than half the time.

    Its terms never cross words, and words come back in text after text: each is hashed once.
    """
    positions: dict[str, int] = {}
    words_of_texts = [
        [positions.setdefault(word, len(positions)) for word in text.lower().split()]
        for text in texts
    ]
    if not positions:
        return term_counter("characters").transform(texts)
    ends = np.cumsum([0, *map(len, words_of_texts)])
    columns = np.fromiter(chain.from_iterable(words_of_texts), np.int32, ends[-1])
    words = sparse.csr_matrix(
        (np.ones(len(columns), np.float32), columns, ends), shape=(len(texts), len(positions))
    )
    counts = words @ term_counter("characters").transform(list(positions))
    counts.sort_indices()
    return counts


def _are_all(rows: Integers, count: int) -> bool:
    """Whether these are all rows in their order, of which no copy is needed."""
    return len(rows) == count and np.array_equal(rows, np.arange(count))


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

        Terms of a single row are dropped: they cannot generalise, and most terms are of this kind.
        The weight is scikit-learn's smoothed ln((1 + n) / (1 + df)) + 1. Vectors are centred and
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
            weighted = block[:, self.columns[kind]]
            # A term's tenth occurrence says less than its first: 1 + ln(count).
            weighted.data = np.log(weighted.data) + np.float32(1)
            weighted.data *= self.term_weights[kind][weighted.indices]
            blocks.append(normalize(weighted, copy=False))
        centred = ((vectors - self.vector_centre) / self.vector_scale).astype(np.float32)
        terms = sparse.hstack(blocks, format="csr")
        return Features(terms, centred, counts.impact_urgency)


@dataclass(frozen=True)
class Features:
    """`terms`: sparse (rows, kept terms), each kind of unit length; `vectors`: (rows, d);
    `impact_urgency`: (rows, 6)."""

    terms: Any
    vectors: Floats
    impact_urgency: Floats

    def rows(self, rows: Integers) -> Features:
        if _are_all(rows, len(self.vectors)):
            return self
        return Features(self.terms[rows], self.vectors[rows], self.impact_urgency[rows])

    def joined(self, *, with_impact_urgency: bool = False) -> Any:
        """Terms and vectors side by side, impact and urgency beside them on demand; sparse."""
        blocks = [self.terms, sparse.csr_array(self.vectors)]
        if with_impact_urgency:
            blocks.append(sparse.csr_array(self.impact_urgency))
        return sparse.hstack(blocks, format="csr")
