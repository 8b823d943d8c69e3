"""The words of a text that weighed most when its label was chosen over the next likeliest."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import murmurhash3_32

from ticket_assets.classification.candidates import Expert
from ticket_assets.classification.features import (
    CHARACTERS_READ,
    KINDS,
    TERM_BUCKETS,
    FeatureSpace,
    Floats,
    Integers,
    term_counter,
)

_NO_COLUMNS: Integers = np.zeros(0, np.int32)


class TermReader:
    """Names the words of a text behind the columns of its terms.

    Words come back in text after text, so it looks up the columns of each word once.
    """

    def __init__(self, space: FeatureSpace) -> None:
        self._columns = {kind: space.columns[kind] for kind in KINDS}
        self._offsets = {"words": 0, "characters": len(space.columns["words"])}
        self._terms: dict[str, Callable[[str], list[str]]] = {
            kind: term_counter(kind).build_analyzer() for kind in KINDS
        }
        self._looked_up: dict[str, dict[str, Integers]] = {kind: {} for kind in KINDS}

    def read(self, text: str) -> tuple[list[str], Integers, Integers]:
        """The words and word pairs of a text, then one row per occurrence of a kept term: the
        position of its word, and its column."""
        text = text[:CHARACTERS_READ].lower()
        occurrences = [
            (term, self._columns_of("words", term)) for term in self._terms["words"](text)
        ]
        occurrences += [
            (_bare(word), self._columns_of("characters", word)) for word in text.split()
        ]
        occurrences = [(word, columns) for word, columns in occurrences if len(columns)]
        if not occurrences:
            return [], _NO_COLUMNS, _NO_COLUMNS
        positions, words = pd.factorize(np.array([word for word, _ in occurrences], dtype=object))
        columns = [columns for _, columns in occurrences]
        return list(words), np.repeat(positions, list(map(len, columns))), np.concatenate(columns)

    def _columns_of(self, kind: str, word: str) -> Integers:
        """Columns of the kept terms of a word: itself, or its pieces."""
        columns = self._looked_up[kind].get(word)
        if columns is None:
            kept_buckets = self._columns[kind]
            terms = [word] if kind == "words" else self._terms[kind](word)
            buckets = np.array([_bucket(term) for term in terms], int)
            places = np.minimum(np.searchsorted(kept_buckets, buckets), len(kept_buckets) - 1)
            columns = places[kept_buckets[places] == buckets] + self._offsets[kind]
            self._looked_up[kind][word] = columns
        return columns


def decisive_terms(
    expert: Expert,
    reader: TermReader,
    texts: Sequence[str],
    terms: Any,
    likeliest: Integers,
    *,
    top: int,
) -> list[list[tuple[str, float]]]:
    """Per text the words that decided most for its likeliest code against the next one.

    The strongest word comes first. A word's weight is its share of the difference of the two
    scores: the contributions (weight times value) of its terms and of its pieces. Words that share
    a term share its contribution.

    Args:
        terms: sparse, shape (texts, kept terms), as in `Features`.
        likeliest: codes from the likeliest on, shape (texts, 2 or more).
    """
    explained = []
    for row, text in enumerate(texts):
        cells = slice(terms.indptr[row], terms.indptr[row + 1])
        columns = terms.indices[cells]
        chosen, runner_up = (
            _weights(expert.estimator, code, columns) for code in likeliest[row, :2]
        )
        shares = _shares(reader.read(text), columns, terms.data[cells] * (chosen - runner_up))
        strongest = sorted(shares, key=lambda share: (-share[1], share[0]))[:top]
        explained.append([(word, weight) for word, weight in strongest if weight > 0])
    return explained


def _shares(
    read: tuple[list[str], Integers, Integers], columns: Integers, contributions: Floats
) -> list[tuple[str, float]]:
    """Each word with its share of the contributions of its columns."""
    words, positions, occurrences = read
    if not words or not len(columns):
        return []
    order = np.argsort(columns)
    places = np.searchsorted(columns[order], occurrences)
    counts = np.bincount(places, minlength=len(columns))
    parts = contributions[order][places] / counts[places]
    total = np.bincount(positions, weights=parts, minlength=len(words))
    return list(zip(words, total.tolist(), strict=True))


def _weights(estimator: Any, code: int, columns: Integers) -> Floats:
    place = np.flatnonzero(estimator.classes_ == code)
    if not len(place):  # a label without tickets in what the expert learnt from
        return np.zeros(len(columns))
    if len(estimator.coef_) == 1:  # the one row of weights between two classes
        return np.asarray(estimator.coef_[0, columns] * (0.5 if place[0] else -0.5))
    return np.asarray(estimator.coef_[place[0], columns])


def _bucket(term: str) -> int:
    """The bucket that scikit-learn's hashing gives a term."""
    return abs(int(murmurhash3_32(term, seed=0))) % TERM_BUCKETS


def _bare(word: str) -> str:
    """The longest run of letters and digits: `imprimante` of `l'imprimante,`."""
    return max(re.findall(r"\w+", word), key=len, default=word)
