"""Tables between assets: DuckDB, pandas for rows and Arrow for vectors, a transaction a write.

With each day's rows goes the record of what they were made from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import chain
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pyarrow as pa
from dagster._core.storage.db_io_manager import DbIOManager, DbTypeHandler, TableSlice
from dagster_duckdb.io_manager import DuckDbClient
from dagster_duckdb_pandas import DuckDBPandasTypeHandler

from ticket_assets.free_memory import give_back_free_memory
from ticket_assets.mail.landed_days import LANDED_FINGERPRINT
from ticket_assets.storage.day_origins import (
    UNPARTITIONED,
    Origin,
    select_origins,
    write_origins,
)
from ticket_assets.storage.tables import SCHEMA, TABLES
from ticket_assets.storage.warehouse import (
    Warehouse,
    ensure_table,
    vector_type,
)

ORIGINS = "origins"
"""Attribute of a frame that was read from the warehouse: the origins of its days."""
RECIPE = "recipe"
MODEL_VERSION = "model_version"
LINKS = "links_made_anew_by"


class WarehouseClient(DuckDbClient):
    """The official client, with a whole write in one transaction and declared tables.

    A process killed between deleting a day and writing it again would otherwise leave the day
    empty; and a table created from a first day whose column holds only nulls would get a wrong
    type for good.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    @contextmanager
    def connect(  # type: ignore[override]
        self, context: dg.OutputContext | dg.InputContext, table_slice: TableSlice
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._warehouse.transaction() as connection:
            yield connection
            if isinstance(context, dg.OutputContext):
                keep_origins(context, connection)
        # Before the next asset needs memory for itself.
        give_back_free_memory()

    @staticmethod
    def ensure_schema_exists(
        context: dg.OutputContext, table_slice: TableSlice, connection: duckdb.DuckDBPyConnection
    ) -> None:
        ensure_table(connection, TABLES[table_slice.table])

    @staticmethod
    def get_select_statement(table_slice: TableSlice) -> str:
        declared = list(TABLES[table_slice.table].column_names)
        return DuckDbClient.get_select_statement(
            table_slice._replace(columns=table_slice.columns or declared)
        )


class DeclaredPandasHandler(DuckDBPandasTypeHandler):
    """The official pandas handler, for frames that fit the declared table, empty days included."""

    def handle_output(
        self,
        context: dg.OutputContext,
        table_slice: TableSlice,
        obj: pd.DataFrame,
        connection: duckdb.DuckDBPyConnection,
    ) -> None:
        table = TABLES[table_slice.table]
        table.require_columns(obj.columns)
        if obj.empty:
            context.add_output_metadata({"dagster/row_count": 0})
            return
        # In the order of the stored columns, by which it inserts: in a table of an earlier release
        # a column that was added since is the last one.
        stored = connection.table(f"{table_slice.schema}.{table_slice.table}").columns
        super().handle_output(context, table_slice, obj[stored], connection)

    def load_input(
        self,
        context: dg.InputContext,
        table_slice: TableSlice,
        connection: duckdb.DuckDBPyConnection,
    ) -> pd.DataFrame:
        frame = super().load_input(context, table_slice, connection)
        # Of the very rows that are read, whatever another run writes meanwhile.
        frame.attrs[ORIGINS] = select_origins(connection, table_slice.table)
        return frame


class ArrowVectorHandler(DbTypeHandler[pa.Table]):
    """Arrow tables with a column of vectors, kept as DuckDB arrays of fixed length.

    A reader is written batch by batch; what is read back is a table.
    """

    def handle_output(
        self,
        context: dg.OutputContext,
        table_slice: TableSlice,
        obj: pa.Table | pa.RecordBatchReader,
        connection: duckdb.DuckDBPyConnection,
    ) -> None:
        table = TABLES[table_slice.table]
        table.require_columns(obj.schema.names)
        name = f"{table_slice.schema}.{table_slice.table}"
        batches = obj.to_reader() if isinstance(obj, pa.Table) else obj
        first = next(batches, None)
        if first is None:
            context.add_output_metadata({"dagster/row_count": 0})
            return
        length = obj.schema.field("vector").type.list_size
        if not self._takes(connection, table_slice, length):
            # Vectors of another length come from another encoder: none of them can be used again.
            context.log.warning(f"{name} holds vectors of another encoder: it starts afresh.")
            connection.execute(f"drop table {name}")
            ensure_table(connection, table, length)
        connection.register(
            "rows", pa.RecordBatchReader.from_batches(obj.schema, chain([first], batches))
        )
        columns = ", ".join(table.column_names)
        inserted = connection.execute(
            f"insert into {name} by name select {columns} from rows"  # noqa: S608 - declared names
        ).fetchone()
        connection.unregister("rows")
        context.add_output_metadata({"dagster/row_count": inserted[0] if inserted else 0})

    @staticmethod
    def _takes(connection: duckdb.DuckDBPyConnection, table_slice: TableSlice, length: int) -> bool:
        """Whether the table takes vectors of this length, and holds no others."""
        (column,) = connection.execute(
            "select data_type from information_schema.columns"
            " where table_schema = ? and table_name = ? and column_name = 'vector'",
            [table_slice.schema, table_slice.table],
        ).fetchall()
        stored = connection.execute(
            f"select len(vector) from {table_slice.schema}.{table_slice.table} limit 1"  # noqa: S608
        ).fetchone()
        return column[0] == vector_type(connection, length) and stored in (None, (length,))

    def load_input(
        self,
        context: dg.InputContext,
        table_slice: TableSlice,
        connection: duckdb.DuckDBPyConnection,
    ) -> pa.Table:
        statement = WarehouseClient.get_select_statement(table_slice)
        return connection.execute(statement).to_arrow_table()

    @property
    def supported_types(self) -> Sequence[type[Any]]:
        return [pa.Table, pa.RecordBatchReader]


class WarehouseIOManager(DbIOManager):
    """Writes an asset's rows to its table, the run's days only, and reads them back."""

    def __init__(self, warehouse: Warehouse) -> None:
        super().__init__(
            type_handlers=[DeclaredPandasHandler(), ArrowVectorHandler()],
            db_client=WarehouseClient(warehouse),
            database="",  # the warehouse knows where it is: Dagster stores what stands here
            schema=SCHEMA,
            default_load_type=pd.DataFrame,
        )


def record_origins(
    context: dg.AssetExecutionContext, asset: str, origins: Mapping[date, Origin]
) -> None:
    """Give each day's materialisation the origin of its rows; the IO manager keeps it beside them.

    A day that is missing from `origins` has rows of unknown origin.
    """
    for day, origin in origins.items():
        metadata = {LANDED_FINGERPRINT: origin.landed, RECIPE: origin.recipe}
        if origin.model_version is not None:
            metadata[MODEL_VERSION] = origin.model_version
        if origin.links:
            metadata[LINKS] = origin.links
        partition = None if day == UNPARTITIONED else day.isoformat()
        context.add_asset_metadata(metadata, asset_key=asset, partition_key=partition)


def inherit_origins(
    context: dg.AssetExecutionContext,
    asset: str,
    origins: Mapping[date, Origin],
    recipe: str,
    model_version: str | None = None,
) -> dict[date, Origin]:
    """Record that `recipe` made the rows of this run's days from rows of these origins.

    `origins` has to be read before the rows, or with them: what is written in between is then
    taken for older than it is, and its day runs once more.
    """
    days = map(date.fromisoformat, context.partition_keys)
    inherited = {day: origins[day].by(recipe, model_version) for day in days if day in origins}
    record_origins(context, asset, inherited)
    return inherited


def keep_origins(context: dg.OutputContext, connection: duckdb.DuckDBPyConnection) -> None:
    """Write the recorded origins of an output in the transaction of its rows."""
    partitions: Iterable[str | None] = (
        context.asset_partition_keys if context.has_asset_partitions else [None]
    )
    origins = {
        date.fromisoformat(partition)
        if partition
        else UNPARTITIONED: context.step_context.get_asset_metadata(context.asset_key, partition)
        or {}
        for partition in partitions
    }
    write_origins(
        connection,
        context.asset_key.path[-1],
        origins.keys(),
        {
            day: Origin(
                metadata[LANDED_FINGERPRINT],
                metadata[RECIPE],
                metadata.get(MODEL_VERSION),
                metadata.get(LINKS, ""),
            )
            for day, metadata in origins.items()
            if LANDED_FINGERPRINT in metadata
        },
    )
