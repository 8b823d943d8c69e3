"""Which days must run now: those whose predictions were not made from what has landed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from ticket_assets.mail.landed_days import DayRange, consecutive

DELAYS = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=25), timedelta(hours=2))
"""How long a failed day waits before each further try. After as many it stands as failed: the same
mail, code and settings will fail again."""


@dataclass(frozen=True)
class Failure:
    """The runs of a day that failed, all with the same content."""

    content: str
    tries: int
    ended_at: datetime
    days: DayRange
    """The days that were tried together when it failed last."""

    @property
    def next_try(self) -> datetime | None:
        """When the day is tried again; None when it stands as failed."""
        return self.ended_at + DELAYS[self.tries - 1] if self.tries <= len(DELAYS) else None


@dataclass(frozen=True)
class DaysToRun:
    """What becomes of the days that are not done."""

    ranges: list[DayRange]
    """To run now."""
    busy: list[date] = field(default_factory=list)
    """A run is at work on them; it may read the present content yet."""
    waiting: dict[date, datetime] = field(default_factory=dict)
    """Failed, and when they are tried again."""
    standing: list[date] = field(default_factory=list)
    """Failed too often: they wait until their mail, the code or the settings change."""


def days_to_run(
    landed: Mapping[date, str],
    predicted: Mapping[date, str],
    at_work: Iterable[DayRange],
    failed: Mapping[date, Failure],
    now: datetime,
) -> DaysToRun:
    """The days to run now, and when the failed ones are tried again.

    Days that failed together are tried again in halves, so that one day that fails by itself soon
    stops no other.

    Args:
        landed: what identifies the present content of each day, as a run would use it.
        predicted: the content that each day's predictions were made from.
        at_work: days of runs that have not ended.
        failed: days whose last run failed.
    """
    busy_days = {day for work in at_work for day in work.days()}
    undone = {day for day, content in landed.items() if predicted.get(day) != content}
    plan = DaysToRun([])
    fresh: list[date] = []
    again: defaultdict[DayRange, list[date]] = defaultdict(list)
    for day in sorted(undone):
        failure = failed.get(day)
        if day in busy_days:
            plan.busy.append(day)
        elif failure is None or failure.content != landed[day]:
            fresh.append(day)
        elif failure.next_try is None:
            plan.standing.append(day)
        elif failure.next_try > now:
            plan.waiting[day] = failure.next_try
        else:
            again[failure.days].append(day)
    plan.ranges.extend(consecutive(fresh))
    for together, days in again.items():
        plan.ranges.extend(_halves(days, len(together.days())))
    plan.ranges.sort(key=lambda days: days.first)
    return plan


def _halves(days: list[date], together: int) -> list[DayRange]:
    length = max(1, together // 2)
    return [
        part
        for start in range(0, len(days), length)
        for part in consecutive(days[start : start + length])
    ]
