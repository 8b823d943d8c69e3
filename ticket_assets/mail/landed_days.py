"""Fingerprints of what has landed, from the landing zone alone: they show which days changed."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from ticket_assets.mail.changed_days import fingerprint_of
from ticket_assets.mail.landing import LandingZone
from ticket_assets.storage.blobs import BlobNotFoundError, Blobs

RACY_NANOSECONDS = 2_000_000_000
"""A folder changed so shortly before it was listed may change again without a later time: file
systems count in steps of up to two seconds. (Git calls such entries of its index racily clean.)"""
LANDED_FINGERPRINT = "landed_fingerprint"
"""Metadata of a day's raw_tickets: the fingerprint of what it was made from."""
HINTS = "landed_days.json"
_DIGITS = 16


@dataclass(frozen=True)
class DayRange:
    """Days that follow each other, without a gap."""

    first: date
    last: date

    def days(self) -> list[date]:
        return [
            self.first + timedelta(number) for number in range((self.last - self.first).days + 1)
        ]

    def parts(self, most_days: int | None) -> list[DayRange]:
        """The same days in ranges of so many at most; None is no limit."""
        days = self.days()
        length = most_days or len(days)
        return [
            DayRange(days[start], days[min(start + length, len(days)) - 1])
            for start in range(0, len(days), length)
        ]


def listed_fingerprints(landing: LandingZone, days: Iterable[date]) -> dict[date, str]:
    """What identifies the messages that have landed for each of the days; their order does not
    matter."""
    listed = landing.files.names_in(map(str, days))
    return {date.fromisoformat(day): fingerprint_of(names) for day, names in listed}


def day_fingerprint(landing: LandingZone, day: date) -> str:
    """What identifies the messages that have landed for one day."""
    return listed_fingerprints(landing, [day])[day]


def labels_fingerprint(landing: LandingZone) -> str:
    """What identifies the labels that have landed."""
    return hashlib.sha256("\n".join(landing.label_files()).encode()).hexdigest()[:_DIGITS]


def day_fingerprints(landing: LandingZone, cursors: Blobs) -> dict[date, str]:
    """The fingerprint of each day that has a message.

    A day whose folder has not changed since the last call is not listed again: a blob of `cursors`
    remembers them, and may be lost.
    """
    if landing.changed_days:
        return landing.changed_days.fingerprints()
    former = _read_hints(cursors)
    fingerprints: dict[date, str] = {}
    trusted: dict[str, tuple[int, str]] = {}
    for day in landing.days():
        listed_at = time.time_ns()
        changed_at = landing.files.changed_at(day.isoformat()) or 0
        hint = former.get(day.isoformat())
        fingerprint = hint[1] if hint and hint[0] == changed_at else day_fingerprint(landing, day)
        fingerprints[day] = fingerprint
        if changed_at < listed_at - RACY_NANOSECONDS:
            trusted[day.isoformat()] = (changed_at, fingerprint)
    if trusted != former:
        cursors.replace(HINTS, json.dumps(trusted).encode())
    return fingerprints


def _read_hints(cursors: Blobs) -> dict[str, tuple[int, str]]:
    try:
        hints = json.loads(cursors.read(HINTS))
        return {day: (int(changed_at), str(digest)) for day, (changed_at, digest) in hints.items()}
    except (BlobNotFoundError, ValueError, TypeError, AttributeError):
        return {}


def overall_fingerprint(fingerprints: Mapping[date, str]) -> str:
    """One for several days together."""
    lines = [f"{day} {fingerprint}" for day, fingerprint in sorted(fingerprints.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:_DIGITS]


def consecutive(days: Iterable[date]) -> list[DayRange]:
    """Days as few ranges, which hold these days and no other."""
    ranges: list[DayRange] = []
    for day in sorted(days):
        if ranges and ranges[-1].last + timedelta(1) == day:
            ranges[-1] = DayRange(ranges[-1].first, day)
        else:
            ranges.append(DayRange(day, day))
    return ranges
