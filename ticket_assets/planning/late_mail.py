"""Landed messages that have waited too long for a prediction."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from ticket_assets.mail.landed_days import day_fingerprints
from ticket_assets.mail.landing import ticket_id_of
from ticket_assets.storage.day_origins import read_origins

if TYPE_CHECKING:
    from ticket_assets.desk import Desk
    from ticket_assets.storage.warehouse import Warehouse


@dataclass(frozen=True)
class LateMail:
    """The messages that are late."""

    messages: int
    by_day: dict[date, int]
    landed_at: datetime | None
    """When the one that has waited longest landed (UTC)."""


def late_mail(desk: Desk, now: datetime) -> LateMail:
    """The messages that landed more than TICKETS_LATE_AFTER_MINUTES ago and have no prediction.

    A message of which no ticket was made, or that has no text of its own, waits for none; nor does
    one that lies before the first processed day, or is dated in the future. A desk without champion
    predicts nothing, so all of its mail is late.

    Raises:
        WarehouseError: the warehouse is being written.
    """
    limit = now - timedelta(minutes=desk.settings.late_after_minutes)
    landed = day_fingerprints(desk.landing, desk.cursors)
    first = desk.landing.first_unpurged_day(desk.first_day) or date.min
    predicted = read_origins(desk.warehouse, "ticket_predictions")
    undone = [
        day
        for day, mail in landed.items()
        if first <= day <= now.date() and (day not in predicted or predicted[day].landed != mail)
    ]
    waiting = [
        message
        for day in undone
        for message in desk.landing.messages(day)
        if message.landed_at < limit
    ]
    settled = _settled(desk, undone)
    late = [message for message in waiting if message.ticket_id not in settled]
    return LateMail(
        len(late),
        dict(sorted(Counter(message.received_at.date() for message in late).items())),
        min((message.landed_at for message in late), default=None),
    )


def _settled(desk: Desk, days: list[date]) -> set[str]:
    """The tickets of these days that have a prediction or wait for none."""
    warehouse = desk.warehouse
    tables = warehouse.tables()
    settled: set[str] = set()
    if "ticket_predictions" in tables:
        settled |= _ticket_ids(warehouse, "ticket_predictions", "ticket_id", days)
    if "rejected_messages" in tables:
        hashes = _ticket_ids(warehouse, "rejected_messages", "content_hash", days)
        settled |= {ticket_id_of(content_hash) for content_hash in hashes}
    if "clean_tickets" in tables:
        # What was read with the same mail as was cleaned, and is not there, was left out.
        read, cleaned = (read_origins(warehouse, name) for name in ("raw_tickets", "clean_tickets"))
        clean = [day for day in days if day in cleaned and read.get(day) == cleaned[day]]
        settled |= _ticket_ids(warehouse, "raw_tickets", "ticket_id", clean) - _ticket_ids(
            warehouse, "clean_tickets", "ticket_id", clean
        )
    return settled


def _ticket_ids(warehouse: Warehouse, table: str, column: str, days: list[date]) -> set[str]:
    rows = warehouse.rows(
        f"select {column} from {table} where received_at::date in (select unnest(?))",  # noqa: S608
        [days],
    )
    return {str(name) for (name,) in rows}
