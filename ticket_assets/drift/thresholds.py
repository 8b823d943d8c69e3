"""How far apart two samples of the same mail lie by chance alone, given their size."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import jensenshannon

Method = Literal["jensenshannon", "wasserstein", "centroid"]
Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

# With six metrics a day and any one of them enough for a warning, 1.2 % of 4,800 simulated quiet
# days of 20 to 100 tickets warned; at the 0.99 quantile 5 %. Asking for two metrics instead misses
# what shows in one alone: of days whose share of unknown words rose from 5 % to 20 %, 99 %.
CHANCE_QUANTILE = 0.999
RESAMPLES = 2000


@dataclass(frozen=True)
class _Column:
    """A reference column that hashes by its content, so that thresholds are cached by content."""

    digest: bytes
    values: Array = field(compare=False, repr=False)


def chance_threshold(
    reference: Array,
    size: int,
    method: Method,
    *,
    floor: float,
    seed: int,
    quantile: float = CHANCE_QUANTILE,
) -> float:
    """The distance from which a window of `size` tickets counts as drifted.

    `reference` holds no missing values: shape (rows,) for "jensenshannon" (categories) and
    "wasserstein" (numbers), (rows, dimensions) for "centroid". The result is the given quantile
    of the distances between the reference and same-sized samples of itself, at least `floor`.
    Cached per process by content of the reference and size.
    """
    values = np.ascontiguousarray(reference)
    if values.dtype == object:
        values = np.unique(values.astype(str), return_inverse=True)[1]
    header = f"{values.dtype}{values.shape}".encode()
    digest = hashlib.blake2b(header + values.tobytes(), digest_size=16).digest()
    chance = _chance_quantile(_Column(digest, values), _bucket(size), method, seed, quantile)
    return max(floor, chance)


def chance_distances(reference: Array, size: int, method: Method, *, seed: int) -> Floats:
    """Distances of `RESAMPLES` random samples of the reference to the whole of it.

    The reference is itself a sample: comparing windows of n rows with N reference rows scatters
    like 1/n + 1/N, which is what a sample of 1/(1/n + 1/N) rows shows against the fixed reference.
    """
    rows = len(reference)
    size = max(1, round(1 / (1 / size + 1 / rows)))
    drawn = np.random.default_rng(seed).integers(rows, size=(RESAMPLES, size))
    # In parts that fit the processor's cache: a quarter of the time of one large array.
    parts = np.array_split(drawn, RESAMPLES // 100)
    return np.concatenate([_DISTANCES[method](reference, part) for part in parts])


def _bucket(size: int) -> int:
    """`size` rounded down to five significant bits: few thresholds, each at most 3 % too high."""
    shift = max(0, size.bit_length() - 5)
    return size >> shift << shift


@lru_cache(maxsize=512)
def _chance_quantile(
    column: _Column, size: int, method: Method, seed: int, quantile: float
) -> float:
    distances = chance_distances(column.values, size, method, seed=seed)
    return float(np.quantile(distances, quantile))


def _counts(codes: Array, kinds: int) -> Floats:
    """How often each of `kinds` codes occurs in each row of `codes`, shape (len(codes), kinds)."""
    offsets = np.arange(len(codes))[:, None] * kinds
    flat = np.bincount((codes + offsets).ravel(), minlength=len(codes) * kinds)
    return flat.reshape(len(codes), kinds).astype(np.float64)


def _jensen_shannon(values: Array, drawn: Array) -> Floats:
    _, codes = np.unique(values, return_inverse=True)
    shares = np.bincount(codes) / len(codes)
    sampled = _counts(codes[drawn], len(shares)) / drawn.shape[1]
    # Identical shares can yield the root of a tiny negative number.
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nan_to_num(jensenshannon(shares[None, :], sampled, axis=1)))


def _wasserstein(values: Array, drawn: Array) -> Floats:
    """Area between the two cumulative distributions, in standard deviations of the reference."""
    points, codes = np.unique(values, return_inverse=True)
    whole = np.cumsum(np.bincount(codes)) / len(values)
    sampled = np.cumsum(_counts(codes[drawn], len(points)), axis=1) / drawn.shape[1]
    area = np.abs(sampled - whole)[:, :-1] @ np.diff(points)
    return np.asarray(area / max(float(np.std(values)), 0.001))


def _centroid(vectors: Array, drawn: Array) -> Floats:
    shares = (_counts(drawn, len(vectors)) / drawn.shape[1] - 1 / len(vectors)).astype(np.float32)
    difference = shares @ vectors.astype(np.float32, copy=False)
    return np.asarray(np.linalg.norm(difference, axis=1), dtype=np.float64)


_DISTANCES = {
    "jensenshannon": _jensen_shannon,
    "wasserstein": _wasserstein,
    "centroid": _centroid,
}
