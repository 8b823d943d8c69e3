"""Tables between assets: DuckDB, pandas for rows and Arrow for vectors, a transaction a write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pyarrow as pa
from dagster._core.storage.db_io_manager import DbIOManager, DbTypeHandler, TableSlice
from dagster_duckdb import DuckDBIOManager
from dagster_duckdb.io_manager import DuckDbClient
from dagster_duckdb_pandas import DuckDBPandasTypeHandler

from ticket_assets.defs.origins import ORIGINS, keep_origins
from ticket_assets.free_memory import give_back_free_memory
from ticket_assets.storage.day_origins import select_origins
from ticket_assets.storage.tables import TABLES
from ticket_assets.storage.warehouse import Warehouse, add_missing_columns, ensure_table


class WarehouseClient(DuckDbClient):
    """The official client, with a whole write in one transaction and declared tables.

    A process killed between deleting a day and writing it again would otherwise leave the day
    empty; and a table created from a first day whose column holds only nulls would get a wrong
    type for good.
    """

    @staticmethod
    @contextmanager
    def connect(
        context: dg.OutputContext | dg.InputContext, table_slice: TableSlice
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        with Warehouse(Path(str(table_slice.database))).transaction() as connection:
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
        super().handle_output(context, table_slice, obj[list(table.column_names)], connection)

    def load_input(
        self,
        context: dg.InputContext,
        table_slice: TableSlice,
        connection: duckdb.DuckDBPyConnection,
    ) -> pd.DataFrame:
        # An earlier version may have written it, without a column that has been added since.
        add_missing_columns(connection, TABLES[table_slice.table])
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
        if self._stored_length(connection, table_slice) != length:
            # Vectors of another length come from another encoder: none of them can be used again.
            context.log.warning(f"{name} holds vectors of another encoder: it starts afresh.")
            connection.execute(f"drop table {name}")
            ensure_table(connection, table, length)
        connection.register(
            "rows", pa.RecordBatchReader.from_batches(obj.schema, chain([first], batches))
        )
        columns = ", ".join(table.column_names)
        inserted = connection.execute(
            f"insert into {name} select {columns} from rows"  # noqa: S608 - declared names
        ).fetchone()
        connection.unregister("rows")
        context.add_output_metadata({"dagster/row_count": inserted[0] if inserted else 0})

    @staticmethod
    def _stored_length(
        connection: duckdb.DuckDBPyConnection, table_slice: TableSlice
    ) -> int | None:
        found = connection.execute(
            "select data_type from information_schema.columns"
            " where table_schema = ? and table_name = ? and column_name = 'vector'",
            [table_slice.schema, table_slice.table],
        ).fetchone()
        digits = (
            "".join(character for character in found[0] if character.isdigit()) if found else ""
        )
        return int(digits) if digits else None

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


class WarehouseIOManager(DuckDBIOManager):
    """Writes an asset's rows to its table, the run's days only, and reads them back."""

    @staticmethod
    def type_handlers() -> Sequence[DbTypeHandler[Any]]:
        return [DeclaredPandasHandler(), ArrowVectorHandler()]

    @staticmethod
    def default_load_type() -> type | None:
        return pd.DataFrame

    def create_io_manager(self, context: Any) -> DbIOManager:
        return DbIOManager(
            db_client=WarehouseClient(),
            database=self.database,
            schema=self.schema_,
            type_handlers=self.type_handlers(),
            default_load_type=self.default_load_type(),
            io_manager_name="WarehouseIOManager",
        )
