from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ticket_assets.storage import day_parts
from ticket_assets.storage.neighbours import LabelledTickets, Neighbour, neighbours_json
from ticket_assets.storage.tables import SCHEMA, TABLES
from ticket_assets.storage.vectors import to_arrow
from ticket_assets.storage.warehouse import DuckDBFile, ensure_table

MODEL = "multilingual-e5-small@1 bf16 256"
DAYS = [date(2026, 11, 1 + row % 5) for row in range(90)]


@pytest.fixture
def vectors():
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((90, 8)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def warehouse(tmp_path: Path, vectors):
    """90 tickets of 5 days, two in three labelled; one has another encoder's vector."""
    warehouse = DuckDBFile(tmp_path / "warehouse.duckdb")
    embedded = pa.table(
        {
            "ticket_id": [f"t{row:02}" for row in range(90)],
            "received_at": [datetime(day.year, day.month, day.day, 23, 59) for day in DAYS],
            "text_hash": [f"h{row}" for row in range(90)],
            "model": ["another" if row == 1 else MODEL for row in range(90)],
            "vector": to_arrow(vectors),
        }
    )
    labelled = pa.table(
        {
            "ticket_id": [f"t{row:02}" for row in range(90)],
            "category": ["mail" if row % 3 else None for row in range(90)],
            "priority": ["high" if row % 2 else None for row in range(90)],
        }
    )
    with warehouse.transaction() as connection:
        for name, rows in {"ticket_embeddings": embedded, "ticket_labels": labelled}.items():
            ensure_table(connection, TABLES[name], 8)
            connection.register("rows_of_it", rows)
            connection.execute(f"insert into {SCHEMA}.{name} by name select * from rows_of_it")  # noqa: S608
    return warehouse


@pytest.mark.parametrize(("last", "at_once"), [(1, 20_000), (2, 20_000), (5, 20_000), (5, 20)])
def test_the_nearest_labelled_tickets_of_earlier_days(
    warehouse, vectors, monkeypatch, last, at_once
):
    monkeypatch.setattr(day_parts, "TICKETS_AT_ONCE", at_once)
    asked = [row for row in range(90) if DAYS[row].day <= last]
    labelled = LabelledTickets.before(date(2026, 11, last), warehouse, MODEL)

    nearest = labelled.nearest(vectors[asked], [DAYS[row] for row in asked], 4)

    for row, neighbours in zip(asked, nearest, strict=True):
        earlier = [o for o in range(90) if o % 3 and o != 1 and DAYS[o] < DAYS[row]]
        expected = sorted(earlier, key=lambda other: -vectors[row] @ vectors[other])[:4]
        assert [one.ticket_id for one in neighbours] == [f"t{other:02}" for other in expected]
        for one in neighbours:
            other = int(one.ticket_id[1:])
            assert one == Neighbour(
                one.ticket_id,
                pytest.approx(vectors[row] @ vectors[other], abs=1e-5),
                "mail",
                "high" if other % 2 else None,
                DAYS[other],
                f"h{other}",
            )


def test_a_day_has_the_same_neighbours_alone_and_with_others(warehouse, vectors):
    last = date(2026, 11, 5)
    of_last = [row for row in range(90) if DAYS[row] == last]
    labelled = LabelledTickets.before(last, warehouse, MODEL)

    together = labelled.nearest(vectors, DAYS, 5)
    alone = labelled.nearest(vectors[of_last], [last] * len(of_last), 5)

    assert [neighbours_json(together[row]) for row in of_last] == [*map(neighbours_json, alone)]


def test_before_the_first_label_there_is_no_neighbour(warehouse, vectors):
    labelled = LabelledTickets.before(DAYS[0], warehouse, MODEL)

    assert labelled.nearest(vectors[:2], [DAYS[0], date(2020, 1, 1)], 3) == [[], []]


def test_neighbours_as_the_predictions_keep_them():
    neighbour = Neighbour("near", 0.984807, "mail", None, date(2026, 11, 16), "h")

    assert neighbours_json([neighbour]) == (
        '[{"ticket_id": "near", "similarity": 0.9848, "category": "mail", "priority": null,'
        ' "day": "2026-11-16"}]'
    )
