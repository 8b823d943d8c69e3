"""The distance of two samples of the same mail by chance alone, given their size."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import jensenshannon

Method = Literal["jensenshannon", "largest_shift", "wasserstein", "centroid"]
Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

# One metric of the eight, of a day or of its week, is enough for a warning: docs/drift.md has the
# false alarms of quiet weeks. A rule of two metrics would miss shifts of one metric: 99 % of the
# days whose share of unknown words rose from 5 % to 20 %.
CHANCE_QUANTILE = 0.999
COMMON_QUANTILE = 0.99
RESAMPLES = 2000
RARE_SHARE = 0.05
"""Shares below this one count like it where shifts of shares are compared: by its own scatter, the
rarest category would set the threshold of all."""


class Chance:
    """Distances of samples of a reference to the whole of it; thresholds are kept by size.

    `reference` holds no missing values: shape (rows,) for "jensenshannon" and "largest_shift"
    (categories) and for "wasserstein" (numbers), (rows, dimensions) for "centroid".
    """

    def __init__(self, reference: Array, method: Method, *, seed: int) -> None:
        self.rows = len(reference)
        self._distances = _DISTANCES[method](reference)
        self._seed = seed
        self._thresholds: dict[int, tuple[float, float]] = {}

    def threshold(self, size: int, looks: int = 1) -> float:
        """The `CHANCE_QUANTILE` of the distances of samples of `size` tickets: a window of this
        size hardly ever reaches it by chance.

        Windows that are looked at `looks` times as often have to be so much rarer, which is rarer
        than the samples show: beyond them the tail is taken to fall like an exponential.
        """
        size = _bucket(size)
        if size not in self._thresholds:
            common, rare = np.quantile(self.distances(size), [COMMON_QUANTILE, CHANCE_QUANTILE])
            self._thresholds[size] = float(common), float(rare)
        common, rare = self._thresholds[size]
        decades = np.log10((1 - COMMON_QUANTILE) / (1 - CHANCE_QUANTILE))
        return float(rare + (rare - common) * np.log10(looks) / decades)

    def distances(self, size: int) -> Floats:
        """Distances of `RESAMPLES` random samples of the reference to the whole of it.

        The reference is a sample itself. The distance between windows of n rows and N reference
        rows scatters like 1/n + 1/N, as does that of 1/(1/n + 1/N) rows to the fixed reference.
        """
        size = max(1, round(1 / (1 / size + 1 / self.rows)))
        drawn = _drawn(self.rows, size, self._seed)
        # In parts that fit the processor's cache: a quarter of the time of one large array.
        parts = np.array_split(drawn, RESAMPLES // 100)
        return np.concatenate([self._distances(part) for part in parts])


@lru_cache(maxsize=1)
def _drawn(rows: int, size: int, seed: int) -> Array:
    """The rows of each sample; all columns of a reference share them."""
    return np.random.default_rng(seed).integers(rows, size=(RESAMPLES, size))


def _bucket(size: int) -> int:
    """`size` rounded down to five significant bits: few thresholds, each at most 3 % too high."""
    shift = max(0, size.bit_length() - 5)
    return size >> shift << shift


def _counts(codes: Array, kinds: int) -> Floats:
    """How often each of `kinds` codes occurs in each row of `codes`, shape (len(codes), kinds)."""
    offsets = np.arange(len(codes))[:, None] * kinds
    flat = np.bincount((codes + offsets).ravel(), minlength=len(codes) * kinds)
    return flat.reshape(len(codes), kinds).astype(np.float64)


def _jensen_shannon(values: Array) -> Callable[[Array], Floats]:
    _, codes = np.unique(values.astype(str), return_inverse=True)
    shares = np.bincount(codes) / len(codes)

    def distances(drawn: Array) -> Floats:
        sampled = _counts(codes[drawn], len(shares)) / drawn.shape[1]
        # Identical shares can yield the root of a tiny negative number.
        with np.errstate(invalid="ignore"):
            return np.asarray(np.nan_to_num(jensenshannon(shares[None, :], sampled, axis=1)))

    return distances


def largest_shift(reference: Array, shares: Array) -> Floats:
    """Largest change of a share, in standard deviations of one ticket; shape (samples,).

    The black-box shift detection of "Failing Loudly" (arXiv 1810.11953) on predicted labels: one
    category that grows is not averaged with those that do not.

    Args:
        reference: the share of each category, shape (categories,).
        shares: those of each sample, shape (samples, categories).
    """
    expected = np.clip(reference, RARE_SHARE, 1 - RARE_SHARE)
    deviation = np.sqrt(expected * (1 - expected))
    return np.asarray((np.abs(shares - reference) / deviation).max(axis=1))


def _largest_shift(values: Array) -> Callable[[Array], Floats]:
    _, codes = np.unique(values.astype(str), return_inverse=True)
    shares = np.bincount(codes) / len(codes)

    def distances(drawn: Array) -> Floats:
        return largest_shift(shares, _counts(codes[drawn], len(shares)) / drawn.shape[1])

    return distances


def new_word_share(words: int, reference_rows: int, rows: int) -> float:
    """The share of `rows` tickets that a word in none of `reference_rows` does not reach by chance.

    All k tickets that have a word lie among the new ones by chance with the probability
    (rows / all rows)^k. For all `words` together it is to be 1 - `CHANCE_QUANTILE`.
    """
    chance = (1 - CHANCE_QUANTILE) / max(words, 1)
    tickets = np.log(chance) / np.log(rows / (rows + reference_rows))
    return float(tickets / rows)


def _wasserstein(values: Array) -> Callable[[Array], Floats]:
    """Area between the two cumulative distributions, in standard deviations of the reference."""
    points, codes = np.unique(values, return_inverse=True)
    cumulated = np.cumsum(np.bincount(codes)) / len(values)
    steps, deviation = np.diff(points), max(float(np.std(values)), 0.001)

    def distances(drawn: Array) -> Floats:
        sampled = np.cumsum(_counts(codes[drawn], len(points)), axis=1) / drawn.shape[1]
        return np.asarray((np.abs(sampled - cumulated)[:, :-1] @ steps) / deviation)

    return distances


def _centroid(vectors: Array) -> Callable[[Array], Floats]:
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)

    def distances(drawn: Array) -> Floats:
        shares = _counts(drawn, len(vectors)) / drawn.shape[1] - 1 / len(vectors)
        difference = shares.astype(np.float32) @ vectors
        return np.asarray(np.linalg.norm(difference, axis=1), dtype=np.float64)

    return distances


_DISTANCES: dict[Method, Callable[[Array], Callable[[Array], Floats]]] = {
    "jensenshannon": _jensen_shannon,
    "largest_shift": _largest_shift,
    "wasserstein": _wasserstein,
    "centroid": _centroid,
}
