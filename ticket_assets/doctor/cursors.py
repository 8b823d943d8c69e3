"""Cursors: what sources, sensors and the exporter remember of their last look."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ticket_assets.doctor.findings import REPAIR, Finding
from ticket_assets.storage.blobs import Blobs

if TYPE_CHECKING:
    from ticket_assets.desk import Desk

_OF_A_SOURCE = re.compile(r"[0-9a-f]{20}\.(?:json|sqlite)")
LONGEST_WAIT = timedelta(days=2)
"""A source that failed is tried again within a day; later, and the clock was wrong."""


def examine_cursors(desk: Desk, *, repair: bool) -> Iterator[Finding]:
    """Each cursor can be read, and none lets a source wait for years."""
    for name, content in desk.cursors.read_many(sorted(desk.cursors.names())):
        if fault := _fault(name, content):
            if repair:
                desk.cursors.delete([name])
            yield Finding(
                f"a cursor {fault}",
                f"{desk.cursors.location}/{name}",
                f"{'removed' if repair else f'{REPAIR} removes it'}: the next look"
                " begins anew, and nothing lands twice",
                repair,
            )


def forget_sources(cursors: Blobs) -> None:
    """Have the mail sources read from their beginning again: what is missing lands then."""
    cursors.delete([name for name in cursors.names() if _OF_A_SOURCE.fullmatch(name)])


def _fault(name: str, content: bytes) -> str | None:
    try:
        if name.endswith(".sqlite"):
            with closing(sqlite3.connect(":memory:")) as connection:
                connection.deserialize(content)
                ((verdict,), *_) = connection.execute("pragma quick_check").fetchall()
            return None if verdict == "ok" else "that is damaged"
        if name.endswith(".json"):
            entries = json.loads(content)
            wait = isinstance(entries, dict) and entries.get("next_try")
            if wait and datetime.fromisoformat(wait) > datetime.now(UTC) + LONGEST_WAIT:
                return f"that lets its source wait until {wait}"
    except (sqlite3.Error, ValueError, TypeError):
        return "that cannot be read"
    return None
