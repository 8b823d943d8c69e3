"""Dagster's event log: kept up with runs over many days, and written so that no retry is lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dagster import EventLogEntry
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
)
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import StaticPool


class FailedRunsFirst(SqlEventLogStorage):
    """An event log in which a run has failed before its failure is read.

    Dagster stores the event and then the run's status. Its daemon, when it reads the event between
    the two, sees a run that has not failed, does not try it again, and never looks again.
    """

    def store_event(self, event: EventLogEntry) -> None:
        failure = event.dagster_event
        if failure and failure.is_run_failure and self.has_instance:
            at = datetime.fromtimestamp(event.timestamp, UTC)
            self._instance.run_storage.handle_run_event(event.run_id, failure, at)
        super().store_event(event)


class OpenEventLog(FailedRunsFirst, SqliteEventLogStorage):
    """Dagster's event log in SQLite, which holds its files open from one event to the next.

    A run over 60 days writes some 2,000 events. Dagster opens the database several times for each,
    compiles its statements anew, waits for the disk and closes it, which folds the write-ahead log
    into the file: 18 ms an event on an idle disk and 80 ms on a busy one, against 8 ms with the
    files held open. In write-ahead mode synchronous=NORMAL cannot corrupt a file; a power cut may
    lose the last events (https://sqlite.org/pragma.html#pragma_synchronous).
    """

    def __init__(self, base_dir: str) -> None:
        self._open: dict[str, tuple[int, Engine]] = {}
        self._tables: dict[str, bool] = {}
        super().__init__(base_dir)

    def has_table(self, table_name: str) -> bool:
        if table_name not in self._tables:
            self._tables[table_name] = super().has_table(table_name)
        return self._tables[table_name]

    def dispose(self) -> None:
        while self._open:
            self._open.popitem()[1][1].dispose()
        super().dispose()

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.begin() as connection:
                yield connection

    def _engine(self, shard: str) -> Engine:
        """What holds the shard's file open, as long as it is the same file."""
        path = Path(self.path_for_shard(shard))
        inode = path.stat().st_ino if path.exists() else 0
        if inode and shard in self._open and self._open[shard][0] == inode:
            return self._open[shard][1]
        # The files of other runs, and one that was deleted since.
        for other in set(self._open) - {INDEX_SHARD_NAME} | ({shard} & set(self._open)):
            self._open.pop(other)[1].dispose()
        engine = create_engine(
            self.conn_string_for_shard(shard),
            poolclass=StaticPool,  # the storage's lock lets one thread in at a time
            connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        )
        event.listen(engine, "connect", _relax)
        self._open[shard] = (inode, engine)
        return engine


class OpenSqliteStorage(DagsterSqliteStorage):
    """Dagster's storage in SQLite with an `OpenEventLog`."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = OpenEventLog(self._event_log_storage._base_dir)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> OpenSqliteStorage:
        return cls.from_local(inst_data=inst_data, **config_value)


def remove_shard(log: SqliteEventLogStorage, run_id: str) -> None:
    """Remove the file of a run's events with what SQLite keeps beside it."""
    path = Path(log.path_for_shard(run_id))
    # The file itself last: by it the run is found if the others could not all be removed.
    for name in (f"{path.name}-wal", f"{path.name}-shm", path.name):
        path.with_name(name).unlink(missing_ok=True)
    log._initialized_dbs.discard(run_id)


def _relax(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous=NORMAL")
