"""What the exporter counts, kept with how far it has read, in one blob.

Both are written together: a restart neither counts an event twice nor forgets one, and what is
pruned from Dagster's log was counted before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ticket_assets.storage.blobs import BlobNotFoundError, Blobs

FILE = "exporter.json"
REMEMBERED = 1000
"""Runs that were counted last: one may be reported as ended twice."""

Labels = tuple[str, ...]


@dataclass
class Histogram:
    """Counts of observations up to each bound, and of all."""

    bounds: Sequence[float]
    """Ascending; a last bucket, for what lies above them, is added."""
    counts: list[int] = field(default_factory=list)
    total: float = 0.0
    """Sum of the observations."""

    def observe(self, value: float) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)
        self.counts[sum(bound < value for bound in self.bounds)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bound and number of observations up to it, as Prometheus has them."""
        counts, present = self.counts or [0] * (len(self.bounds) + 1), 0.0
        buckets = []
        for bound, count in zip([*self.bounds, float("inf")], counts, strict=True):
            present += count
            buckets.append(("+Inf" if bound == float("inf") else str(float(bound)), present))
        return buckets


@dataclass
class CheckState:
    """The latest verdicts of an asset check that were not good."""

    failed: dict[str, str] = field(default_factory=dict)
    """Severity (error, warn) by day; the day is empty where the check judges no day."""
    since: float = 0.0
    """When it turned to what it is now: failing at some severity, or not (seconds of the epoch)."""


@dataclass
class Counters:
    """Counts that never fall, and how far the events behind them were read."""

    seen: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Storage id and time of the last event that was read, by what it was read for."""
    ticks_seen: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Id and time of the last tick that was counted, by the id of its sensor or schedule."""
    counts: dict[str, dict[Labels, float]] = field(default_factory=dict)
    """By metric and labels."""
    histograms: dict[str, dict[Labels, Histogram]] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    """The runs that were counted last, each with what for."""
    checks: dict[str, CheckState] = field(default_factory=dict)
    """By `asset:check`."""

    @classmethod
    def read(cls, cursors: Blobs) -> Counters:
        """What was written; a blob that is damaged makes the counters begin at zero again, which
        Prometheus takes for a restart."""
        try:
            written = json.loads(cursors.read(FILE))
            return cls(
                seen=_marks(written["seen"]),
                ticks_seen=_marks(written["ticks"]),
                counts={
                    name: {tuple(labels): float(value) for labels, value in values}
                    for name, values in written["counts"].items()
                },
                histograms={
                    name: {tuple(labels): Histogram(**value) for labels, value in values}
                    for name, values in written["histograms"].items()
                },
                runs=written["runs"],
                checks={name: CheckState(**state) for name, state in written["checks"].items()},
            )
        except (BlobNotFoundError, ValueError, TypeError, KeyError, AttributeError):
            return cls()

    def content(self) -> str:
        """The counters as the blob holds them."""
        return json.dumps(
            {
                "seen": self.seen,
                "ticks": self.ticks_seen,
                "counts": {name: _pairs(values) for name, values in self.counts.items()},
                "histograms": {
                    name: _pairs({labels: vars(value) for labels, value in values.items()})
                    for name, values in self.histograms.items()
                },
                "runs": self.runs,
                "checks": {name: vars(state) for name, state in self.checks.items()},
            }
        )

    def write(self, cursors: Blobs) -> None:
        cursors.replace(FILE, self.content().encode())

    def add(self, name: str, labels: Labels, value: float = 1.0) -> None:
        values = self.counts.setdefault(name, {})
        values[labels] = values.get(labels, 0.0) + value

    def observe(self, name: str, labels: Labels, value: float, bounds: Sequence[float]) -> None:
        """Count a value, which is at least zero, in a histogram."""
        histograms = self.histograms.setdefault(name, {})
        histograms.setdefault(labels, Histogram(list(bounds))).observe(max(value, 0.0))

    def is_new(self, run: str) -> bool:
        """Whether this was not counted yet; from now on it is."""
        if run in self.runs:
            return False
        self.runs = [*self.runs[-REMEMBERED + 1 :], run]
        return True


def _marks(written: Mapping[str, Any]) -> dict[str, tuple[int, float]]:
    return {name: (int(number), float(at)) for name, (number, at) in written.items()}


def _pairs(values: Mapping[Labels, Any]) -> list[tuple[Labels, Any]]:
    return sorted(values.items(), key=lambda pair: pair[0])
