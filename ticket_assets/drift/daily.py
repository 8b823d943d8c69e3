"""Drift reports of many days, one after the other, with one page of days in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta

import pandas as pd

from ticket_assets.classification.training import TrainedClassifier
from ticket_assets.drift.out_of_sample import out_of_sample
from ticket_assets.drift.report import Comparison, DriftReport
from ticket_assets.drift.window import REACH_DAYS, Window, current_window
from ticket_assets.storage.vectors import to_matrix
from ticket_assets.storage.warehouse import Warehouse

PAGE_TICKETS = 5_000
"""Tickets read at a time, or one window: a query per day took longer than the comparison."""


def daily_reports(
    days: Iterable[date],
    *,
    warehouse: Warehouse,
    champion: TrainedClassifier,
    model_version: str,
    drift_distance: float,
    min_tickets: int,
    seed: int,
    first_html_day: date = date.min,
) -> Iterator[DriftReport]:
    """The report of each day, in order.

    From `first_html_day` on, days that drift and the latest day with mail have HTML.

    Raises:
        WarehouseError: the predictions have not been materialised yet.
        DriftError: the champion's reference cannot be compared with the tickets.
    """
    days = sorted(days)
    received: dict[date, int] = dict(
        warehouse.rows(
            "select received_at::date as day, count(*) from ticket_predictions"
            " where received_at::date between ? and ? group by day",
            [days[0] - timedelta(days=REACH_DAYS), days[-1]],
        )
    )
    latest = max(received.keys() & set(days), default=None)
    comparison = Comparison(
        champion.reference, model_version=model_version, drift_distance=drift_distance, seed=seed
    )
    windows = [current_window(received, day, min_tickets) for day in days]
    for page in _pages(windows, received):
        tickets = _tickets(warehouse, champion, page)
        received_on = tickets.pop("received_on")
        for window in page:
            day = window.last_day
            yield comparison.report(
                tickets[received_on.between(window.first_day, day)]
                if window.tickets
                else tickets[:0],
                day=day,
                window_days=window.days,
                html="never" if day < first_html_day else "always" if day == latest else "drifted",
            )


def _pages(windows: Iterable[Window], received: dict[date, int]) -> Iterator[list[Window]]:
    """The windows in order, as many at a time as together hold at most `PAGE_TICKETS`."""
    page: list[Window] = []
    for window in windows:
        first = min(part.first_day for part in (*page, window))
        tickets = sum(n for day, n in received.items() if first <= day <= window.last_day)
        if page and tickets > PAGE_TICKETS:
            yield page
            page = []
        page.append(window)
    yield page


def _tickets(
    warehouse: Warehouse, champion: TrainedClassifier, windows: Sequence[Window]
) -> pd.DataFrame:
    rows = warehouse.arrow(
        "select c.ticket_id, c.received_at::date as received_on, c.language, c.character_count,"
        " c.tokens, p.category, p.category_confidence, e.vector"
        " from clean_tickets c join ticket_predictions p using (ticket_id)"
        " join ticket_embeddings e using (ticket_id)"
        " where c.received_at::date between ? and ?",
        [min(window.first_day for window in windows), windows[-1].last_day],
    )
    tickets = rows.drop_columns(["vector"]).to_pandas()
    return out_of_sample(tickets.assign(vector=list(to_matrix(rows["vector"]))), champion)
