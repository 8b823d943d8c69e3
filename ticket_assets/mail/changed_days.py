"""Which days of a landing zone changed, where the store does not tell: in a bucket.

Whoever lands or removes mail notes its days before and after. A reader lists the noted days alone
and keeps the fingerprints of all days in one blob: two requests when nothing has changed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

from ticket_assets.storage.blobs import BlobChangedError, BlobNotFoundError, Blobs

MESSAGE_FILE = re.compile(r"[0-9a-f]{64}\.(?:eml|json)")
INDEX = "landed_days.json"
"""The fingerprint of each day, but for what the notes say."""
NOTES = "changes"
BEGUN, ENDED = ".begun", ".ended"
GIVEN_UP_AFTER = timedelta(hours=1)
"""A change that has not ended by then is one of a process that died."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_DIGITS = 16


def fingerprint_of(names: Iterable[str]) -> str:
    """What identifies a day's messages by the names of its files; their order does not matter."""
    messages = sorted(filter(MESSAGE_FILE.fullmatch, names))
    return hashlib.sha256("\n".join(messages).encode()).hexdigest()[:_DIGITS]


NO_MAIL = fingerprint_of([])
"""Fingerprint of a day without mail."""


def iso_day(text: str) -> date | None:
    """The day that is written so, as folders of a landing zone are named."""
    try:
        return date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        return None


def day_folders(files: Blobs) -> list[str]:
    """The folders of a landing zone that are of a day, sorted; they may hold no message."""
    return [name for name in files.folders() if iso_day(name)]


class ChangedDays:
    """The fingerprints of the days in a bucket, and the notes of what changes them.

    A note goes when the index has what it says, and its change has ended: a day whose change has
    begun is listed at each look, so that nothing is missed of a process that dies before its end.
    """

    def __init__(self, files: Blobs) -> None:
        self._files = files

    @contextmanager
    def noting(self, days: Iterable[date]) -> Iterator[None]:
        """Messages of these days come or go meanwhile."""
        name = f"{NOTES}/{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid4().hex[:8]}"
        content = json.dumps(sorted(day.isoformat() for day in days)).encode()
        self._files.replace(f"{name}{BEGUN}", content)
        yield
        self._files.replace(f"{name}{ENDED}", content)

    def fingerprints(self) -> dict[date, str]:
        """The fingerprint of each day that has a message."""
        # The notes before the index: one that another reader removes meanwhile is in it then. The
        # index before the days: only what was listed after it may take its place.
        notes = list(self._files.list(NOTES))
        ended = {note.name.removesuffix(ENDED) for note in notes if note.name.endswith(ENDED)}
        died_before = datetime.now(UTC) - GIVEN_UP_AFTER
        settled = [
            note.name
            for note in notes
            if note.name.rpartition(".")[0] in ended or note.modified_at < died_before
        ]
        noted = self._noted(note.name for note in notes)
        index, version = self._index()
        if index is None:
            noted.update(day_folders(self._files))
        fingerprints = dict(index or {})
        for day, names in self._files.names_in(sorted(noted)):
            fingerprints[day] = fingerprint_of(names)
        fingerprints = {day: text for day, text in fingerprints.items() if text != NO_MAIL}
        if settled or (index is None and fingerprints):
            self._settle(fingerprints, version, settled)
        return {date.fromisoformat(day): text for day, text in sorted(fingerprints.items())}

    def _noted(self, notes: Iterable[str]) -> set[str]:
        # Both notes of a change say the same; the last one that is there is enough.
        latest = {name.rpartition(".")[0]: name for name in sorted(notes)}
        contents = self._files.read_many(latest.values())
        return {day for _, content in contents for day in json.loads(content)}

    def _index(self) -> tuple[dict[str, str] | None, str | None]:
        """The index, unless it is absent or damaged, and the version to be replaced."""
        try:
            content, version = self._files.read_version(INDEX)
        except BlobNotFoundError:
            return None, None
        try:
            return dict(json.loads(content)["days"]), version
        except (ValueError, KeyError, TypeError, AttributeError):
            return None, version

    def _settle(self, fingerprints: dict[str, str], version: str | None, notes: list[str]) -> None:
        # Equal content would be an equal version, and hide that it was replaced meanwhile.
        content = json.dumps({"written": uuid4().hex, "days": fingerprints}).encode()
        try:
            if version is not None:
                self._files.replace(INDEX, content, version)
            elif not self._files.create(INDEX, content):
                return
        except BlobChangedError:
            return  # the notes stay for the next reader
        self._files.delete(notes)
