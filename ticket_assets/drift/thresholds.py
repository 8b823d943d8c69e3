"""The distance of two samples of the same mail by chance alone, given their size."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import jensenshannon

Method = Literal["jensenshannon", "wasserstein", "centroid"]
Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

# One metric of the six is enough for a warning. Of 4,800 simulated quiet days of 20 to 100 tickets
# 1.2 % warned, and 5 % at the 0.99 quantile. A rule of two metrics would miss shifts of one metric:
# 99 % of the days whose share of unknown words rose from 5 % to 20 %.
CHANCE_QUANTILE = 0.999
RESAMPLES = 2000


class Chance:
    """Distances of samples of a reference to the whole of it; thresholds are kept by size.

    `reference` holds no missing values: shape (rows,) for "jensenshannon" (categories) and
    "wasserstein" (numbers), (rows, dimensions) for "centroid".
    """

    def __init__(self, reference: Array, method: Method, *, seed: int) -> None:
        self.rows = len(reference)
        self._distances = _DISTANCES[method](reference)
        self._seed = seed
        self._thresholds: dict[int, float] = {}

    def threshold(self, size: int) -> float:
        """The `CHANCE_QUANTILE` of the distances of samples of `size` tickets: a window of this
        size hardly ever reaches it by chance."""
        size = _bucket(size)
        if size not in self._thresholds:
            self._thresholds[size] = float(np.quantile(self.distances(size), CHANCE_QUANTILE))
        return self._thresholds[size]

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
    "wasserstein": _wasserstein,
    "centroid": _centroid,
}
