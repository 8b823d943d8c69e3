"""How soon the circuit breaker notices broken promises, and how often it trips on kept ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.table import Line, at_most
from ticket_assets.classification.e_detector import THRESHOLD, detector
from ticket_assets.classification.features import Floats

PART = "breaker"
TARGET, QUIET = 0.95, 0.97
LABELS = 10
AUDITS = (50, 250, 1_000)
"""Of each label in a year: 2 % of 2,500, 12,500 and 50,000 automatic tickets."""
FALLS = (0.9, 0.85, 0.8, 0.7)
BEFORE, AFTER = 100, 1_000
"""Audits before the fall, at the quiet precision, and at most after it."""
MOST_FALSE, MOST_AUDITS = 0.05, 60
_AT_ONCE = 1_000


def false_trips(precision: float, audits: int, years: int, seed: int = 0) -> float:
    """The share of years in which any of ten labels of this precision trips."""
    rng = np.random.default_rng(seed)
    tripped = 0
    for first in range(0, years, _AT_ONCE):
        shape = (min(_AT_ONCE, years - first), LABELS, audits)
        values = detector(rng.random(shape) >= precision, TARGET)
        tripped += int((values >= THRESHOLD).any(axis=(1, 2)).sum())
    return tripped / years


def delays(precision: float, falls: int, seed: int = 0) -> Floats:
    """Audits from a fall to this precision to the trip; infinite where none came."""
    rng = np.random.default_rng(seed)
    quiet = rng.random((falls, BEFORE)) >= QUIET
    fallen = rng.random((falls, AFTER)) >= precision
    trips = detector(np.concatenate([quiet, fallen], axis=1), TARGET) >= THRESHOLD
    trips = trips[~trips[:, :BEFORE].any(axis=1), BEFORE:]
    return np.where(trips.any(axis=1), trips.argmax(axis=1) + 1.0, np.inf)


def measure_breaker(years: int = 10_000) -> Iterator[Line]:
    """False trips of kept promises and delays after broken ones, as lines."""
    for precision, promise in ((QUIET, MOST_FALSE), (TARGET, None)):
        for audits in AUDITS:
            share = false_trips(precision, audits, years)
            figure = (
                f"years with a false trip, ten labels at {precision:.0%}, {audits:,} audits each"
            )
            if promise is None:
                yield Line(PART, figure, f"{share:.2%}")
            else:
                yield at_most(PART, figure, 100 * share, 100 * promise, "%")
    for precision in FALLS:
        after = delays(precision, years)
        median, late = np.quantile(after, [0.5, 0.9], method="higher")
        figure = f"audits after a fall to {precision:.0%}, median"
        if precision == 0.8:
            yield at_most(PART, figure, median, MOST_AUDITS)
        else:
            yield Line(PART, figure, f"{median:,.0f}")
        yield Line(PART, f"audits after a fall to {precision:.0%}, 9 of 10", f"{late:,.0f}")
