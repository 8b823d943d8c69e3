"""The tickets that one day's drift report compares with the training reference."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import pandas as pd


@dataclass(frozen=True)
class Window:
    """Tickets received from `first_day` to `last_day`, both UTC and included."""

    tickets: pd.DataFrame
    first_day: date
    last_day: date

    @property
    def days(self) -> int:
        return (self.last_day - self.first_day).days + 1


def current_window(tickets: pd.DataFrame, day: date, min_tickets: int) -> Window:
    """The tickets of `day`, reaching back whole days until there are `min_tickets` of them.

    `tickets` needs a `received_at` column (naive UTC). When there are fewer than `min_tickets` in
    all, the window reaches back to the first of them. A day without a ticket has an empty window:
    its figures would be those of the days before it, reported twice.
    """
    received = tickets["received_at"].dt.normalize()
    last = pd.Timestamp(day)
    per_day = received[received <= last].value_counts().sort_index(ascending=False)
    if last not in per_day.index:
        return Window(tickets.iloc[:0], day, day)
    enough = per_day.cumsum() >= min_tickets
    first = enough.idxmax() if enough.any() else per_day.index[-1]
    return Window(tickets[received.between(first, last)], pd.Timestamp(first).date(), day)
