"""The days that one day's drift report compares with the training reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

REACH_DAYS = 30
"""How far a window may reach back on a desk with little mail."""


@dataclass(frozen=True)
class Window:
    """The tickets received from `first_day` to `last_day`, both UTC and included: how many."""

    first_day: date
    last_day: date
    tickets: int

    @property
    def days(self) -> int:
        return (self.last_day - self.first_day).days + 1


def current_window(received: Mapping[date, int], day: date, min_tickets: int) -> Window:
    """`day`, reaching back whole days until there are `min_tickets` tickets.

    `received` holds the number of tickets of each day. When `REACH_DAYS` do not hold enough, the
    window reaches back to the first ticket in them. A day without a ticket has an empty window: its
    figures would be those of the days before it, reported twice.
    """
    first, tickets = day, received.get(day, 0)
    for back in range(1, REACH_DAYS + 1):
        if not 0 < tickets < min_tickets:
            break
        earlier = day - timedelta(days=back)
        if earlier in received:
            first, tickets = earlier, tickets + received[earlier]
    return Window(first, day, tickets)
