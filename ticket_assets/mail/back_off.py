"""When a mail source that failed is tried again; remembered, so that a restart keeps it."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from ticket_assets.storage.blobs import BlobNotFoundError, Blobs

Failure = Literal["outage", "login"]
_PREFIX = "source-"
DELAYS: dict[Failure, tuple[timedelta, timedelta]] = {
    "outage": (timedelta(minutes=1), timedelta(minutes=15)),
    "login": (timedelta(hours=1), timedelta(days=1)),
}
"""First and longest delay; they double in between. Servers lock accounts after few wrong logins."""
LONGEST_DELAY = timedelta(days=1)
"""Also where a server names a delay."""
FORGOTTEN = "It failed, and what it said was removed with erased tickets."


@dataclass(frozen=True)
class BackOff:
    """A source's last success, and its failures since."""

    last_success: datetime | None = None
    failures: int = 0
    """In a row, up to now."""
    failure: Failure | None = None
    error: str = ""
    next_try: datetime | None = None
    configuration: str = ""
    """Salted digest of the source's settings and secret, as they were when it failed."""

    def waits(self, now: datetime) -> bool:
        # Nothing waits for longer than the longest delay, but after a clock that was ahead.
        return self.next_try is not None and now < self.next_try <= now + LONGEST_DELAY

    def succeeded(self, now: datetime) -> BackOff:
        return BackOff(last_success=now)

    def failed(self, now: datetime, failure: Failure, error: str, configuration: bytes) -> BackOff:
        failures = self.failures + 1 if failure == self.failure else 1
        first, longest = DELAYS[failure]
        delay = min(first * 2 ** min(failures - 1, 20), longest)
        return BackOff(
            self.last_success, failures, failure, error, now + delay, salted(configuration)
        )

    def is_about(self, configuration: bytes) -> bool:
        """Whether the failure was one of this very configuration."""
        return is_salted(configuration, self.configuration)


def read_back_off(cursors: Blobs, source: str) -> BackOff:
    """The recorded state of a source; damaged, it is as good as none."""
    return _read(cursors, _name(source))


def _read(cursors: Blobs, name: str) -> BackOff:
    try:
        fields = json.loads(cursors.read(name))
        for moment in ("last_success", "next_try"):
            fields[moment] = fields[moment] and datetime.fromisoformat(fields[moment]).astimezone(
                UTC
            )
        return BackOff(**fields)
    except (BlobNotFoundError, ValueError, KeyError, TypeError):
        return BackOff()


def write_back_off(cursors: Blobs, source: str, back_off: BackOff) -> None:
    _write(cursors, _name(source), back_off)


def forget_errors(cursors: Blobs) -> None:
    """Remove what servers said from the recorded states: they may quote what they were sent."""
    for name in cursors.names():
        if name.startswith(_PREFIX) and (back_off := _read(cursors, name)).error:
            _write(cursors, name, replace(back_off, error=FORGOTTEN))


def _write(cursors: Blobs, name: str, back_off: BackOff) -> None:
    content = json.dumps(asdict(back_off), default=datetime.isoformat, ensure_ascii=False)
    # What is no Unicode in the name of a folder becomes an escape of JSON.
    cursors.replace(name, content.encode("utf-8", "backslashreplace"))


def salted(configuration: bytes) -> str:
    """A salted digest of settings and secret, by which they are known again."""
    salt = os.urandom(16)
    return f"{salt.hex()}:{_digest(configuration, salt)}"


def is_salted(configuration: bytes, digest: str) -> bool:
    """Whether `salted` made the digest of this very configuration."""
    salt, _, value = digest.partition(":")
    return value == _digest(configuration, bytes.fromhex(salt))


def _name(source: str) -> str:
    return f"{_PREFIX}{hashlib.sha256(os.fsencode(source)).hexdigest()[:20]}.json"


def _digest(configuration: bytes, salt: bytes) -> str:
    # Slow, and too short to tell a guessed password from others.
    return hashlib.scrypt(configuration, salt=salt, n=2**12, r=8, p=1, dklen=3).hex()
