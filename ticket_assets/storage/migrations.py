"""The version of the warehouse's schema, and the steps to it from each earlier one.

A step stays as it was written, whatever is declared later: it is the way of the warehouses that
were made before it.
"""

from __future__ import annotations

import duckdb

from ticket_assets.errors import TicketAssetsError
from ticket_assets.storage.tables import SCHEMA

VERSION_TABLE = "schema_version"
_BEFORE_PEOPLE = ("former_category", "former_decision")
_MODEL_BEFORE_PEOPLE = "former_model_version"
_TABLE = f"{SCHEMA}.{VERSION_TABLE}"


class SchemaError(TicketAssetsError):
    """The warehouse was made by a newer version of the product."""


def _columns_without_version(connection: duckdb.DuckDBPyConnection) -> None:
    """Releases before the first version number added columns whenever they wrote."""
    existing = _tables(connection)
    for table, column in (
        ("raw_tickets", "reference VARCHAR"),
        ("clean_tickets", "duplicate_of VARCHAR"),
        ("day_origins", "links VARCHAR default ''"),
    ):
        if table in existing:
            connection.execute(f"alter table {SCHEMA}.{table} add column if not exists {column}")


def _review_reasons(connection: duckdb.DuckDBPyConnection) -> None:
    if "ticket_predictions" in _tables(connection):
        for column in ("review_reason", "likely"):
            connection.execute(
                f"alter table {SCHEMA}.ticket_predictions add column if not exists {column} VARCHAR"
            )


def _model_beside_people(connection: duckdb.DuckDBPyConnection) -> None:
    """Until then a prediction was the model's alone."""
    if "ticket_predictions" not in _tables(connection):
        return
    table = f"{SCHEMA}.ticket_predictions"
    targets = ("category", "decision", "priority", "priority_decision")
    # With the columns of later steps: DuckDB alters no table that the transaction has updated.
    later = (*_BEFORE_PEOPLE, _MODEL_BEFORE_PEOPLE)
    columns = ("decided_by", *(f"model_{target}" for target in targets), *later)
    for column in columns:
        connection.execute(f"alter table {table} add column if not exists {column} VARCHAR")
    values = ", ".join(f"model_{target} = {target}" for target in targets)
    connection.execute(f"update {table} set decided_by = 'model', {values}")  # noqa: S608


def _decision_before_people(connection: duckdb.DuckDBPyConnection) -> None:
    """What people said until then counts as said before the decision: nobody knows any more."""
    if "ticket_predictions" in _tables(connection):
        for column in _BEFORE_PEOPLE:
            connection.execute(
                f"alter table {SCHEMA}.ticket_predictions add column if not exists {column} VARCHAR"
            )


def _model_before_people(connection: duckdb.DuckDBPyConnection) -> None:
    """Audits that were answered until then count for no champion: nobody knows whose they were."""
    if "ticket_predictions" in _tables(connection):
        connection.execute(
            f"alter table {SCHEMA}.ticket_predictions"
            f" add column if not exists {_MODEL_BEFORE_PEOPLE} VARCHAR"
        )


STEPS = (
    _columns_without_version,
    _review_reasons,
    _model_beside_people,
    _decision_before_people,
    _model_before_people,
)
"""The step at place N brings a warehouse of version N to version N + 1."""
VERSION = len(STEPS)


def migrate(connection: duckdb.DuckDBPyConnection) -> None:
    """Bring the tables to the present schema, in the transaction of this connection.

    Raises:
        SchemaError: a newer version of the product has made the warehouse.
    """
    version = refuse_newer(connection)
    if version == VERSION:
        return
    connection.execute(f"create schema if not exists {SCHEMA}")
    for step in STEPS[version:]:
        step(connection)
    connection.execute(f"create table if not exists {_TABLE} (version INTEGER)")
    connection.execute(f"delete from {_TABLE}")  # noqa: S608 - our own name
    connection.execute(f"insert into {_TABLE} values (?)", [VERSION])  # noqa: S608


def refuse_newer(connection: duckdb.DuckDBPyConnection) -> int:
    """The version of the warehouse's schema; 0 before it had one.

    Raises:
        SchemaError: it is a newer one than this product knows.
    """
    if VERSION_TABLE not in _tables(connection):
        return 0
    rows = connection.execute(f"select version from {_TABLE}").fetchall()  # noqa: S608
    version = rows[0][0] if rows else 0
    if version > VERSION:
        raise SchemaError(
            f"The warehouse has schema {version}, this version of ticket-assets knows {VERSION}: a"
            " newer one has worked on it. Upgrade ticket-assets, or restore a backup made before."
        )
    return int(version)


def _tables(connection: duckdb.DuckDBPyConnection) -> set[str]:
    rows = connection.execute(
        "select table_name from duckdb_tables()"
        " where database_name = current_database() and schema_name = ?",
        [SCHEMA],
    ).fetchall()
    return {name for (name,) in rows}
