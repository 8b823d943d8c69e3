"""The warehouse that several machines share: DuckLake, its catalogue in Postgres, its rows in
Parquet files of a folder or bucket."""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import duckdb
import pandas as pd
import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

from ticket_assets.server_replies import cleansed
from ticket_assets.settings import LAKE, Settings, SettingsError
from ticket_assets.storage.migrations import migrate
from ticket_assets.storage.s3_access import S3Access, s3_access
from ticket_assets.storage.tables import DAY_TABLES, SCHEMA, Change
from ticket_assets.storage.warehouse import Warehouse, WarehouseError, first_line

_CATALOGUE = "__ducklake_metadata_lake"
"""The name under which DuckLake attaches its catalogue in Postgres."""
WRITERS_PATIENCE = 20
"""Writers wait for each other this many times as long as readers: many may be in line."""
_INLINED_ROWS = 10_000
"""Rows about days stay in the catalogue where a write has so few: each file costs a request."""
_STATISTICS = """
update ducklake_table_column_stats s set min_value = f.least, max_value = f.greatest from (
  select c.table_id, c.column_id, min(f.min_value collate "C") as least,
    max(f.max_value collate "C") as greatest
  from ducklake_column c
  left join ducklake_file_column_stats f using (table_id, column_id)
  where c.column_type = 'varchar' and c.table_id not in (
    select table_id from ducklake_table where table_name in %s
  )
  group by 1, 2
) f where s.table_id = f.table_id and s.column_id = f.column_id
"""
"""Narrows the least and greatest values of the columns to those of the files that there are."""


@dataclass(frozen=True)
class LakeAccess:
    """Where the lake is and who asks."""

    dsn: str = field(repr=False)
    """Connection string of the catalogue, with the password."""
    data: str
    """Folder or bucket of the rows; a catalogue has a folder of its own below it."""
    s3: S3Access
    scratch: Path

    @property
    def place(self) -> str:
        """Server and database of the catalogue, for messages."""
        parts = parse_dsn(self.dsn)
        return f"{parts.get('host', 'localhost')}/{parts.get('dbname', parts.get('user', ''))}"


def lake_access(settings: Settings) -> LakeAccess:
    """The access that the settings describe.

    Raises:
        SettingsError: it is set in part, or the file of the password cannot be read.
    """
    address = settings.warehouse
    if address is None or settings.warehouse_data is None:
        raise SettingsError(
            "TICKETS_WAREHOUSE needs TICKETS_WAREHOUSE_DATA, the folder or bucket of the rows."
        )
    try:
        parameters = parse_dsn(address.get_secret_value().removeprefix(LAKE))
    except psycopg2.Error:  # its message may hold the password
        raise SettingsError(
            f"TICKETS_WAREHOUSE is no address of Postgres. It is like {LAKE}host=db dbname=tickets"
            " user=tickets, with quotes around values that hold spaces."
        ) from None
    if password := settings.secret("warehouse_password"):
        parameters["password"] = password
    data = settings.warehouse_data.rstrip("/")
    if not data.startswith("s3://"):
        data = str(Path(data).expanduser().resolve())
    return LakeAccess(
        make_dsn(**({"connect_timeout": "10"} | parameters)),
        data,
        s3_access(settings),
        settings.data_dir,
    )


class DuckLake(Warehouse):
    """Tables that many processes read and write at once; a commit is a snapshot for all of them.

    Writers take turns, by a lock of Postgres, for as long as a transaction takes: DuckLake would
    refuse the later of two that change the same rows. Readers see the last snapshot. Only an
    erasure, which removes files of former snapshots, waits for them.
    """

    keeps_former_rows = True
    exists = True

    def __init__(self, access: LakeAccess, patience: float) -> None:
        """The lake of this access; readers wait `patience` seconds for an erasure."""
        self.access = access
        self._patience = patience
        self.scratch = access.scratch

    @property
    def revision(self) -> int:
        with self.connect() as connection:
            (revision,) = connection.execute("select id from lake.current_snapshot()").fetchall()[0]
        return int(revision)

    @contextmanager
    def connect(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._refused(), closing(self._cursor()) as connection:
            function = "try_advisory_xact_lock_shared"
            self._begin(connection, "files", function, self._patience, "transaction read only")
            connection.execute("use lake")
            self.refuse_newer_once(connection)
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with (
            self._refused(),
            self._locked("tables", self._patience * WRITERS_PATIENCE),
            closing(self._cursor()) as connection,
        ):
            connection.execute("use lake")
            _make_day_tables(connection)
            connection.begin()
            migrate(connection)
            yield connection
            connection.commit()

    def rewrite(
        self, changes: Mapping[str, Change], frames: Mapping[str, pd.DataFrame] | None = None
    ) -> None:
        with self.transaction() as connection:
            connection.execute(f"set schema = '{SCHEMA}'")
            for name, frame in (frames or {}).items():
                connection.register(name, frame)
            for table, change in changes.items():
                connection.execute(f"delete from {table} where {change.removed}")  # noqa: S608
                for column, value in change.replaced.items():
                    connection.execute(
                        f"update {table} set {column} = {value}"  # noqa: S608
                        f" where {column} is distinct from {value}"
                    )
        self._forget()

    def tidy(self) -> None:
        # Each run leaves small files, and those of the rows that it replaced.
        old = "now() - interval 1 day"
        with self._refused(), self._locked("tables", self._patience * WRITERS_PATIENCE):
            self._call("merge_adjacent_files")
            self._call("expire_snapshots", f"older_than => {old}")
            self._call("cleanup_old_files", f"older_than => {old}")
            self._call("delete_orphaned_files", f"older_than => {old}")

    def _forget(self) -> None:
        """Remove the files, snapshots and statistics of rows that are in no table any more."""
        with self._refused(), self._locked("tables", self._patience * WRITERS_PATIENCE):
            self._call("rewrite_data_files", "delete_threshold => 0")
            # Whatever the clocks of the machines that made them say; the last one always stays.
            self._call("expire_snapshots", "older_than => now() + interval 10 year")
            with self._locked("files", self._patience):
                self._call("cleanup_old_files", "cleanup_all => true")
                # Of writers that died: while the lock is held there is no other.
                self._call("delete_orphaned_files", "cleanup_all => true")
            with closing(_catalogue(self.access)) as catalogue, catalogue.cursor() as cursor:
                # DuckLake widens the least and greatest value of a column, and never narrows it.
                cursor.execute(_STATISTICS, [tuple(DAY_TABLES)])
                cursor.execute("select tablename from pg_tables where tablename like 'ducklake%'")
                for (table,) in cursor.fetchall():
                    # Postgres keeps deleted rows in the pages of a table until it is written anew.
                    cursor.execute(f'vacuum full "{table}"')

    def _call(self, function: str, arguments: str = "") -> None:
        with closing(self._cursor()) as connection:
            separator = ", " if arguments else ""
            connection.execute(f"call ducklake_{function}('lake'{separator}{arguments})")

    @contextmanager
    def _locked(self, name: str, patience: float) -> Iterator[None]:
        """Holds a lock of Postgres; that of a process which dies is free at once."""
        with closing(self._cursor()) as connection:
            self._begin(connection, name, "try_advisory_xact_lock", patience)
            yield

    def _begin(
        self,
        connection: duckdb.DuckDBPyConnection,
        name: str,
        function: str,
        patience: float,
        transaction: str = "",
    ) -> None:
        """Begins a transaction that holds a lock until its end.

        Waits `patience` seconds for others that hold the lock, and as long as readers do for a
        server that has gone away: it may be restarting.
        """
        digest = hashlib.sha256(f"ticket-assets warehouse {name}".encode()).digest()
        key = int.from_bytes(digest[:8], signed=True)
        query = f"from postgres_query('{_CATALOGUE}', 'select pg_{function}({key})')"
        begun_at, wait = time.monotonic(), 0.01
        connection.execute(f"begin {transaction}")
        while True:
            try:
                if connection.execute(query).fetchall() == [(True,)]:
                    return
            except duckdb.Error as error:
                if "Postgres" not in str(error) or time.monotonic() > begun_at + self._patience:
                    raise
                connection.rollback()
                connection.execute(f"begin {transaction}")
            if time.monotonic() > begun_at + patience:
                raise WarehouseError(
                    f"The warehouse at {self.access.place} is in use by another process. Try again"
                    " when it has finished."
                )
            time.sleep(wait)
            wait = min(wait * 2, 0.2)

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        with _attaching:
            return _attached(self.access).cursor()

    @contextmanager
    def _refused(self) -> Iterator[None]:
        """Errors of Postgres, of the data's place, and of the extensions as one line each."""
        try:
            yield
        except (duckdb.CatalogException, duckdb.BinderException, duckdb.ProgrammingError):
            raise
        except psycopg2.Error as error:
            raise self._no_catalogue(first_line(error)) from None
        except duckdb.Error as error:
            text = str(error)
            if "Postgres" in text or "DuckLake" in text:
                raise self._no_catalogue(_reason(text)) from None
            if isinstance(error, duckdb.IOException):
                raise WarehouseError(
                    f"The warehouse's rows in {self.access.data} cannot be read or written:"
                    f" {self._cleansed(first_line(error))} Check TICKETS_WAREHOUSE_DATA and"
                    " TICKETS_S3_*."
                ) from None
            raise

    def _no_catalogue(self, reason: str) -> WarehouseError:
        return WarehouseError(
            f"The warehouse's catalogue at {self.access.place} does not answer:"
            f" {self._cleansed(reason)} Check TICKETS_WAREHOUSE, and that the server runs."
        )

    def _cleansed(self, reason: str) -> str:
        return cleansed(reason, [parse_dsn(self.access.dsn).get("password"), self.access.s3.secret])


_attaching = threading.Lock()


@functools.cache
def _attached(access: LakeAccess) -> duckdb.DuckDBPyConnection:
    """A database in memory with the lake attached, which the process keeps: its libraries take half
    a second to load."""
    connection = _database(access)
    with closing(_catalogue(access)) as catalogue, catalogue.cursor() as cursor:
        # Of several processes that come first, one makes the catalogue.
        cursor.execute("select pg_advisory_lock(hashtext('ticket-assets warehouse'))")
        cursor.execute("select to_regclass('ducklake_metadata') is null")
        (is_new,) = cursor.fetchone()
        # No other catalogue has this folder: what none of its rows needs can be removed.
        path = f"{access.data}/warehouse-{uuid4().hex[:12]}/"
        if not is_new:
            cursor.execute("select value from ducklake_metadata where key = 'data_path'")
            (path,) = cursor.fetchone()
            if not path.startswith(f"{access.data}/"):
                raise WarehouseError(
                    f"The warehouse at {access.place} has its rows in {path}, not in {access.data}."
                    " Set TICKETS_WAREHOUSE_DATA to the folder or bucket that it was made with."
                )
        parameters = parse_dsn(access.dsn)
        if password := parameters.pop("password", None):
            # As a secret it stands in no message and in no list of databases.
            connection.execute(f"create secret (type postgres, password {_quoted(password)})")
        address = _quoted(f"{LAKE}{make_dsn(**parameters)}")
        connection.execute(f"attach {address} as lake (data_path {_quoted(path)})")
        if is_new:
            # What people wrote stays out of the catalogue, but for the statistics of its files.
            connection.execute("call lake.set_option('data_inlining_row_limit', 0)")
    return connection


def _make_day_tables(connection: duckdb.DuckDBPyConnection) -> None:
    made = connection.execute(
        "select count(*) from duckdb_tables() where database_name = 'lake' and schema_name = ?"
        " and table_name in (select unnest(?))",
        [SCHEMA, list(DAY_TABLES)],
    ).fetchall()
    if made == [(len(DAY_TABLES),)]:
        return
    connection.execute(f"create schema if not exists {SCHEMA}")
    for table, columns in DAY_TABLES.items():
        connection.execute(f"create table if not exists {SCHEMA}.{table} ({columns})")
        connection.execute(
            f"call lake.set_option('data_inlining_row_limit', {_INLINED_ROWS},"
            f" schema => '{SCHEMA}', table_name => '{table}')"
        )


def _database(access: LakeAccess) -> duckdb.DuckDBPyConnection:
    """A database in memory that has the extensions and may ask the object storage."""
    connection = duckdb.connect()
    connection.execute(
        "set autoinstall_known_extensions = false; set autoload_known_extensions = false;"
        f" set temp_directory = {_quoted(str(access.scratch / 'duckdb'))}"
    )
    for name in ("httpfs", "postgres_scanner", "ducklake"):
        connection.execute(f"load {_quoted(str(_extension(name)))}")
    # What does not fit into the memory outlives a killed process; the key does not.
    connection.execute("set temp_file_encryption = true")
    s3 = access.s3
    if s3.key_id and s3.secret:
        options = {"key_id": s3.key_id, "secret": s3.secret, "region": s3.region}
        if s3.endpoint:
            endpoint = urlsplit(s3.endpoint)
            options |= {"endpoint": endpoint.netloc, "url_style": "path"}
            options["use_ssl"] = str(endpoint.scheme == "https").lower()
        settings = "".join(f", {key} {_quoted(value)}" for key, value in options.items() if value)
        connection.execute(f"create secret (type s3{settings})")
    return connection


def _extension(name: str) -> Path:
    try:
        folder = importlib.resources.files(f"duckdb_extension_{name}")
    except ModuleNotFoundError:
        raise WarehouseError(
            "A shared warehouse needs DuckDB's extensions, which are not installed. Install them:"
            " pip install ticket-assets[shared]"
        ) from None
    # extensions/v1.5.5/ducklake.duckdb_extension
    return next(Path(str(folder)).glob(f"extensions/v{duckdb.__version__}/*"))


def _catalogue(access: LakeAccess) -> Any:
    connection = psycopg2.connect(access.dsn)
    connection.autocommit = True
    return connection


def _reason(text: str) -> str:
    """Postgres's own words in a message of DuckDB."""
    _, _, reason = text.rpartition('": ')
    return f"{(reason or text).strip().splitlines()[0].rstrip('.')}."


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
