"""The collection is filled from the warehouse, and a loss is noticed; in a folder, on a server."""

import shutil
from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pytest

from ticket_assets.storage import day_parts
from ticket_assets.storage.collected_tickets import fill, lost_tickets, rebuild
from ticket_assets.storage.collection import (
    ChromaServer,
    CollectionError,
    TicketCollection,
    collection_name,
)
from ticket_assets.storage.day_origins import Origin, replace_origins
from ticket_assets.storage.tables import SCHEMA, TABLES
from ticket_assets.storage.vectors import to_arrow
from ticket_assets.storage.warehouse import DuckDBFile, ensure_table

MODEL = "multilingual-e5-small@1 bf16 256"
DAYS = [date(2026, 11, day) for day in (16, 17, 20)]


@pytest.fixture
def warehouse(tmp_path):
    """12 tickets of three days, whose collection was filled once."""
    warehouse = DuckDBFile(tmp_path / "warehouse.duckdb")
    days = [DAYS[row // 4] for row in range(12)]
    rows = {
        "ticket_id": [f"t{row:02}" for row in range(12)],
        "received_at": [datetime(day.year, day.month, day.day, 9) for day in days],
        "language": ["fr"] * 12,
        "text_hash": [f"h{row}" for row in range(12)],
        "model": [MODEL] * 12,
        "vector": to_arrow(np.eye(12, dtype=np.float32)),
        "category": ["mail"] * 12,
        "priority": [None] * 12,
    }
    with warehouse.transaction() as connection:
        for name in ("ticket_embeddings", "clean_tickets", "ticket_labels"):
            ensure_table(connection, TABLES[name], 12)
            columns = [column for column in TABLES[name].column_names if column in rows]
            connection.register(
                "rows_of_it", pa.table({column: rows[column] for column in columns})
            )
            connection.execute(f"insert into {SCHEMA}.{name} by name select * from rows_of_it")  # noqa: S608
    for table in ("ticket_embeddings", "ticket_collection"):
        replace_origins(warehouse, table, DAYS, {day: Origin("mail", "code") for day in DAYS})
    return warehouse


@pytest.fixture
def stores(tmp_path):
    """The collection's place, in a folder."""
    return {"folder": tmp_path / "collection", "server": None}


def ids(stores):
    with TicketCollection.open(MODEL, **stores) as collection:
        return collection.ids()


@pytest.mark.slow
def test_a_collection_that_was_deleted_is_missed_and_made_anew(warehouse, stores):
    progress = []
    assert lost_tickets(warehouse, **stores) == 12

    assert rebuild(warehouse, **stores, on_progress=lambda *counts: progress.append(counts)) == 12
    assert (lost_tickets(warehouse, **stores), len(ids(stores))) == (0, 12)
    assert progress[-1] == (12, 12)

    shutil.rmtree(stores["folder"])
    assert lost_tickets(warehouse, **stores) == 12
    assert not stores["folder"].exists()


@pytest.mark.slow
def test_a_database_that_is_damaged_is_replaced(warehouse, stores):
    stores["folder"].mkdir()
    (stores["folder"] / "chroma.sqlite3").write_text("not a database " * 500)

    rebuild(warehouse, **stores)

    assert len(ids(stores)) == 12


def test_a_file_in_the_place_of_the_folder_stays(warehouse, stores):
    stores["folder"].write_text("a letter, perhaps")

    with pytest.raises(CollectionError, match="is a file"):
        rebuild(warehouse, **stores)

    assert stores["folder"].read_text() == "a letter, perhaps"


@pytest.mark.slow
def test_an_earlier_copy_of_the_folder_is_noticed(warehouse, stores):
    with TicketCollection.open(MODEL, **stores) as collection:
        fill(collection, warehouse, DAYS[0], DAYS[1])

    assert lost_tickets(warehouse, **stores) == 4


def test_days_whose_vectors_were_made_anew_are_not_missed(warehouse, stores):
    replace_origins(warehouse, "ticket_embeddings", DAYS[1:], {DAYS[1]: Origin("late", "code")})

    assert lost_tickets(warehouse, **stores) == 4


@pytest.mark.slow
def test_it_is_filled_in_parts_without_what_the_tables_lack(warehouse, stores, monkeypatch):
    rebuild(warehouse, **stores)
    with warehouse.transaction() as connection:
        connection.execute(f"set schema = '{SCHEMA}'")
        connection.execute("delete from ticket_embeddings where ticket_id = 't05'")
        connection.execute("update ticket_labels set category = 'vpn'")
    monkeypatch.setattr(day_parts, "TICKETS_AT_ONCE", 5)
    with TicketCollection.open(MODEL, **stores) as collection:
        counts = fill(collection, warehouse)

    assert (counts.upserted, counts.relabelled, counts.deleted, counts.unchanged) == (0, 11, 1, 0)
    assert "t05" not in ids(stores)


@pytest.mark.slow
def test_a_server_that_has_lost_its_index_is_filled_anew(warehouse, chroma, tmp_path):
    stores = {"folder": tmp_path / "not used", "server": ChromaServer(chroma.url)}
    rebuild(warehouse, **stores)
    with TicketCollection.open(MODEL, **stores) as collection:
        collection._client.create_collection("another-products")
    assert lost_tickets(warehouse, **stores) == 0
    rebuild(warehouse, **stores)
    with TicketCollection.open(MODEL, **stores) as collection:
        names = {collection.name for collection in collection._client.list_collections()}
    assert names == {"another-products", collection_name(MODEL)}

    chroma.stop()
    shutil.rmtree(chroma.folder)
    chroma.start()

    assert lost_tickets(warehouse, **stores) == 12
    assert rebuild(warehouse, **stores) == 12
    assert (lost_tickets(warehouse, **stores), len(ids(stores))) == (0, 12)
    assert not stores["folder"].exists()
