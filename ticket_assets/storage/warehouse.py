"""The warehouse: its tables, in a DuckDB file or in another store, and the statements that make
them."""

from __future__ import annotations

import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa

from ticket_assets.errors import TicketAssetsError, system_advice
from ticket_assets.storage.migrations import migrate, refuse_newer
from ticket_assets.storage.tables import SCHEMA, VECTOR, Change, Table

LOCK_PATIENCE_SECONDS = 60.0
LOCKED = "Could not set lock on file"
"""DuckDB's message while another process writes."""


class WarehouseError(TicketAssetsError):
    """The warehouse cannot be read or written."""


class DamagedWarehouseError(WarehouseError):
    """The file of the warehouse is damaged."""


def ensure_table(
    connection: duckdb.DuckDBPyConnection, table: Table, vector_length: int | None = None
) -> None:
    """Create `table` unless it exists."""
    connection.execute(f"create schema if not exists {SCHEMA}")
    vector = vector_type(connection, vector_length) if vector_length else VECTOR
    types = {
        column.name: vector if column.type == VECTOR else column.type for column in table.columns
    }
    columns = ", ".join(f"{name} {sql_type}" for name, sql_type in types.items())
    connection.execute(f"create table if not exists {SCHEMA}.{table.name} ({columns})")


def vector_type(connection: duckdb.DuckDBPyConnection, length: int) -> str:
    """The type of a column of vectors of one length; DuckLake has none of a fixed length."""
    row = connection.execute(
        "select type = 'ducklake' from duckdb_databases() where database_name = current_database()"
    ).fetchone()
    return VECTOR if row and row[0] else f"FLOAT[{length}]"


class Warehouse(ABC):
    """The tables, read and written through connections that are closed soon."""

    scratch: Path
    """Folder for files that are too large for the memory."""
    _is_known = False

    @property
    @abstractmethod
    def exists(self) -> bool:
        """Whether something was ever written."""

    @property
    @abstractmethod
    def revision(self) -> int:
        """Another one after each write; 0 when there is no warehouse yet."""

    @property
    @abstractmethod
    def keeps_former_rows(self) -> bool:
        """Whether rows that are in no table may be readable in the files, until a `rewrite`: they
        were replaced, or a process was killed before it had committed them."""

    @abstractmethod
    def connect(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """A read-only connection, closed on leaving; it sees one state of the tables.

        Raises:
            WarehouseError: there is no warehouse yet, it stays locked, or it is not readable.
        """

    @abstractmethod
    def transaction(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """A writing connection whose changes are all kept on leaving, or none after an error.

        Raises:
            WarehouseError: it stays locked, or cannot be written.
        """

    @abstractmethod
    def rewrite(
        self, changes: Mapping[str, Change], frames: Mapping[str, pd.DataFrame] | None = None
    ) -> None:
        """Make the changes, by table name, and leave no byte of what they remove.

        Args:
            frames: can be named in the changes like tables.

        Raises:
            WarehouseError: it stays locked, or cannot be written.
        """

    def tidy(self) -> None:  # noqa: B027 - a file needs none
        """Remove what only former states of the tables need."""

    def refuse_newer_once(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Refuse tables of a newer version of the product at the first read of this process.

        Raises:
            SchemaError: they are.
        """
        if not self._is_known:
            refuse_newer(connection)
            self._is_known = True

    def tables(self) -> set[str]:
        """Names of the tables that exist; none when there is no warehouse."""
        if not self.exists:
            return set()
        rows = self.rows(
            "select table_name from information_schema.tables"
            " where table_catalog = current_database() and table_schema = ?",
            [SCHEMA],
        )
        return {name for (name,) in rows}

    def columns(self, table: str) -> set[str]:
        """Names of the columns that a table has; none when there is no such table."""
        if not self.exists:
            return set()
        rows = self.rows(
            "select column_name from information_schema.columns"
            " where table_catalog = current_database() and table_schema = ? and table_name = ?",
            [SCHEMA, table],
        )
        return {name for (name,) in rows}

    def frame(
        self,
        sql: str,
        parameters: Sequence[Any] = (),
        frames: Mapping[str, pd.DataFrame] | None = None,
    ) -> pd.DataFrame:
        """The rows of a query as a frame; `frames` can be named in it like tables.

        Raises:
            WarehouseError: a table of the query has not been materialised yet, or the file is
                damaged.
        """
        frame: pd.DataFrame = self.arrow(sql, parameters, frames).to_pandas()
        return frame

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a small query as Python values; raises like `frame`."""
        table = self.arrow(sql, parameters)
        return list(zip(*(column.to_pylist() for column in table.columns), strict=True))

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...]:
        """The only row of a query; raises like `frame`."""
        (row,) = self.rows(sql, parameters)
        return row

    def last_day(self, table: str) -> date | None:
        """The last day (UTC) with a message of this table; None where there is none.

        Raises:
            as `frame`.
        """
        if table not in self.tables():
            return None
        day: date | None
        (day,) = self.row(f"select max(received_at)::date from {table}")  # noqa: S608 - our own name
        return day

    def arrow(
        self,
        sql: str,
        parameters: Sequence[Any] = (),
        frames: Mapping[str, pd.DataFrame] | None = None,
    ) -> pa.Table:
        """Like `frame`, as an Arrow table: vectors come without a copy per row."""
        with self.connect() as connection:
            with suppress(duckdb.CatalogException):  # before the first table there is no schema
                connection.execute(f"set schema = '{SCHEMA}'")
            for name, frame in (frames or {}).items():
                connection.register(name, frame)
            try:
                return connection.execute(sql, list(parameters)).to_arrow_table()
            except duckdb.CatalogException as error:
                raise WarehouseError(
                    f"{first_line(error)} Materialise it first: `tickets run`."
                ) from None


class DuckDBFile(Warehouse):
    """A DuckDB file, opened for a short time each: DuckDB lets one process write, or several read.

    Who meets a writer waits up to `patience` seconds, since writers hold the file for one statement
    each.
    """

    def __init__(self, path: Path, patience: float = LOCK_PATIENCE_SECONDS) -> None:
        self.path = path
        self.scratch = path.parent
        self._patience = patience
        self._rewritten = 0

    @property
    def exists(self) -> bool:
        return self.path.exists()

    @property
    def revision(self) -> int:
        return self.path.stat().st_mtime_ns if self.path.exists() else 0

    @property
    def keeps_former_rows(self) -> bool:
        return self.revision != self._rewritten

    @contextmanager
    def connect(self) -> Iterator[duckdb.DuckDBPyConnection]:
        if not self.path.exists():
            raise WarehouseError(
                f"There is no warehouse at {self.path} yet. Import mail with `tickets import PATH`,"
                " then `tickets run`."
            )
        with self._opened(read_only=True) as connection:
            self.refuse_newer_once(connection)
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._opened(read_only=False) as connection:
            connection.begin()
            migrate(connection)
            yield connection
            connection.commit()

    def rewrite(
        self, changes: Mapping[str, Change], frames: Mapping[str, pd.DataFrame] | None = None
    ) -> None:
        # DuckDB leaves deleted rows readable in the file until their place is used again; a new
        # file has never held them. After a crash the file is the old one or the new one.
        rewritten = self.path.with_name(f".{self.path.name}.rewritten")
        with ExitStack() as stack:
            stack.callback(rewritten.unlink, missing_ok=True)
            connection = stack.enter_context(self._opened(read_only=False))
            self._remove_remains(rewritten)
            (name,) = connection.execute("select current_database()").fetchall()[0]
            connection.execute("checkpoint")
            connection.execute(f"attach '{_quoted(rewritten)}' as rewritten")
            connection.execute(f'copy from database "{name}" to rewritten (schema)')
            connection.execute(f"set schema = '{SCHEMA}'")
            for view, frame in (frames or {}).items():
                connection.register(view, frame)
            tables = connection.execute(
                "select table_name from information_schema.tables"
                " where table_catalog = ? and table_schema = ? and table_type = 'BASE TABLE'",
                [name, SCHEMA],
            ).fetchall()
            for (table,) in tables:
                remaining = _remaining(table, changes.get(table, Change()))
                connection.execute(f"insert into rewritten.{SCHEMA}.{table} {remaining}")
            connection.execute("detach rewritten")
            with rewritten.open("rb") as file:
                os.fsync(file.fileno())
            # While the lock is held, so that nobody writes to the old file any more.
            rewritten.replace(self.path)
        self._rewritten = self.revision

    def _remove_remains(self, rewritten: Path) -> None:
        """Remove what killed processes have left, while this one holds the file alone: half of a
        rewritten file, and rows that were too many for the memory."""
        for path in (rewritten, rewritten.with_name(f"{rewritten.name}.wal")):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.path.with_name(f"{self.path.name}.tmp"), ignore_errors=True)

    def _open(self, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        deadline = time.monotonic() + self._patience
        wait = 0.02
        while True:
            try:
                return duckdb.connect(str(self.path), read_only=read_only)
            except (duckdb.IOException, duckdb.ConnectionException) as error:
                # A connection error means that a connection of this process writes.
                if isinstance(error, duckdb.IOException) and LOCKED not in str(error):
                    raise self._refusal(error) from None
                if time.monotonic() > deadline:
                    raise WarehouseError(
                        f"The warehouse {self.path} is in use by another process. Try again when"
                        " the run has finished."
                    ) from None
                time.sleep(wait)
                wait = min(wait * 2, 1.0)

    @contextmanager
    def _opened(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection; closing it drops a transaction that was not committed.

        Raises:
            WarehouseError: the system or a damaged file refuses something.
        """
        connection = self._open(read_only=read_only)
        try:
            yield connection
        except (
            duckdb.IOException,
            duckdb.FatalException,
            duckdb.InternalException,
            duckdb.OutOfMemoryException,
            duckdb.SerializationException,
        ) as error:
            raise self._refusal(error) from None
        finally:
            connection.close()

    def _refusal(self, error: duckdb.Error) -> WarehouseError:
        refusal = f"The warehouse {self.path} cannot be used: {first_line(error)}"
        if advice := system_advice(error):
            return WarehouseError(f"{refusal} {advice}")
        return DamagedWarehouseError(
            f"{refusal} `tickets doctor --repair` sets a damaged one aside, and `tickets run` makes"
            " it anew from the landing zone."
        )


def _remaining(table: str, change: Change) -> str:
    """The query of a table's rows after the change."""
    replaced = ", ".join(f"{value} as {column}" for column, value in change.replaced.items())
    columns = f"* replace ({replaced})" if replaced else "*"
    return f"select {columns} from {table} where ({change.removed}) is not true"  # noqa: S608


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def first_line(error: Exception) -> str:
    """The first line of an error, with a full stop."""
    return str(error).splitlines()[0].rstrip(".!") + "."
