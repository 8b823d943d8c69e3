"""The days that one day's drift report compares with the training reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

REACH_DAYS = 30
"""How far a window may reach back on a desk with little mail."""
WEEK_DAYS = 7
"""Slow and small shifts add up over a week, which a day's tickets are too few to show."""
ENOUGH_TICKETS = 2_000
"""A day with as many tickets as the reference has shows all that its week would."""


@dataclass(frozen=True)
class Window:
    """The days from `first_day` to `last_day` (UTC, inclusive) and the number of their tickets."""

    first_day: date
    last_day: date
    tickets: int

    @property
    def days(self) -> int:
        return (self.last_day - self.first_day).days + 1


def current_window(received: Mapping[date, int], day: date, min_tickets: int) -> Window:
    """`day` and as many days before it as it takes for `min_tickets` tickets.

    When `REACH_DAYS` do not hold enough, the window reaches back to the first ticket in them. A day
    without tickets has an empty window, else it would repeat the figures of the days before it.

    Args:
        received: the number of tickets of each day with mail.
    """
    first, tickets = day, received.get(day, 0)
    for distance in range(1, REACH_DAYS + 1):
        if not 0 < tickets < min_tickets:
            break
        earlier = day - timedelta(days=distance)
        if earlier in received:
            first, tickets = earlier, tickets + received[earlier]
    return Window(first, day, tickets)


def windows_of(received: Mapping[date, int], day: date, min_tickets: int) -> list[Window]:
    """The windows that `day` is judged by: its own, and its week where that tells more.

    Args:
        received: the number of tickets of each day with mail.
    """
    own = current_window(received, day, min_tickets)
    first = day - timedelta(days=WEEK_DAYS - 1)
    tickets = sum(received.get(first + timedelta(days=number), 0) for number in range(WEEK_DAYS))
    is_needed = 0 < own.tickets < ENOUGH_TICKETS and own.days < WEEK_DAYS and tickets > own.tickets
    return [own, Window(first, day, tickets)] if is_needed else [own]


def looks_at(window_days: int) -> int:
    """How many independent looks a week has at windows of so many days: false alarms add up.

    The week up to each day shares six days with the week up to the day before.
    """
    return 2 if window_days >= WEEK_DAYS else 2 * WEEK_DAYS
