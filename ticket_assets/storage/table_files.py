"""The warehouse's tables as Parquet files, of one moment, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ticket_assets.storage.migrations import VERSION_TABLE, migrate
from ticket_assets.storage.tables import SCHEMA
from ticket_assets.storage.warehouse import Warehouse, vector_type

VECTORS = "ticket_embeddings"
"""The table with vectors."""


def export_tables(
    warehouse: Warehouse, folder: Path, file_bytes: int
) -> Iterator[tuple[str, int, int | None]]:
    """Write each table to a folder of its name, in files of about that size.

    Yields name, rows and the length of the vectors (None of a table without), when its files are
    there; they may be removed then. All tables are of one moment, whatever is written meanwhile.

    Raises:
        WarehouseError: the warehouse cannot be read.
    """
    tables = sorted(warehouse.tables())
    if not tables:
        return
    with warehouse.connect() as connection:
        for table in tables:
            (rows,) = connection.execute(
                f"select count(*) from {SCHEMA}.{table}"  # noqa: S608 - the names of our tables
            ).fetchall()[0]
            length = None
            if "vector" in connection.table(f"{SCHEMA}.{table}").columns and rows:
                (length,) = connection.execute(
                    f"select len(vector) from {SCHEMA}.{table} limit 1"  # noqa: S608
                ).fetchall()[0]
            (folder / table).mkdir()
            connection.execute(
                f"copy {SCHEMA}.{table} to '{_quoted(folder / table)}'"
                f" (format parquet, compression zstd, file_size_bytes {file_bytes},"
                " overwrite_or_ignore)"
            )
            yield table, rows, length


def import_tables(
    warehouse: Warehouse, folders: Mapping[str, Path], vector_length: int | None
) -> None:
    """Fill a warehouse without tables from the files of `export_tables`: all of it or nothing.

    Raises:
        WarehouseError: the warehouse cannot be written.
        SchemaError: the files are those of a newer version of the product.
    """
    with warehouse.transaction() as connection:
        # The files have the schema of their time, and the steps since then are made here.
        connection.execute(f"delete from {SCHEMA}.{VERSION_TABLE}")  # noqa: S608
        for table, folder in folders.items():
            vector = vector_type(connection, vector_length or 0)
            columns = f"* replace (vector::{vector} as vector)" if table == VECTORS else "*"
            rows = f"select {columns} from read_parquet('{_quoted(folder)}/*.parquet')"  # noqa: S608
            connection.execute(f"create table if not exists {SCHEMA}.{table} as {rows} limit 0")
            connection.execute(f"insert into {SCHEMA}.{table} by name {rows}")
        migrate(connection)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
