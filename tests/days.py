"""Today, in tests: the same day for a test and for the product, which asks the clock itself.

What a module keeps while it is loaded is of the day on which the whole suite began. Tests therefore
ask when they run, and a file that would run into the next day begins after midnight instead.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

QUICK_FILE = timedelta(minutes=2)
SLOW_FILE = timedelta(minutes=15)
"""Longer than any file of tests takes on two cores, so that it ends on the day it begins."""


def now() -> datetime:
    """The moment in UTC, without a zone, as the tables have it."""
    return datetime.now(UTC).replace(tzinfo=None)


def today() -> date:
    """The present day (UTC)."""
    return datetime.now(UTC).date()


def days_ago(days: int) -> date:
    return today() - timedelta(days=days)


def last_friday() -> date:
    """The latest Friday before today.

    A sample mailbox that ends on the same day of the week has the same mails, but for their dates.
    The small models of the tests then pass their gates on every day or on none.
    """
    day = days_ago(1)
    return day - timedelta(days=(day.weekday() - 4) % 7)


def seconds_to_wait(moment: datetime, takes: timedelta) -> float:
    """How long a file of tests that takes so long waits for the next day; 0: it fits in this."""
    midnight = datetime.combine(moment.date() + timedelta(days=1), datetime.min.time(), UTC)
    left = midnight - moment
    return left.total_seconds() + 1 if left < takes else 0
