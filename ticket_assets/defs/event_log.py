"""Makes Dagster's SQLite event log keep up with runs over many days."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
)
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import StaticPool

_open: WeakKeyDictionary[SqliteEventLogStorage, dict[str, tuple[int, Engine]]] = WeakKeyDictionary()
"""Of each event log the files that are held open, with their inode and what holds them."""

_has_table = SqliteEventLogStorage.has_table
_dispose = SqliteEventLogStorage.dispose


def hold_event_log_open() -> None:
    """Let Dagster's event log in SQLite hold its files open from one event to the next.

    A run over 60 days writes some 2,000 events. Dagster opens the database several times for each,
    compiles its statements anew, waits for the disk and closes it, which folds the write-ahead log
    into the file: 18 ms an event on an idle disk and 80 ms on a busy one, against 8 ms with the
    files held open. In write-ahead mode synchronous=NORMAL cannot corrupt a file; a power cut may
    lose the last events (https://sqlite.org/pragma.html#pragma_synchronous).
    """
    changed: dict[str, Any] = {
        "_connect": _connect,
        "has_table": lru_cache(maxsize=32)(_has_table),
        "dispose": _close,
    }
    for name, function in changed.items():
        setattr(SqliteEventLogStorage, name, function)


@contextmanager
def _connect(storage: SqliteEventLogStorage, shard: str) -> Iterator[Connection]:
    with storage._db_lock:
        engine = _engine(storage, shard)
        if shard not in storage._initialized_dbs:
            storage._initdb(engine)
            storage._initialized_dbs.add(shard)
        with engine.begin() as connection:
            yield connection


def _close(storage: SqliteEventLogStorage) -> None:
    for _, engine in _open.pop(storage, {}).values():
        engine.dispose()
    _dispose(storage)


def _engine(storage: SqliteEventLogStorage, shard: str) -> Engine:
    held = _open.setdefault(storage, {})
    path = Path(storage.path_for_shard(shard))
    inode = path.stat().st_ino if path.exists() else 0
    if inode and shard in held and held[shard][0] == inode:
        return held[shard][1]
    # The files of other runs, and one that was deleted since.
    for other in set(held) - {INDEX_SHARD_NAME} | ({shard} & set(held)):
        held.pop(other)[1].dispose()
    engine = create_engine(
        storage.conn_string_for_shard(shard),
        poolclass=StaticPool,  # the storage's lock lets one thread in at a time
        connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
    )
    event.listen(engine, "connect", _relax)
    held[shard] = (inode, engine)
    return engine


def _relax(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous=NORMAL")
