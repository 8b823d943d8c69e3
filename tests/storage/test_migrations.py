"""A warehouse of an earlier version is brought to the present schema; a newer one is refused."""

import tarfile
from pathlib import Path

import duckdb
import pytest

from ticket_assets.storage.migrations import STEPS, VERSION, SchemaError
from ticket_assets.storage.table_files import export_tables, import_tables
from ticket_assets.storage.tables import DAY_TABLES, TABLES
from ticket_assets.storage.warehouse import DuckDBFile

FORMER = Path(__file__).parents[1] / "former" / "desk-0.1.0.tar.xz"


@pytest.fixture
def former(tmp_path):
    """The warehouse that version 0.1.0 wrote."""
    with tarfile.open(FORMER) as archive:
        archive.extractall(tmp_path, filter="data")
    return DuckDBFile(tmp_path / "data" / "warehouse.duckdb")


def with_columns(warehouse):
    return {name: warehouse.columns(name) for name in warehouse.tables()}


@pytest.mark.slow
def test_a_warehouse_of_0_1_0_gets_every_declared_column_and_keeps_its_rows(former):
    before = with_columns(former)
    assert "reference" not in before["raw_tickets"]
    rows = former.rows("select * from raw_tickets order by all")

    with former.transaction():
        pass

    for name in before.keys() & TABLES.keys():
        assert former.columns(name) == set(TABLES[name].column_names), name
    columns = ", ".join(c for c in TABLES["raw_tickets"].column_names if c != "reference")
    kept = former.rows(f"select {columns}, reference from raw_tickets")  # noqa: S608
    assert len(kept) == len(rows) == 198
    assert {row[-1] for row in kept} == {None}
    assert former.row("select version from schema_version") == (VERSION,)


def test_the_steps_are_made_once(former):
    with former.transaction() as connection:
        connection.execute("update tickets.raw_tickets set reference = 'r'")
    with former.transaction():
        pass

    assert former.rows("select distinct reference from raw_tickets") == [("r",)]


@pytest.mark.slow
def test_a_step_that_fails_leaves_the_warehouse_as_it_was(former, monkeypatch):
    before = with_columns(former)

    def fails(connection):
        connection.execute("alter table tickets.raw_tickets add column half VARCHAR")
        raise RuntimeError("no space left")

    monkeypatch.setattr("ticket_assets.storage.migrations.STEPS", (*STEPS, fails))
    monkeypatch.setattr("ticket_assets.storage.migrations.VERSION", VERSION + 1)
    with pytest.raises(RuntimeError), former.transaction():
        pass

    assert with_columns(former) == before


@pytest.mark.parametrize("way", ["read", "write"])
def test_a_warehouse_of_a_newer_version_is_one_line_and_untouched(former, way):
    with former.transaction() as connection:
        connection.execute("update tickets.schema_version set version = 99")
    newer = DuckDBFile(former.path)

    with pytest.raises(SchemaError) as refusal:
        newer.rows("select 1") if way == "read" else newer.transaction().__enter__()

    assert str(refusal.value) == (
        f"The warehouse has schema 99, this version of ticket-assets knows {VERSION}: a newer one"
        " has worked on it. Upgrade ticket-assets, or restore a backup made before."
    )
    with duckdb.connect(str(former.path), read_only=True) as connection:
        assert connection.execute("from tickets.schema_version").fetchall() == [(99,)]


@pytest.mark.slow
def test_files_of_a_former_schema_are_brought_to_the_present_one(former, tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    exported = list(export_tables(former, files, 64_000_000))
    assert "schema_version" not in {name for name, _, _ in exported}
    again = DuckDBFile(tmp_path / "again.duckdb")

    import_tables(again, {name: files / name for name, _, _ in exported}, 384)

    assert again.columns("raw_tickets") == set(TABLES["raw_tickets"].column_names)
    assert again.row("select version from schema_version") == (VERSION,)
    for name, rows, _ in exported:
        assert again.row(f"select count(*) from {name}") == (rows,)  # noqa: S608
    with duckdb.connect(str(again.path), read_only=True) as connection:
        (vector,) = connection.execute(
            "select data_type from information_schema.columns where column_name = 'vector'"
        ).fetchall()[0]
    assert vector == "FLOAT[384]"


def test_the_tables_about_days_have_their_declared_columns(former):
    with former.transaction() as connection:
        connection.execute("create table tickets.day_origins (table_name VARCHAR, day DATE)")
        connection.execute("drop table tickets.schema_version")
    with former.transaction():
        pass

    assert "links" in former.columns("day_origins")
    assert "links VARCHAR" in DAY_TABLES["day_origins"]
