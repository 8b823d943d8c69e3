"""Desks on which tickets are decided, without the runs that decide them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from tests.days import now
from tests.warehouse_rows import append_rows
from ticket_assets.delivery.ledger import TABLE
from ticket_assets.desk import Desk
from ticket_assets.settings import Settings
from ticket_assets.storage.warehouse import ensure_table


def ticket_id(number: int) -> str:
    return f"{number:020d}"


def ticket(number: int, **columns: Any) -> dict[str, Any]:
    """A row of ticket_predictions, received today."""
    return {
        "ticket_id": ticket_id(number),
        "received_at": now().replace(hour=0, minute=0) + timedelta(milliseconds=number),
        "category": "network",
        "category_confidence": 0.97,
        "priority": "high",
        "priority_confidence": 0.6,
        "priority_decision": "review",
        "queue": "it-network",
        "decision": "auto",
        "decided_by": "model",
        "model_version": "m1",
    } | columns


def decided_desk(settings: Settings, tickets: Iterable[Mapping[str, Any]] = ()) -> Desk:
    """The desk of these settings, with these tickets and no label."""
    desk = Desk(settings)
    with desk.warehouse.transaction():
        pass  # rows of a warehouse without a version would be taken for those of an old release
    append_rows(settings, "ticket_labels", [])
    append_rows(settings, "raw_tickets", [])
    append_rows(settings, "ticket_predictions", list(tickets))
    return desk


def stored(desk: Desk) -> dict[int, Mapping[str, Any]]:
    """The rows of the ledger, by the number of the ticket."""
    rows = desk.warehouse.frame("from delivered_tickets").to_dict("records")
    return {int(row["ticket_id"]): row for row in rows}


def outcomes(desk: Desk) -> dict[int, str]:
    return {number: str(row["outcome"]) for number, row in sorted(stored(desk).items())}


def let_time_pass(desk: Desk) -> None:
    """Whatever waits for its next try is due."""
    with desk.warehouse.transaction() as connection:
        ensure_table(connection, TABLE)
        connection.execute("update tickets.delivered_tickets set next_try_at = null")
    desk.cursors.delete([name for name in desk.cursors.names() if name.startswith("source-")])
