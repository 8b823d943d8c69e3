"""The days that must run now: those whose predictions were not made from the landed mail."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from ticket_assets.mail.landed_days import DayRange, consecutive

DELAYS = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=25), timedelta(hours=2))
"""How long a failed day waits before each further try. After the last one it stands as failed: the
same mail, code and settings will fail again."""


@dataclass(frozen=True)
class Failure:
    """The failed runs of a day, all with the same content."""

    content: str
    tries: int
    ended_at: datetime
    days: DayRange
    """The days of the run that failed last."""

    @property
    def next_try(self) -> datetime | None:
        """The time of the next try; None when the day stands as failed."""
        return self.ended_at + DELAYS[self.tries - 1] if self.tries <= len(DELAYS) else None


@dataclass(frozen=True)
class DaysToRun:
    """The days that are not done, by what happens to them."""

    ranges: list[DayRange]
    """Days to run now."""
    busy: list[date] = field(default_factory=list)
    """Days of a run that is at work and may still read their present content."""
    waiting: dict[date, datetime] = field(default_factory=dict)
    """Failed days with the time of their next try."""
    standing: list[date] = field(default_factory=list)
    """Days that failed too often: they wait until their mail, the code or the settings change."""


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
    untried: list[date] = []
    due: defaultdict[DayRange, list[date]] = defaultdict(list)
    for day in sorted(undone):
        failure = failed.get(day)
        if day in busy_days:
            plan.busy.append(day)
        elif failure is None or failure.content != landed[day]:
            untried.append(day)
        elif failure.next_try is None:
            plan.standing.append(day)
        elif failure.next_try > now:
            plan.waiting[day] = failure.next_try
        else:
            due[failure.days].append(day)
    plan.ranges.extend(consecutive(untried))
    for failed_range, days in due.items():
        plan.ranges.extend(_halves(days, len(failed_range.days())))
    plan.ranges.sort(key=lambda days: days.first)
    return plan


def _halves(days: list[date], failed_together: int) -> list[DayRange]:
    length = max(1, failed_together // 2)
    return [
        part
        for start in range(0, len(days), length)
        for part in consecutive(days[start : start + length])
    ]
