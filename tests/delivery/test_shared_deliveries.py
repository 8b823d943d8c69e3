"""Deliveries on shared stores, where several machines may hand over at once."""

from __future__ import annotations

import threading
from collections import Counter

import pyarrow as pa
import pytest

from tests.delivery.decided import ticket
from tests.delivery.test_handover import Notebook
from ticket_assets.delivery.handover import hand_over
from ticket_assets.delivery.overview import delivery_overview, first_due_day
from ticket_assets.storage.tables import SCHEMA, TABLES
from ticket_assets.storage.warehouse import ensure_table

pytestmark = pytest.mark.slow


def test_two_machines_at_once_tell_each_decision_once(shared_stores) -> None:
    stores = shared_stores()
    rows = [ticket(number) for number in range(1, 41)]
    names = TABLES["ticket_predictions"].column_names
    predictions = pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})
    with stores.desk().warehouse.transaction() as connection:
        for table in ("ticket_labels", "raw_tickets", "ticket_predictions"):
            ensure_table(connection, TABLES[table])
        connection.register("predictions", predictions)
        connection.execute(f"insert into {SCHEMA}.ticket_predictions by name from predictions")
    notebooks = [Notebook(), Notebook()]

    threads = [
        threading.Thread(target=hand_over, args=(stores.desk(), [notebook]))
        for notebook in notebooks
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    told = Counter(number for notebook in notebooks for number in notebook.told)
    assert told == Counter(range(1, 41))
    rows_told = stores.desk().warehouse.rows(
        "select outcome, count(*) from delivered_tickets group by all"
    )
    assert rows_told == [("delivered", 40)]
    assert delivery_overview(stores.desk()).receivers == ()
    assert first_due_day(stores.desk()) is None
