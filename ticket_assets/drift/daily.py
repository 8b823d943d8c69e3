"""Drift reports of many days, one after the other, with one page of days in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta

import pandas as pd

from ticket_assets.classification.training import TrainedClassifier
from ticket_assets.drift.day_figures import day_figures
from ticket_assets.drift.estimated_precision import labels_of, precision_estimator
from ticket_assets.drift.out_of_sample import out_of_sample
from ticket_assets.drift.report import Comparison, DriftReport
from ticket_assets.drift.window import REACH_DAYS, Window, windows_of
from ticket_assets.storage.vectors import to_matrix
from ticket_assets.storage.warehouse import Warehouse

PAGE_TICKETS = 15_000
"""Tickets read at a time, or one day's windows: a query per day took longer than the comparison."""


def daily_reports(
    days: Iterable[date],
    *,
    warehouse: Warehouse,
    champion: TrainedClassifier,
    model_version: str,
    floors: Mapping[str, float],
    min_tickets: int,
    seed: int,
    first_html_day: date = date.min,
) -> Iterator[DriftReport]:
    """The report of each day, in order.

    From `first_html_day` on, days that drift and the latest day with mail have HTML. Where the
    reference begins with a change of the mail, days before it are no part of any window.

    Raises:
        WarehouseError: the predictions have not been materialised yet.
        DriftError: the champion's reference cannot be compared with the tickets.
    """
    days = sorted(days)
    if not days:
        return
    received: dict[date, int] = dict(
        warehouse.rows(
            "select received_at::date as day, count(*) from ticket_predictions"
            " where received_at::date between ? and ? group by day",
            [days[0] - timedelta(days=REACH_DAYS), days[-1]],
        )
    )
    if since := champion.reference_from:
        received = {day: tickets for day, tickets in received.items() if day >= since}
    latest = max(received.keys() & set(days), default=None)
    comparison = Comparison(
        champion.reference,
        model_version=model_version,
        floors=floors,
        seed=seed,
        vocabulary_words=len(champion.vocabulary),
        estimator=precision_estimator(champion, labels_of(champion, warehouse)),
    )
    windows = [windows_of(received, day, min_tickets) for day in days]
    for page in _pages(windows, received):
        tickets = _tickets(warehouse, champion, page)
        received_on = tickets.pop("received_on")
        for of_day in page:
            own, *week = of_day
            day = own.last_day
            parts = [
                tickets[received_on.between(window.first_day, day)]
                if window.tickets
                else tickets[:0]
                for window in of_day
            ]
            yield comparison.report(
                parts[0],
                day=day,
                window_days=own.days,
                week=parts[1] if week else None,
                figures=day_figures(
                    parts[0] if own.days == 1 else parts[0][received_on[parts[0].index] == day]
                ),
                html="never" if day < first_html_day else "always" if day == latest else "drifted",
            )


def _pages(
    windows: Iterable[list[Window]], received: Mapping[date, int]
) -> Iterator[list[list[Window]]]:
    """The days' windows in order, as many at a time as together hold `PAGE_TICKETS` at most."""
    page: list[list[Window]] = []
    for of_day in windows:
        first = _first_day([*page, of_day])
        tickets = sum(n for day, n in received.items() if first <= day <= of_day[0].last_day)
        if page and tickets > PAGE_TICKETS:
            yield page
            page = []
        page.append(of_day)
    yield page


def _first_day(page: list[list[Window]]) -> date:
    return min(window.first_day for of_day in page for window in of_day)


def _tickets(
    warehouse: Warehouse, champion: TrainedClassifier, page: list[list[Window]]
) -> pd.DataFrame:
    rows = warehouse.arrow(
        "select c.ticket_id, c.received_at::date as received_on, c.language, c.character_count,"
        " c.tokens, c.text_hash, p.model_category as category, p.category_confidence,"
        " p.model_decision as decision, e.vector"
        " from clean_tickets c join ticket_predictions p using (ticket_id)"
        " join ticket_embeddings e using (ticket_id)"
        " where c.received_at::date between ? and ?"
        # In one order: sums differ in their last digits by the order of what is added.
        " order by c.received_at, c.ticket_id",
        [max(_first_day(page), champion.reference_from or date.min), page[-1][0].last_day],
    )
    tickets = rows.drop_columns(["vector"]).to_pandas()
    return out_of_sample(tickets.assign(vector=list(to_matrix(rows["vector"]))), champion)
