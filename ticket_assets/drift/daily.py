"""Drift reports of many days, one after the other, with no more than a window in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta

import pandas as pd

from ticket_assets.drift.report import DriftReport, drift_report
from ticket_assets.drift.window import current_window

WINDOW_REACH = timedelta(days=30)
"""How far a window may reach back on a desk with little mail."""


def daily_reports(
    days: Iterable[date],
    *,
    received: pd.DataFrame,
    load_window: Callable[[date, date], pd.DataFrame],
    reference: pd.DataFrame,
    model_version: str,
    drift_distance: float,
    min_tickets: int,
    seed: int,
) -> Iterator[DriftReport]:
    """The report of each day, in the order of `days`; the latest with mail has its HTML.

    Args:
        received: the column received_at of all tickets on `days` and up to WINDOW_REACH before.
        load_window: the tickets of a first to a last day with the columns that are compared.
        reference: the champion's training reference.
    """
    wanted = sorted(days)
    latest = max(set(received["received_at"].dt.date) & set(wanted), default=None)
    for day in wanted:
        reachable = received[received["received_at"].dt.date >= day - WINDOW_REACH]
        window = current_window(reachable, day, min_tickets)
        yield drift_report(
            reference,
            load_window(window.first_day, window.last_day)
            if len(window.tickets)
            else reference[:0],
            day=day,
            model_version=model_version,
            drift_distance=drift_distance,
            seed=seed,
            window_days=window.days,
            with_html=day == latest,
        )
