"""Dagster's storage in Postgres, whose connections are kept from one call to the next."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import psycopg2
import sqlalchemy as sql
from dagster._config.config_schema import UserConfigSchema
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage
from psycopg2.extensions import parse_dsn

from ticket_assets.errors import TicketAssetsError
from ticket_assets.orchestration.event_log import FailedRunsFirst
from ticket_assets.server_replies import cleansed
from ticket_assets.settings import Settings, load_settings

CONNECTIONS, MOST_CONNECTIONS = 5, 20
"""Of a process: those that stay open when nobody uses them, and those at once. A run uses one or
two; the daemon asks from many threads."""
CONNECT_SECONDS = 10
PATIENCE_SECONDS = 10.0
"""For a database that has answered before, as while it restarts; Dagster tries six times."""
TABLES = {"runs", "instance_info", "event_logs", "instigators"}
"""One table of each of Dagster's three storages, and the one that Dagster makes by itself later."""


class PostgresError(TicketAssetsError):
    """Dagster's database cannot be used."""


class PooledEventLog(FailedRunsFirst, PostgresEventLogStorage):
    """Dagster's event log in Postgres, which closes its connections when the instance is closed."""

    def dispose(self) -> None:
        super().dispose()
        self._engine.dispose()


class PooledPostgresStorage(DagsterPostgresStorage):
    """Dagster's storage in the database that TICKETS_DAGSTER_POSTGRES names.

    Dagster opens a connection for every call and closes it again, until the machine has no port
    left (dagster#20325). Here the three storages of a process share a small pool.

    The settings are read where the storage is made: neither dagster.yaml nor the arguments that a
    run is started with hold a password.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        url = database_url(load_settings())
        engine = sql.create_engine(
            url,
            isolation_level="AUTOCOMMIT",
            pool_size=CONNECTIONS,
            max_overflow=MOST_CONNECTIONS - CONNECTIONS,
            # The last one that was used goes first, so that those beyond the need grow old.
            pool_use_lifo=True,
            pool_pre_ping=True,
            pool_recycle=600,
        )
        try:
            has_tables = set(sql.inspect(engine).get_table_names()) >= TABLES
        except sql.exc.OperationalError as error:
            secret = None if url.password is None else str(url.password)
            reason = cleansed(str(error.orig).partition("\n")[0], [secret]).rstrip(".")
            raise PostgresError(
                f"Cannot use {place(url)} for Dagster: {reason}. Check TICKETS_DAGSTER_POSTGRES,"
                " its password and that the server runs."
            ) from None
        # From now on: where it has never answered, that is told at once.
        sql.event.listen(engine, "do_connect", _connect_patiently)
        text = url.render_as_string(hide_password=False)
        # It makes the tables through connections of its own.
        super().__init__(text, should_autocreate_tables=not has_tables, inst_data=inst_data)
        self._event_log_storage = PooledEventLog(text, should_autocreate_tables=False)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine = engine

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> PooledPostgresStorage:
        return cls(inst_data)


def _connect_patiently(
    dialect: Any, _record: Any, arguments: list[Any], parameters: dict[str, Any]
) -> Any:
    """Connects in SQLAlchemy's place."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return dialect.connect(*arguments, **parameters)
        except psycopg2.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


def database_url(settings: Settings) -> sql.URL:
    """The database that the settings name, with its password.

    Raises:
        PostgresError: they name none, or not as Postgres's clients do.
        SettingsError: the file of the password cannot be read.
    """
    if settings.dagster_postgres is None:
        raise PostgresError(
            "Dagster's storage is in Postgres according to dagster.yaml, and"
            " TICKETS_DAGSTER_POSTGRES does not say where. Set it."
        )
    try:
        parameters = parse_dsn(settings.dagster_postgres.get_secret_value())
    except psycopg2.ProgrammingError:  # its message repeats a part of the text
        raise PostgresError(
            "TICKETS_DAGSTER_POSTGRES does not name a database as Postgres's clients do. Write it"
            " like postgresql://user@host:5432/database or host=… dbname=… user=…, with the"
            " password in the file that TICKETS_DAGSTER_POSTGRES_PASSWORD_FILE names."
        ) from None
    password = settings.secret("dagster_postgres_password") or parameters.pop("password", None)
    return sql.URL.create(
        "postgresql+psycopg2",
        username=parameters.pop("user", None),
        password=password,
        database=parameters.pop("dbname", None),
        query={"connect_timeout": str(CONNECT_SECONDS)} | parameters,
    )


def place(url: sql.URL) -> str:
    """The database and its server, for messages."""
    host, port = url.query.get("host", "this machine"), url.query.get("port", "5432")
    return f"the Postgres database {url.database or ''} at {host}:{port}"
