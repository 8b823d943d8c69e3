"""The words of a text that weighed most when its label was chosen over the next likeliest."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
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
    """Finds the words of a text behind the columns of its terms.

    Words come back in text after text, so the columns of each are looked up once.
    """

    def __init__(self, space: FeatureSpace) -> None:
        self._columns = {kind: space.columns[kind] for kind in KINDS}
        self._offsets = {"words": 0, "characters": len(space.columns["words"])}
        self._terms: dict[str, Callable[[str], list[str]]] = {
            kind: term_counter(kind).build_analyzer() for kind in KINDS
        }
        self._known: dict[str, dict[str, Integers]] = {kind: {} for kind in KINDS}

    def read(self, text: str) -> tuple[list[str], Integers, Integers]:
        """The words and word pairs of a text, then one row per occurrence of a kept term: the
        position of its word, and its column."""
        read = text[:CHARACTERS_READ].lower()
        positions: dict[str, int] = {}
        found: list[tuple[int, Integers]] = []
        for term in self._terms["words"](read):
            columns = self._of("words", term, [term])
            if len(columns):
                found.append((positions.setdefault(term, len(positions)), columns))
        for word in read.split():
            columns = self._of("characters", word, None)
            if len(columns):
                found.append((positions.setdefault(_bare(word), len(positions)), columns))
        if not found:
            return [], _NO_COLUMNS, _NO_COLUMNS
        sizes = [len(columns) for _, columns in found]
        words = np.repeat([position for position, _ in found], sizes)
        return list(positions), words, np.concatenate([columns for _, columns in found])

    def _of(self, kind: str, key: str, terms: list[str] | None) -> Integers:
        known = self._known[kind].get(key)
        if known is None:
            kept = self._columns[kind]
            buckets = np.array([_bucket(term) for term in terms or self._terms[kind](key)], int)
            places = np.minimum(np.searchsorted(kept, buckets), len(kept) - 1)
            known = places[kept[places] == buckets] + self._offsets[kind]
            self._known[kind][key] = known
        return known


def decisive_terms(
    expert: Expert,
    reader: TermReader,
    texts: Sequence[str],
    terms: Any,
    likeliest: Integers,
    *,
    top: int,
) -> list[list[tuple[str, float]]]:
    """Per text the words that spoke most for its likeliest code against the next, strongest first.

    A word's weight is its share of the difference of the two scores: weight times value of its
    terms, that of its pieces included, divided among the words that a term occurs in.

    Args:
        terms: sparse, shape (texts, kept terms), as in `Features`.
        likeliest: codes from the likeliest on, shape (texts, 2 or more).
    """
    explained = []
    for row, text in enumerate(texts):
        kept = slice(terms.indptr[row], terms.indptr[row + 1])
        columns = terms.indices[kept]
        weights = _difference(expert.estimator, likeliest[row, 0], likeliest[row, 1], columns)
        shares = _shares(reader.read(text), columns, terms.data[kept] * weights)
        strongest = sorted(shares, key=lambda share: (-share[1], share[0]))[:top]
        explained.append([(word, weight) for word, weight in strongest if weight > 0])
    return explained


def _shares(
    read: tuple[list[str], Integers, Integers], columns: Integers, contributions: Floats
) -> list[tuple[str, float]]:
    """Each word with its part of the contributions of the columns it occurs in."""
    words, positions, occurrences = read
    if not words or not len(columns):
        return []
    order = np.argsort(columns)
    places = np.searchsorted(columns[order], occurrences)
    counts = np.bincount(places, minlength=len(columns))
    parts = contributions[order][places] / counts[places]
    total = np.bincount(positions, weights=parts, minlength=len(words))
    return list(zip(words, total.tolist(), strict=True))


def _difference(estimator: Any, chosen: int, runner_up: int, columns: Integers) -> Floats:
    """Weights of `chosen` minus those of `runner_up`; of two classes only one row is stored."""
    return _weights(estimator, chosen, columns) - _weights(estimator, runner_up, columns)


def _weights(estimator: Any, code: int, columns: Integers) -> Floats:
    place = np.flatnonzero(estimator.classes_ == code)
    if not len(place):  # a label without tickets in what the expert learnt from
        return np.zeros(len(columns))
    if len(estimator.coef_) == 1:
        return np.asarray(estimator.coef_[0, columns] * (0.5 if place[0] else -0.5))
    return np.asarray(estimator.coef_[place[0], columns])


def _bucket(term: str) -> int:
    """The bucket that scikit-learn's hashing gives a term."""
    return abs(int(murmurhash3_32(term, seed=0))) % TERM_BUCKETS


def _bare(word: str) -> str:
    """The longest run of letters and digits: `imprimante` of `l'imprimante,`."""
    return max(re.findall(r"\w+", word), key=len, default=word)
