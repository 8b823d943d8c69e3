"""Makes Dagster's SQLite event log keep up with runs over many days."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

_held_open: dict[str, sqlite3.Connection] = {}


def relax_sqlite_synchronisation() -> None:
    """Let SQLite write an event without waiting for the disk several times.

    A run over 60 days writes some 1,300 events. Dagster opens a connection for each, commits it to
    several SQLite files with a full synchronisation, and closes it, which folds the write-ahead
    log into the file every time: 80 ms an event on a busy disk. In write-ahead mode
    synchronous=NORMAL cannot corrupt a file; a power cut may lose the last events
    (https://sqlite.org/pragma.html#pragma_synchronous). One idle connection per file keeps its log
    in place between events. Other databases are left alone.
    """
    if not event.contains(Engine, "connect", _relax):
        event.listen(Engine, "connect", _relax)


def _relax(connection: Any, _record: Any) -> None:
    if not isinstance(connection, sqlite3.Connection):
        return
    connection.execute("PRAGMA synchronous=NORMAL")
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    if not path or path in _held_open:
        return
    # A new file has no write-ahead log yet: a connection held from then on would not know of it.
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        return
    held = sqlite3.connect(path, check_same_thread=False)
    # Only a connection that has read the file takes part in its write-ahead log.
    held.execute("SELECT count(*) FROM sqlite_master").fetchone()
    _held_open[path] = held
