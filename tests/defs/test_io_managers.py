from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ticket_assets.defs.io_managers import WarehouseIOManager
from ticket_assets.storage.tables import SCHEMA, TABLES, TableError
from ticket_assets.storage.vectors import to_arrow, to_matrix
from ticket_assets.storage.warehouse import DuckDBFile, Warehouse

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")

DAYS = dg.DailyPartitionsDefinition("2025-06-01", timezone="UTC")
Write = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "warehouse.duckdb"


@pytest.fixture
def warehouse(path: Path) -> Warehouse:
    return DuckDBFile(path)


@pytest.fixture
def write(path: Path) -> Write:
    """Materialises an asset that returns `rows`, for the days from `first` to `last`."""

    def materialise(
        table: str, rows: Any, first: str, last: str | None = None, *, raises: bool = True
    ) -> dg.ExecuteInProcessResult:
        @dg.asset(
            name=table,
            partitions_def=DAYS,
            backfill_policy=dg.BackfillPolicy.single_run(),
            metadata={"partition_expr": "received_at"},
        )
        def stored() -> type(rows):  # type: ignore[valid-type]
            return rows

        return dg.materialize(
            [stored],
            resources={"io_manager": WarehouseIOManager(DuckDBFile(path))},
            tags={
                "dagster/asset_partition_range_start": first,
                "dagster/asset_partition_range_end": last or first,
            },
            raise_on_error=raises,
        )

    return materialise


def rejected(*days: str, reason: Any = "no header", size: Any = 9) -> pd.DataFrame:
    """One rejected message at noon of each day."""
    return pd.DataFrame(
        {
            "content_hash": [f"hash of {day}" for day in days],
            "received_at": pd.Series(
                [datetime.fromisoformat(f"{day} 12:00") for day in days], dtype="datetime64[us]"
            ),
            "source": pd.Series([None] * len(days), dtype=object),
            "reason": pd.Series([reason] * len(days), dtype=object),
            "size_bytes": [size] * len(days),
            "path": "somewhere",
        }
    )


def embeddings(day: str, vectors: np.ndarray) -> pa.Table:
    names = [f"{day} {row}" for row in range(len(vectors))]
    return pa.table(
        {
            "ticket_id": pa.array(names, pa.string()),
            "received_at": pa.array(
                [datetime.fromisoformat(f"{day} 12:00")] * len(names), pa.timestamp("us")
            ),
            "text_hash": pa.array(names, pa.string()),
            "model": pa.array(["encoder"] * len(names), pa.string()),
            "vector": to_arrow(vectors),
        }
    )


def reasons(warehouse: Warehouse) -> list[tuple[str, str]]:
    return warehouse.rows(
        "select strftime(received_at, '%m-%d'), reason from rejected_messages order by all"
    )


def column_types(warehouse: Warehouse, table: str) -> dict[str, str]:
    return dict(
        warehouse.rows(
            "select column_name, data_type from information_schema.columns where table_name = ?",
            [table],
        )
    )


def test_writing_days_again_replaces_those_days_only(write: Write, warehouse: Warehouse):
    days = ["2025-06-01", "2025-06-02", "2025-06-03", "2025-06-04"]
    write("rejected_messages", rejected(*days, reason="old"), "2025-06-01", "2025-06-04")

    write("rejected_messages", rejected("2025-06-02", reason="new"), "2025-06-02", "2025-06-03")

    assert reasons(warehouse) == [("06-01", "old"), ("06-02", "new"), ("06-04", "old")]


@pytest.mark.slow
def test_a_day_ends_at_midnight(write: Write, warehouse: Warehouse):
    edges = rejected("2025-06-01", "2025-06-02", "2025-06-02", "2025-06-03")
    edges["received_at"] = pd.to_datetime(
        ["2025-06-01 23:59:59.999999", "2025-06-02 00:00", "2025-06-02 23:59:59.999999",
         "2025-06-03 00:00"], format="ISO8601",
    ).astype("datetime64[us]")  # fmt: skip
    write("rejected_messages", edges, "2025-06-01", "2025-06-03")

    write("rejected_messages", rejected(), "2025-06-02")

    assert [day for day, _ in reasons(warehouse)] == ["06-01", "06-03"]


def test_a_write_that_fails_leaves_the_rows_that_were_there(write: Write, warehouse: Warehouse):
    write("rejected_messages", rejected("2025-06-01", reason="old"), "2025-06-01")

    failed = write(
        "rejected_messages",
        rejected("2025-06-01", reason="new", size="many"),
        "2025-06-01",
        raises=False,
    )

    assert not failed.success
    assert reasons(warehouse) == [("06-01", "old")]


def test_a_failed_write_of_vectors_of_another_length_keeps_the_table(
    write: Write, warehouse: Warehouse
):
    old = embeddings("2025-06-01", np.eye(2, 4, dtype=np.float32))
    write("ticket_embeddings", old, "2025-06-01")
    # A timestamp that cannot be one: the table has been dropped when the insert meets it.
    new = embeddings("2025-06-01", np.eye(2, 6, dtype=np.float32))
    new = new.set_column(1, "received_at", pa.array(["soon", "later"]))

    failed = write("ticket_embeddings", new, "2025-06-01", raises=False)

    assert not failed.success
    assert warehouse.row("select count(*), min(array_length(vector)) from ticket_embeddings") == (
        2,
        4,
    )


def test_rows_of_a_day_that_is_empty_now_go(write: Write, warehouse: Warehouse):
    write("rejected_messages", rejected("2025-06-01", "2025-06-02"), "2025-06-01", "2025-06-02")

    write("rejected_messages", rejected(), "2025-06-01")

    assert [day for day, _ in reasons(warehouse)] == ["06-02"]


@pytest.mark.slow
def test_columns_have_the_declared_types_when_the_first_day_is_empty_and_the_next_all_null(
    write: Write, warehouse: Warehouse
):
    declared = {column.name: column.type for column in TABLES["rejected_messages"].columns}

    write("rejected_messages", rejected(), "2025-06-01")
    assert column_types(warehouse, "rejected_messages") == declared

    write("rejected_messages", rejected("2025-06-02", reason=None), "2025-06-02")
    write("rejected_messages", rejected("2025-06-03", reason="words"), "2025-06-03")

    assert column_types(warehouse, "rejected_messages") == declared
    assert reasons(warehouse) == [("06-02", None), ("06-03", "words")]


@pytest.mark.parametrize("day", [rejected("2025-06-01"), rejected()], ids=["a row", "no row"])
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda frame: frame.drop(columns="reason"), "missing columns ['reason']"),
        (lambda frame: frame.assign(mood="bad"), "undeclared columns ['mood']"),
    ],
    ids=["too few", "too many"],
)
def test_rows_with_other_columns_than_declared_are_refused(
    write: Write, warehouse: Warehouse, day: pd.DataFrame, change, named: str
):
    with pytest.raises(TableError) as error:
        write("rejected_messages", change(day), "2025-06-01")

    assert named in str(error.value)
    assert warehouse.tables() == set()


def test_columns_in_another_order_land_where_they_belong(write: Write, warehouse: Warehouse):
    shuffled = rejected("2025-06-01", reason="why")[
        ["path", "reason", "size_bytes", "source", "received_at", "content_hash"]
    ]

    write("rejected_messages", shuffled, "2025-06-01")

    assert warehouse.rows("select content_hash, reason, path from rejected_messages") == [
        ("hash of 2025-06-01", "why", "somewhere")
    ]


@pytest.mark.parametrize("table", ["rejected_messages", "ticket_embeddings"])
def test_rows_land_under_their_names_in_a_table_of_an_earlier_release(
    write: Write, warehouse: Warehouse, path: Path, table: str
):
    """Its columns stand in another order: one that was added since is the last one."""
    first, *others = TABLES[table].columns
    path.parent.mkdir()
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"create schema {SCHEMA}")
        columns = ", ".join(
            f"{column.name} {'FLOAT[3]' if column.name == 'vector' else column.type}"
            for column in (*others, first)
        )
        connection.execute(f"create table {SCHEMA}.{table} ({columns})")

    day = "2025-06-01"
    rows: Any = rejected(day)
    if table == "ticket_embeddings":
        rows = embeddings(day, np.eye(3, dtype=np.float32)[:1])
    write(table, rows, day)

    ((stored, received_at),) = warehouse.rows(
        f"select {first.name}, received_at from {table}"  # noqa: S608
    )
    assert stored == {"rejected_messages": f"hash of {day}", "ticket_embeddings": f"{day} 0"}[table]
    assert received_at == datetime(2025, 6, 1, 12)


def test_vectors_come_back_bit_by_bit_to_the_next_asset(
    write: Write, warehouse: Warehouse, path: Path
):
    vectors = np.random.default_rng(3).normal(size=(50, 4)).astype(np.float32)
    vectors[0] = [0.0, -0.0, np.nextafter(np.float32(0), np.float32(1)), np.float32(1) / 3]
    write("ticket_embeddings", embeddings("2025-06-01", vectors), "2025-06-01")
    loaded = []

    @dg.asset(partitions_def=DAYS)
    def reader(ticket_embeddings: pa.Table) -> None:
        loaded.append(ticket_embeddings)

    source = dg.AssetSpec(
        "ticket_embeddings", partitions_def=DAYS, metadata={"partition_expr": "received_at"}
    )
    dg.materialize(
        [reader, source],
        resources={
            "io_manager": WarehouseIOManager(DuckDBFile(path)),
        },
        selection=[reader],
        partition_key="2025-06-01",
    )

    (table,) = loaded
    assert table.column_names == list(TABLES["ticket_embeddings"].column_names)
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 4)
    order = np.argsort([int(name.split()[1]) for name in table["ticket_id"].to_pylist()])
    assert to_matrix(table["vector"])[order].tobytes() == vectors.tobytes()
    assert column_types(warehouse, "ticket_embeddings")["vector"] == "FLOAT[4]"


@pytest.mark.slow
def test_vectors_of_another_length_start_the_table_afresh(write: Write, warehouse: Warehouse):
    for day in ("2025-06-01", "2025-06-02"):
        write("ticket_embeddings", embeddings(day, np.eye(2, 4, dtype=np.float32)), day)

    write(
        "ticket_embeddings",
        embeddings("2025-06-02", np.eye(3, 6, dtype=np.float32)),
        "2025-06-02",
    )

    assert column_types(warehouse, "ticket_embeddings")["vector"] == "FLOAT[6]"
    assert warehouse.rows("select distinct ticket_id from ticket_embeddings order by all") == [
        ("2025-06-02 0",),
        ("2025-06-02 1",),
        ("2025-06-02 2",),
    ]


def test_vectors_may_come_in_batches(write: Write, warehouse: Warehouse):
    whole = embeddings("2025-06-01", np.eye(5, dtype=np.float32))
    batches = pa.RecordBatchReader.from_batches(whole.schema, whole.to_batches(max_chunksize=2))

    result = write("ticket_embeddings", batches, "2025-06-01")

    stored = warehouse.arrow("select vector from ticket_embeddings order by ticket_id")
    np.testing.assert_array_equal(to_matrix(stored["vector"]), np.eye(5))
    (written, *_) = result.asset_materializations_for_node("ticket_embeddings")
    assert written.metadata["dagster/row_count"].value == 5


@pytest.mark.parametrize("length", [4, 6], ids=["same encoder", "another encoder"])
def test_a_day_without_mail_takes_no_vector_from_the_other_days(
    write: Write, warehouse: Warehouse, length: int
):
    write(
        "ticket_embeddings", embeddings("2025-06-01", np.eye(2, 4, dtype=np.float32)), "2025-06-01"
    )

    write(
        "ticket_embeddings",
        embeddings("2025-06-02", np.zeros((0, length), dtype=np.float32)),
        "2025-06-02",
    )

    assert warehouse.row("select count(*) from ticket_embeddings") == (2,)
    assert column_types(warehouse, "ticket_embeddings")["vector"] == "FLOAT[4]"


@pytest.mark.slow
def test_the_first_day_of_a_desk_may_be_without_mail(write: Write, warehouse: Warehouse):
    empty = embeddings("2025-06-01", np.zeros((0, 4), dtype=np.float32))

    write("ticket_embeddings", empty, "2025-06-01")
    write(
        "ticket_embeddings", embeddings("2025-06-02", np.eye(2, 4, dtype=np.float32)), "2025-06-02"
    )

    assert warehouse.row("select count(*) from ticket_embeddings") == (2,)
    assert column_types(warehouse, "ticket_embeddings")["vector"] == "FLOAT[4]"


def test_what_was_written_is_counted_for_the_interface(write: Write):
    result = write("rejected_messages", rejected("2025-06-01", "2025-06-02"), "2025-06-01",
                   "2025-06-02")  # fmt: skip

    (written, *_) = result.asset_materializations_for_node("rejected_messages")

    assert written.metadata["dagster/row_count"].value == 2
