"""The origin of each day's rows: the mail, code and settings that made them.

It is written in one transaction with the rows. Runs that interleave or fail half way leave rows of
one state beside rows of another; so each table hands the origin on to the next with the rows, and
the predictions of a day name the mail that they were really made from.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import astuple, dataclass, replace
from datetime import date

import duckdb

from ticket_assets.storage.tables import DAY_TABLES, SCHEMA
from ticket_assets.storage.warehouse import Warehouse

_TABLE = f"{SCHEMA}.day_origins"
_LINKS_TABLE = f"{SCHEMA}.day_links"
UNPARTITIONED = date.min
"""The day under which a table without days has its origin."""


@dataclass(frozen=True)
class Origin:
    """The origin of one day's rows in one table."""

    landed: str
    """Fingerprint of the landed mail."""
    recipe: str
    """Digest of the code and the settings; empty when steps differed in them."""
    model_version: str | None = None
    """The champion that made the predictions."""
    links: str = ""
    """The last change of earlier mail that its links were made anew for, as `read_links` names it.
    """

    def by(self, recipe: str, model_version: str | None = None) -> Origin:
        """The origin of rows that `recipe` makes from rows of this origin."""
        return replace(
            self, recipe=recipe if recipe == self.recipe else "", model_version=model_version
        )


def read_origins(warehouse: Warehouse, table: str) -> dict[date, Origin]:
    """The origin of each day of a table that has one."""
    if not warehouse.exists:
        return {}
    with warehouse.connect() as connection:
        return select_origins(connection, table)


def select_origins(connection: duckdb.DuckDBPyConnection, table: str) -> dict[date, Origin]:
    """As `read_origins`, through a connection that is open."""
    try:
        rows = connection.execute(
            f"select day, landed, recipe, model_version, links from {_TABLE}"  # noqa: S608
            " where table_name = ?",
            [table],
        ).fetchall()
    except (duckdb.CatalogException, duckdb.BinderException):
        return {}  # written by an earlier version, or nothing has run yet
    return {day: Origin(*values) for day, *values in rows}


def replace_origins(
    warehouse: Warehouse, table: str, days: Iterable[date], origins: Mapping[date, Origin]
) -> None:
    """As `write_origins`, for rows outside the warehouse."""
    with warehouse.transaction() as connection:
        write_origins(connection, table, days, origins)


def write_origins(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    days: Iterable[date],
    origins: Mapping[date, Origin],
) -> None:
    """Replace the origins of these days of a table; a day that `origins` lack has none then."""
    connection.execute(f"create schema if not exists {SCHEMA}")
    connection.execute(f"create table if not exists {_TABLE} ({DAY_TABLES['day_origins']})")
    connection.execute(
        f"delete from {_TABLE} where table_name = ? and day in (select unnest(?))",  # noqa: S608
        [table, list(days)],
    )
    if origins:
        rows = [(day, *astuple(origin)) for day, origin in origins.items()]
        # In one statement: DuckLake keeps a record of each.
        connection.execute(
            f"insert into {_TABLE} (table_name, day, landed, recipe, model_version, links)"
            " select ?, unnest(?), unnest(?), unnest(?), unnest(?::varchar[]), unnest(?)",
            [table, *map(list, zip(*rows, strict=True))],
        )


def read_links(warehouse: Warehouse) -> dict[date, str]:
    """The last change of earlier mail that moves the links of a day, by day; others have none."""
    if not warehouse.exists:
        return {}
    with warehouse.connect() as connection:
        try:
            return dict(connection.execute(f"select day, change from {_LINKS_TABLE}").fetchall())  # noqa: S608
        except duckdb.CatalogException:
            return {}


def require_new_links(warehouse: Warehouse, days: Collection[date], change: str) -> None:
    """Record that a change moves the links of these days: they are not done until they ran again.

    Args:
        change: names it; another one than the last, or the days stay done.
    """
    if not days:
        return
    with warehouse.transaction() as connection:
        connection.execute(f"create schema if not exists {SCHEMA}")
        connection.execute(f"create table if not exists {_LINKS_TABLE} ({DAY_TABLES['day_links']})")
        connection.execute(
            f"delete from {_LINKS_TABLE} where day in (select unnest(?))",  # noqa: S608
            [list(days)],
        )
        connection.execute(
            f"insert into {_LINKS_TABLE} select unnest(?), ?",
            [list(days), change],
        )
