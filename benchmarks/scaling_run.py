"""A run of a job over all days that tells what each step costs: its CPU seconds and most memory.

`benchmarks/scaling.py` starts it as a process of its own, on a desk with mail; it prints JSON.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg
import psutil

CHECKS = "checks"
REST = "start and bookkeeping"
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


def cpu_seconds() -> float:
    """Of this process, of the children that have ended and of those that work."""
    own = os.times()
    seconds = own.user + own.system + own.children_user + own.children_system
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has ended meanwhile, and counts above
            times = child.cpu_times()
            seconds += times.user + times.system
    return seconds


def take_peak_megabytes() -> float:
    """The most memory of this process since the last call."""
    status = Path("/proc/self/status").read_text("ascii", "replace")
    peak = _PEAK.search(status)
    Path("/proc/self/clear_refs").write_text("5", "ascii")
    return int(peak[1]) / 1024 if peak else 0.0


class Meter:
    """Adds up what the steps of a run cost; Dagster tells it of each event as it happens."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.peaks: defaultdict[str, float] = defaultdict(float)
        self._started = 0.0
        self._makes_an_asset = False

    def listen(self, event: dg.DagsterEvent) -> None:
        kind = event.event_type
        if kind == dg.DagsterEventType.STEP_START:
            take_peak_megabytes()
            self._started, self._makes_an_asset = cpu_seconds(), False
        elif kind == dg.DagsterEventType.ASSET_MATERIALIZATION:
            self._makes_an_asset = True
        elif kind == dg.DagsterEventType.STEP_SUCCESS:
            name = str(event.step_key) if self._makes_an_asset else CHECKS
            self.seconds[name] += cpu_seconds() - self._started
            self.peaks[name] = max(self.peaks[name], take_peak_megabytes())


def main() -> None:
    # Here, as it loads the graph with the settings of this moment.
    from ticket_assets.orchestration.runs import materialise

    meter = Meter()
    summary = materialise(listener=meter.listen, job_name=sys.argv[1])
    if not summary.success:
        sys.exit(f"The run failed: {summary.failed_steps}")
    meter.seconds[REST] = cpu_seconds() - sum(meter.seconds.values())
    result: dict[str, Any] = {"cpu_seconds": meter.seconds, "peak_megabytes": meter.peaks}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
