"""Days in parts, so that the vectors of many days are never all in memory several times."""

from __future__ import annotations

from datetime import date, timedelta

from ticket_assets.storage.warehouse import Warehouse

TICKETS_AT_ONCE = 20_000
"""Their vectors take some 30 MB; a sorted query holds them four times."""


def day_parts(
    warehouse: Warehouse, model: str, first_day: date, last_day: date
) -> list[tuple[date, date]]:
    """The days from `first_day` to `last_day` in parts with some `TICKETS_AT_ONCE` tickets that
    have vectors of `model`; one part where they have none."""
    days = warehouse.rows(
        "select received_at::date as day, count(*) from ticket_embeddings"
        " where day between ? and ? and model = ? group by day order by day",
        [first_day, last_day, model],
    )
    parts, first, tickets = [], first_day, 0
    for day, count in days:
        if tickets and tickets + count > TICKETS_AT_ONCE:
            parts.append((first, day - timedelta(days=1)))
            first, tickets = day, 0
        tickets += count
    return [*parts, (first, last_day)]
