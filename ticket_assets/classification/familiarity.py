"""Whether a ticket is like those that a classifier has learnt from; if not, a person looks at it.

A classifier has no word for what it has never seen: a recipe, another language or a row of random
letters gets one of its labels, often with a high confidence.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ticket_assets.classification.features import Floats
from ticket_assets.classification.vocabulary import Vocabulary, oov_share

UNFAMILIAR_SHARE = 0.005
"""Share of the training tickets that are less like the others than a ticket may be, by each of the
two measures. On 3,000 new tickets of the sample mailbox both together send 1.3 % to a person, and
of 250 foreign, off-topic or senseless texts all; either alone at 1 % misses a tenth of these."""
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
    centre: Floats
    directions: Floats
    """From the centre to each ticket of the sample, of unit length, shape (rows, d)."""
    least_similarity: float
    """Smallest cosine similarity to the nearest one of them."""

    @classmethod
    def of(cls, reference: pd.DataFrame, vocabulary: Vocabulary) -> Familiarity:
        """From the reference of a trained classifier: language, oov_share and vector of tickets
        that it has learnt from, each compared with the others."""
        vectors = np.stack(reference["vector"].tolist()).astype(np.float32)
        centre = vectors.mean(axis=0)
        directions = _directions(vectors, centre)
        similarities = directions @ directions.T
        np.fill_diagonal(similarities, -1)
        return cls(
            languages=frozenset(reference["language"]),
            vocabulary=vocabulary,
            most_unknown=float(np.quantile(reference["oov_share"], 1 - UNFAMILIAR_SHARE)),
            centre=centre,
            directions=directions,
            least_similarity=float(np.quantile(similarities.max(axis=1), UNFAMILIAR_SHARE)),
        )

    def reasons(self, tickets: pd.DataFrame, vectors: Floats) -> pd.Series:
        """Why a person should look at each ticket, whatever label it gets; None where it is like
        those that were learnt. On the index of `tickets`.

        Args:
            tickets: tokens and language.
            vectors: aligned with `tickets`, shape (rows, d), of the encoder of the training.
        """
        tokens = tickets["tokens"].tolist()
        reasons = np.full(len(tickets), None, dtype=object)
        # The last one that holds is what is told: the plainest comes last.
        reasons[self._similarities(vectors) < self.least_similarity] = UNLIKE_LEARNT
        reasons[oov_share(tokens, self.vocabulary) > self.most_unknown] = UNKNOWN_WORDS
        reasons[~tickets["language"].isin(self.languages).to_numpy()] = LANGUAGE_NOT_LEARNT
        reasons[[_is_repetition(text.split()) for text in tokens]] = REPEATED_TEXT
        return pd.Series(reasons, tickets.index, dtype=object)

    def _similarities(self, vectors: Floats) -> Floats:
        """To the nearest ticket of the sample."""
        nearest = np.zeros(len(vectors), np.float32)
        for start in range(0, len(vectors), _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            directions = _directions(vectors[block], self.centre)
            nearest[block] = (directions @ self.directions.T).max(axis=1)
        return nearest


def _directions(vectors: Floats, centre: Floats) -> Floats:
    """From the centre, since the vectors of an encoder all point nearly the same way."""
    centred = vectors - centre
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(lengths, 1e-9), dtype=np.float32)


def _is_repetition(words: list[str]) -> bool:
    return len(words) >= LEAST_WORDS and len(set(words)) < LEAST_DIFFERENT_WORDS * len(words)
