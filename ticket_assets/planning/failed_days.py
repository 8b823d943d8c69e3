"""The days that failed at the sensor's last tick, in a blob: commands read it without loading
Dagster."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from ticket_assets.planning.days_to_run import Failure
from ticket_assets.storage.blobs import BlobNotFoundError, Blobs

NAME = "failed_days.json"


@dataclass(frozen=True)
class FailedDay:
    """A day that has mail and could not be sorted."""

    day: str
    landed: str
    """Fingerprint of its mail when it failed."""
    tries: int
    next_try: str | None
    """The sensor's next try (UTC); None: not before its mail, code or settings change."""


def write_failed_days(
    cursors: Blobs, landed: Mapping[date, str], failed: Mapping[date, Failure]
) -> None:
    """Replace the blob, if the failed days differ."""
    entries = [
        asdict(
            FailedDay(
                day.isoformat(),
                landed[day],
                failure.tries,
                failure.next_try.isoformat(" ", "minutes") if failure.next_try else None,
            )
        )
        for day, failure in sorted(failed.items())
        if day in landed
    ]
    if entries != _entries(cursors):
        cursors.replace(NAME, json.dumps(entries).encode())


def read_failed_days(cursors: Blobs) -> list[FailedDay]:
    """The days that had failed at the sensor's last tick, sorted."""
    return [FailedDay(**entry) for entry in _entries(cursors)]


def _entries(cursors: Blobs) -> list[dict[str, Any]]:
    try:
        entries: list[dict[str, Any]] = json.loads(cursors.read(NAME))
    except (BlobNotFoundError, ValueError):
        return []
    return entries
