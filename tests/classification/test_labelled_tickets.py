from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ticket_assets.classification.labelled_tickets import labelled_tickets
from ticket_assets.classification.training_set import MixedEncodersError, NotEnoughLabels
from ticket_assets.storage.tables import SCHEMA, TABLES
from ticket_assets.storage.vectors import to_arrow
from ticket_assets.storage.warehouse import DuckDBFile, ensure_table

IDS = [f"t{row:02}" for row in range(30)]
FIRST = datetime(2026, 11, 1, 9)
# Three tickets come at the same moment: their ids decide.
RECEIVED = [FIRST + timedelta(days=row // 3) for row in range(30)]
VECTORS = np.arange(60, dtype=np.float32).reshape(30, 2)


@pytest.fixture
def warehouse(tmp_path: Path):
    """30 clean tickets with vectors of one encoder; every second one is labelled."""
    warehouse = DuckDBFile(tmp_path / "warehouse.duckdb")
    clean = pa.table(
        {
            "ticket_id": IDS,
            "received_at": RECEIVED,
            "text": [f"text {ticket}" for ticket in IDS],
            "tokens": [f"tokens {ticket}" for ticket in IDS],
            "language": ["fr"] * 30,
        }
    )
    embedded = pa.table(
        {
            "ticket_id": IDS,
            "received_at": RECEIVED,
            "model": ["encoder@1"] * 30,
            "vector": to_arrow(VECTORS),
        }
    )
    labelled = pa.table({"ticket_id": IDS[::-2], "category": ["mail"] * 15})
    with warehouse.transaction() as connection:
        for name, rows in {
            "clean_tickets": clean,
            "ticket_embeddings": embedded,
            "ticket_labels": labelled,
        }.items():
            ensure_table(connection, TABLES[name], 2)
            connection.register("rows_of_it", rows)
            connection.execute(f"insert into {SCHEMA}.{name} by name select * from rows_of_it")  # noqa: S608
    return warehouse


def change(warehouse, sql):
    with warehouse.transaction() as connection:
        connection.execute(sql.format(schema=SCHEMA))


def test_the_labelled_tickets_in_order_of_time(warehouse):
    training_set = labelled_tickets(warehouse, most=100)

    assert training_set.tickets["ticket_id"].tolist() == IDS[1::2]
    assert training_set.tickets["text"].tolist() == [f"text {ticket}" for ticket in IDS[1::2]]
    assert training_set.vectors.tolist() == VECTORS[1::2].tolist()
    assert (training_set.encoder, training_set.older_rows) == ("encoder@1", 0)


@pytest.mark.parametrize("most", [1, 2, 3, 4, 15])
def test_only_the_most_recent_are_read(warehouse, most):
    training_set = labelled_tickets(warehouse, most)

    assert training_set.tickets["ticket_id"].tolist() == IDS[1::2][-most:]
    assert training_set.vectors.tolist() == VECTORS[1::2][-most:].tolist()
    assert training_set.older_rows == 15 - most


def test_an_old_ticket_of_another_encoder_is_seen_though_it_is_not_read(warehouse):
    change(
        warehouse,
        "update {schema}.ticket_embeddings set model = 'former@1' where ticket_id = 't01'",
    )

    with pytest.raises(MixedEncodersError, match=r"\(encoder@1, former@1\)"):
        labelled_tickets(warehouse, most=2)


def test_no_ticket_has_a_label(warehouse):
    change(warehouse, "delete from {schema}.ticket_labels")

    with pytest.raises(NotEnoughLabels, match="No ticket has a label yet"):
        labelled_tickets(warehouse, most=2)
