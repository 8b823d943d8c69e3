"""Drift reports of many days, one after the other, with no more than a window in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, timedelta

import pandas as pd

from ticket_assets.classification.training import TrainedClassifier
from ticket_assets.drift.out_of_sample import out_of_sample
from ticket_assets.drift.report import DriftReport, drift_report
from ticket_assets.drift.window import current_window
from ticket_assets.storage.warehouse import Warehouse

WINDOW_REACH = timedelta(days=30)
"""How far a window may reach back on a desk with little mail."""


def daily_reports(
    days: Iterable[date],
    *,
    warehouse: Warehouse,
    champion: TrainedClassifier,
    model_version: str,
    drift_distance: float,
    min_tickets: int,
    seed: int,
) -> Iterator[DriftReport]:
    """The report of each day, in order; of the quiet ones only the latest with mail has its HTML.

    Raises:
        WarehouseError: the predictions have not been materialised yet.
        DriftError: the champion's reference cannot be compared with the tickets.
    """
    wanted = sorted(days)
    received = warehouse.frame(
        "select received_at from ticket_predictions where received_at::date between ? and ?",
        [wanted[0] - WINDOW_REACH, wanted[-1]],
    )
    received_on = received["received_at"].dt.date
    latest = max(set(received_on) & set(wanted), default=None)
    for day in wanted:
        window = current_window(received[received_on >= day - WINDOW_REACH], day, min_tickets)
        tickets = (
            _tickets(warehouse, champion, window.first_day, window.last_day)
            if len(window.tickets)
            else champion.reference[:0]
        )
        yield drift_report(
            champion.reference,
            tickets,
            day=day,
            model_version=model_version,
            drift_distance=drift_distance,
            seed=seed,
            window_days=window.days,
            with_html=day == latest,
        )


def _tickets(
    warehouse: Warehouse, champion: TrainedClassifier, first_day: date, last_day: date
) -> pd.DataFrame:
    tickets = warehouse.frame(
        "select c.ticket_id, c.language, c.character_count, c.tokens, p.category,"
        " p.category_confidence, e.vector"
        " from clean_tickets c join ticket_predictions p using (ticket_id)"
        " join ticket_embeddings e using (ticket_id)"
        " where c.received_at::date between ? and ?",
        [first_day, last_day],
    )
    return out_of_sample(tickets, champion)
