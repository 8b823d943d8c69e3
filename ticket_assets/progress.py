"""Progress of long work as sentences for a log: done, total, rate, remaining time."""

from __future__ import annotations

import time
from collections.abc import Callable


class ProgressLog:
    """Calls `log` with a sentence at most every `interval` seconds, and once at the end.

    An instance is itself the `on_progress(done, total)` callback that the plain packages take.
    """

    def __init__(self, log: Callable[[str], object], unit: str, interval: float = 5.0) -> None:
        self._log = log
        self._unit = unit
        self._interval = interval
        self._start = time.monotonic()
        self._last = self._start

    def __call__(self, done: int, total: int) -> None:
        moment = time.monotonic()
        if done < total and moment - self._last < self._interval:
            return
        self._last = moment
        seconds = max(moment - self._start, 1e-9)
        remaining = f", {(total - done) * seconds / done:,.0f} s left" if done else ""
        self._log(
            f"{done:,} of {total:,} {self._unit} ({done / max(total, 1):.0%}),"
            f" {done / seconds:,.0f} per second{remaining}"
        )
