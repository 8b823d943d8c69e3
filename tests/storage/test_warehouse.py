from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ticket_assets.storage.tables import TABLES
from ticket_assets.storage.vectors import to_arrow, to_matrix
from ticket_assets.storage.warehouse import DuckDBFile, WarehouseError, ensure_table

WRITER = """
import sys, time, duckdb
connection = duckdb.connect(sys.argv[1])
print("writing", flush=True)
if sys.argv[2] == "until told":
    sys.stdin.readline()
else:
    time.sleep(float(sys.argv[2]))
connection.execute("insert into tickets.ticket_labels (ticket_id) values ('written meanwhile')")
connection.close()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A warehouse with an empty table of labels."""
    path = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(path)) as connection:
        ensure_table(connection, TABLES["ticket_labels"])
    return path


def start_writer(path: Path, holds: str) -> subprocess.Popen[str]:
    """Another process that holds the write lock by the time this returns."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), holds],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "writing\n"
    return writer


def columns_of(connection: duckdb.DuckDBPyConnection, table: str) -> list[tuple[str, str]]:
    return connection.execute(
        "select column_name, data_type from information_schema.columns"
        " where table_schema = 'tickets' and table_name = ? order by ordinal_position",
        [table],
    ).fetchall()


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_table_is_created_with_the_declared_columns_and_types(table) -> None:
    with duckdb.connect() as connection:
        ensure_table(connection, table)

        assert columns_of(connection, table.name) == [
            (column.name, column.type) for column in table.columns
        ]


def test_vectors_are_arrays_of_the_length_that_is_known() -> None:
    with duckdb.connect() as connection:
        ensure_table(connection, TABLES["ticket_embeddings"], vector_length=384)

        assert ("vector", "FLOAT[384]") in columns_of(connection, "ticket_embeddings")


def test_rows_are_read_as_frame_arrow_table_and_python_values(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "insert into tickets.ticket_labels (ticket_id, category)"
            " values ('a', 'mail'), ('b', null)"
        )
    warehouse = DuckDBFile(path)
    sql = "select ticket_id, category from ticket_labels where ticket_id <= ? order by ticket_id"

    assert warehouse.frame(sql, ["b"]).to_dict("list") == {
        "ticket_id": ["a", "b"],
        "category": ["mail", None],
    }
    assert warehouse.arrow(sql, ["a"]).to_pylist() == [{"ticket_id": "a", "category": "mail"}]
    assert warehouse.rows(sql, ["b"]) == [("a", "mail"), ("b", None)]
    assert warehouse.rows(sql, [""]) == []
    assert warehouse.row("select count(*), max(ticket_id) from ticket_labels") == (2, "b")


def test_a_frame_can_be_joined_like_a_table(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "insert into tickets.ticket_labels (ticket_id, category) values ('a', 'mail')"
        )

    joined = DuckDBFile(path).frame(
        "select w.ticket_id, category from wanted w left join ticket_labels using (ticket_id)"
        " order by all",
        frames={"wanted": pd.DataFrame({"ticket_id": ["a", "z"]})},
    )

    assert joined.to_dict("list") == {"ticket_id": ["a", "z"], "category": ["mail", None]}


def test_vectors_pass_through_the_warehouse_unchanged(path: Path) -> None:
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)
    with duckdb.connect(str(path)) as connection:
        ensure_table(connection, TABLES["ticket_embeddings"], vector_length=3)
        connection.register(
            "rows", pa.table({"ticket_id": ["a", "b"], "vector": to_arrow(vectors)})
        )
        connection.execute("insert into tickets.ticket_embeddings by name from rows")

    stored = DuckDBFile(path).arrow("select vector from ticket_embeddings order by ticket_id")

    np.testing.assert_array_equal(to_matrix(stored["vector"]), vectors)


def test_the_tables_are_listed_and_there_are_none_without_a_warehouse(path: Path) -> None:
    assert DuckDBFile(path).tables() == {"ticket_labels"}
    assert DuckDBFile(path.with_name("nothing.duckdb")).tables() == set()


@pytest.mark.slow
def test_a_reader_waits_for_another_process_that_writes(path: Path) -> None:
    writer = start_writer(path, "0.5")

    stored = DuckDBFile(path, patience=60).rows("select ticket_id from ticket_labels")

    assert stored == [("written meanwhile",)]
    assert writer.wait(timeout=60) == 0


def test_a_reader_whose_patience_ends_says_so_in_one_line(path: Path) -> None:
    writer = start_writer(path, "until told")

    with pytest.raises(WarehouseError) as error:
        DuckDBFile(path, patience=0.1).tables()
    writer.communicate("done\n", timeout=60)

    assert str(error.value) == (
        f"The warehouse {path} is in use by another process. Try again when the run has finished."
    )
    assert DuckDBFile(path, patience=0).rows("select count(*) from ticket_labels") == [(1,)]


def test_a_writer_in_the_same_process_counts_as_in_use(path: Path) -> None:
    with duckdb.connect(str(path)), pytest.raises(WarehouseError, match="is in use"):
        DuckDBFile(path, patience=0).tables()


def test_two_readers_do_not_wait_for_each_other(path: Path) -> None:
    warehouse = DuckDBFile(path, patience=0)

    with warehouse.connect():
        assert warehouse.tables() == {"ticket_labels"}


def test_a_reader_cannot_write(path: Path) -> None:
    with (
        DuckDBFile(path).connect() as connection,
        pytest.raises(duckdb.InvalidInputException, match="read-only"),
    ):
        connection.execute("drop table tickets.ticket_labels")


def test_a_missing_warehouse_says_how_to_make_one(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"

    with pytest.raises(WarehouseError) as error:
        DuckDBFile(path).frame("select 1")

    assert str(error.value) == (
        f"There is no warehouse at {path} yet. Import mail with `tickets import PATH`,"
        " then `tickets run`."
    )
    assert not path.exists()


@pytest.mark.parametrize("name", ["warehouse.duckdb", "locked/warehouse.duckdb"])
def test_a_file_that_is_no_warehouse_is_named_at_once(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("a letter, perhaps")

    with pytest.raises(WarehouseError) as error:
        DuckDBFile(path, patience=1).tables()

    message = str(error.value)
    assert message.startswith(f"The warehouse {path} cannot be used: IO Error: ")
    assert message.endswith(
        " not a valid DuckDB database file. `tickets doctor --repair` sets a damaged one aside, and"
        " `tickets run` makes it anew from the landing zone."
    )
    assert "\n" not in message


@pytest.mark.parametrize("use", ["read", "change", "rewrite"])
def test_a_damaged_block_is_an_error_for_people_whoever_meets_it(path: Path, use: str) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table tickets.raw_tickets as select uuid() u from range(200000)")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 1000] = b"?" * 1000
    path.write_bytes(content)

    warehouse = DuckDBFile(path, patience=0)

    def meet_it() -> None:
        if use == "read":
            warehouse.frame("select max(u) from raw_tickets")
        elif use == "rewrite":
            warehouse.rewrite({})
        else:
            with warehouse.transaction() as connection:
                connection.execute("delete from tickets.raw_tickets where u = uuid()")

    with pytest.raises(
        WarehouseError, match=r"cannot be used: IO Error: .*\. `tickets doctor --re"
    ):
        meet_it()


def test_a_table_that_was_not_materialised_is_named(path: Path) -> None:
    with pytest.raises(WarehouseError) as error:
        DuckDBFile(path).frame("select * from clean_tickets")

    assert str(error.value) == (
        "Catalog Error: Table with name clean_tickets does not exist."
        " Materialise it first: `tickets run`."
    )


def test_a_warehouse_without_any_table_says_the_same(tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "empty.duckdb")).close()

    with pytest.raises(
        WarehouseError, match=r"clean_tickets does not exist\. Materialise it first"
    ):
        DuckDBFile(tmp_path / "empty.duckdb").frame("select * from clean_tickets")


KILLED = """
import os, sys, duckdb
connection = duckdb.connect(sys.argv[1], config={"memory_limit": "60MB", "threads": 1})
connection.execute("set force_compression = 'uncompressed'")
connection.begin()
connection.execute(
    "insert into tickets.ticket_labels (ticket_id)"
    " select 'Zwyrtalka ' || i from range(300000) r(i)"
)
rows = connection.execute(
    "select ticket_id || repeat(' Zwyrtalka', 20) as text from tickets.ticket_labels order by text"
)
rows.fetchone()
os.kill(os.getpid(), 9)
"""


@pytest.mark.slow
def test_what_a_killed_process_had_not_committed_is_in_no_byte_after_a_rewrite(path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    spilled = path.with_name("warehouse.duckdb.tmp")
    halves = [path.with_name(f".warehouse.duckdb.rewritten{end}") for end in ("", ".wal")]
    for half in halves:
        half.write_text("Zwyrtalka")
    assert b"Zwyrtalka" in path.read_bytes()
    assert any(b"Zwyrtalka" in file.read_bytes() for file in spilled.iterdir())
    warehouse = DuckDBFile(path)
    assert warehouse.frame("from ticket_labels").empty
    assert warehouse.keeps_former_rows

    warehouse.rewrite({})

    assert list(path.parent.iterdir()) == [path]
    assert b"Zwyrtalka" not in path.read_bytes()
    assert not warehouse.keeps_former_rows
