"""Whether a ticket is like those that a classifier has learnt from; if not, a person looks at it.

A classifier has no word for what it has never seen: a recipe, another language or a row of random
letters gets one of its labels, often with a high confidence.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from ticket_assets.classification.features import (
    CHARACTERS_READ,
    TERM_BUCKETS,
    Booleans,
    FeatureSpace,
    Floats,
    Integers,
    TermCounts,
    term_counter,
)
from ticket_assets.classification.vocabulary import (
    Vocabulary,
    build_vocabulary,
    leave_one_out_oov_share,
    oov_share,
)

UNFAMILIAR_SHARE = 0.005
"""Share of the training tickets that are less like those of other wordings than a ticket may be, by
each of three measures: vector, words, pairs of neighbouring words. Compared with all others, near-
copies too, up to 16 % of the tickets in new wordings were unlike them (docs/thresholds.md)."""
LEAST_PAIRS = 6
"""Different pairs in a text from which they tell something."""
LEAST_WORDS = 3
LEAST_DIFFERENT_WORDS = 0.5
"""Share of different words in a text of at least `LEAST_WORDS`; 0.57 is the least of 6,000 tickets
of the sample mailbox."""
_BLOCK_ROWS = 1024

UNLIKE_LEARNT = "unlike_learnt"
UNKNOWN_WORDS = "unknown_words"
REPEATED_TEXT = "repeated_text"
LANGUAGE_NOT_LEARNT = "language_not_learnt"
SENTENCES = {
    UNLIKE_LEARNT: "no past ticket is like this one",
    UNKNOWN_WORDS: "too many of its words are in no past ticket",
    REPEATED_TEXT: "it says the same again and again",
    LANGUAGE_NOT_LEARNT: "no past ticket is in its language",
}
"""The reasons as people read them."""


@dataclass(frozen=True)
class Familiarity:
    """What a sample of the training tickets shows of how alike they are."""

    languages: Collection[str]
    vocabulary: Vocabulary
    most_unknown: float
    """Largest share of words that no training text has."""
    known_pairs: Booleans
    """Per bucket of terms whether the classifier has learnt a word pair, or another term, of it."""
    most_unknown_pairs: float
    """Largest share of word pairs that it has not; beyond it words stand in no order."""
    centre: Floats
    directions: Floats
    """From the centre to each ticket of the sample, of unit length, shape (rows, d)."""
    least_similarity: float
    """Smallest cosine similarity to the nearest one of them."""

    @classmethod
    def of(
        cls, reference: pd.DataFrame, vocabulary: Vocabulary, space: FeatureSpace
    ) -> Familiarity:
        """From the reference of a trained classifier: language and vector of tickets that it has
        learnt from, and the columns of `unlearnt_shares`; each compared with other wordings."""
        vectors = np.stack(reference["vector"].tolist()).astype(np.float32)
        centre = vectors.mean(axis=0)
        directions = _directions(vectors, centre)
        similarities = directions @ directions.T
        wordings = reference["wording"].to_numpy()
        similarities[wordings[:, np.newaxis] == wordings] = -1
        known_pairs = np.zeros(TERM_BUCKETS, dtype=bool)
        known_pairs[space.columns["words"]] = True
        return cls(
            languages=frozenset(reference["language"]),
            vocabulary=vocabulary,
            most_unknown=float(np.quantile(reference["unlearnt_words"], 1 - UNFAMILIAR_SHARE)),
            known_pairs=known_pairs,
            most_unknown_pairs=float(
                np.quantile(reference["unlearnt_pairs"], 1 - UNFAMILIAR_SHARE)
            ),
            centre=centre,
            directions=directions,
            least_similarity=float(np.quantile(similarities.max(axis=1), UNFAMILIAR_SHARE)),
        )

    def reasons(self, tickets: pd.DataFrame, vectors: Floats) -> pd.Series:
        """Why a person should look at each ticket, whatever label it gets; None where it is like
        those that were learnt. On the index of `tickets`.

        Args:
            tickets: text, tokens and language.
            vectors: aligned with `tickets`, shape (rows, d), of the encoder of the training.
        """
        if tickets.empty:
            return pd.Series([], tickets.index, dtype=object)
        texts, tokens = tickets["text"].tolist(), tickets["tokens"].tolist()
        reasons = np.full(len(tickets), None, dtype=object)
        # The last one that holds is what is told: the plainest comes last.
        is_unlike = self._similarities(vectors) < self.least_similarity
        is_unlike |= self._unknown_pairs(texts) > self.most_unknown_pairs
        reasons[is_unlike] = UNLIKE_LEARNT
        reasons[oov_share(tokens, self.vocabulary) > self.most_unknown] = UNKNOWN_WORDS
        reasons[~tickets["language"].isin(self.languages).to_numpy()] = LANGUAGE_NOT_LEARNT
        # A text without a word that counts is looked at as it is.
        words = (
            kept.split() or text.lower().split() for text, kept in zip(texts, tokens, strict=True)
        )
        reasons[[*map(_is_repetition, words)]] = REPEATED_TEXT
        return pd.Series(reasons, tickets.index, dtype=object)

    def _unknown_pairs(self, texts: Sequence[str]) -> Floats:
        pairs = _pairs(texts)
        return _share_without(pairs, pairs @ self.known_pairs.astype(np.float32))

    def _similarities(self, vectors: Floats) -> Floats:
        """To the nearest ticket of the sample."""
        nearest = np.zeros(len(vectors), np.float32)
        for start in range(0, len(vectors), _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            directions = _directions(vectors[block], self.centre)
            nearest[block] = (directions @ self.directions.T).max(axis=1)
        return nearest


def unlearnt_shares(
    tickets: pd.DataFrame, counts: TermCounts, wordings: Integers, rows: Integers
) -> pd.DataFrame:
    """What new tickets are measured by, of training tickets as if their wordings were not learnt.

    Most tickets of a desk are near-copies of others: compared with these, they would be far more
    familiar than a ticket that says something in words of its own.

    Args:
        tickets: text and tokens of all training tickets; `counts` and `wordings` are theirs.
        rows: those to measure.

    Returns:
        wording, and the shares of words and of word pairs that are in no other wording
        (`unlearnt_words`, `unlearnt_pairs`). A pair is learnt from two tickets on.
    """
    texts_of_wordings = tickets["tokens"].groupby(wordings).agg(" ".join)
    measured = tickets.iloc[rows]
    learnt = counts.blocks["words"].astype(bool).astype(np.int32)
    members = sparse.csr_array((np.ones_like(wordings), (wordings, np.arange(len(wordings)))))
    pairs = _pairs(measured["text"].tolist())
    occurrences = np.bincount(learnt.indices, minlength=learnt.shape[1])
    others = pairs.multiply(occurrences) - pairs.multiply((members @ learnt)[wordings[rows]])
    return pd.DataFrame(
        {
            "wording": wordings[rows],
            "unlearnt_words": leave_one_out_oov_share(
                measured["tokens"].tolist(), build_vocabulary(texts_of_wordings.tolist())
            ),
            "unlearnt_pairs": _share_without(pairs, (others >= 2).sum(axis=1)),
        }
    )


def _pairs(texts: Sequence[str]) -> Any:
    """The word pairs of each text, sparse: 1 in the bucket of each."""
    counted = term_counter("pairs").transform([text[:CHARACTERS_READ] for text in texts])
    return sparse.csr_array(counted.astype(bool).astype(np.float32))


def _share_without(pairs: Any, known: Floats) -> Floats:
    """Share of the pairs that are not known; 0 for a text of too few to tell."""
    counts = np.diff(pairs.indptr)
    shares = 1 - np.asarray(known, dtype=np.float64) / np.maximum(counts, 1)
    return np.where(counts >= LEAST_PAIRS, shares, 0.0)


def _directions(vectors: Floats, centre: Floats) -> Floats:
    """From the centre, since the vectors of an encoder all point nearly the same way."""
    centred = vectors - centre
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(lengths, 1e-9), dtype=np.float32)


def _is_repetition(words: list[str]) -> bool:
    return len(words) >= LEAST_WORDS and len(set(words)) < LEAST_DIFFERENT_WORDS * len(words)
