"""What the sensor new_mail remembers between two ticks: which days it has requested, and how often.

Only days that are not done are remembered; a cursor that is lost costs the count of their tries.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import NamedTuple

from ticket_assets.mail.landed_days import DayRange
from ticket_assets.planning.days_to_run import Failure


class Try(NamedTuple):
    """The last request of a day."""

    content: str
    number: int
    """The first is 1; a change of the content begins anew."""
    run_key: str
    first: str
    """Of the days that were requested together."""
    last: str


class RunState(NamedTuple):
    """Of a run that was requested."""

    ended_at: datetime | None
    """None while it is waiting or at work."""


@dataclass
class Memory:
    """The cursor of new_mail."""

    settled: str = ""
    """What there was when the last tick left nothing to do."""
    learning: tuple[str, str] = ("", "")
    """The labels that a first champion was last learnt from, and the key of the run."""
    tries: dict[date, Try] = field(default_factory=dict)

    @classmethod
    def read(cls, cursor: str | None) -> Memory:
        """The memory in a cursor; one of an earlier version is as good as none."""
        try:
            written = json.loads(cursor or "")
            labels, run_key = written["learning"]
            return cls(
                written["settled"],
                (labels, run_key),
                {date.fromisoformat(day): Try(*about) for day, about in written["tries"].items()},
            )
        except (ValueError, KeyError, TypeError):
            return cls()

    def written(self) -> str:
        tries = {day.isoformat(): about for day, about in sorted(self.tries.items())}
        return json.dumps({"settled": self.settled, "learning": self.learning, "tries": tries})

    def next_try(self, day: date, content: str) -> int:
        """The number of the next request of a day with this content."""
        last = self.tries.get(day)
        return last.number + 1 if last and last.content == content else 1

    def remember(self, tries: Mapping[date, tuple[str, int]], run_key: str, days: DayRange) -> None:
        """The days that a run is requested for, with their content and the number of the try."""
        about = (run_key, days.first.isoformat(), days.last.isoformat())
        self.tries |= {
            day: Try(content, number, *about) for day, (content, number) in tries.items()
        }

    def forget(self, days: Iterable[date]) -> None:
        for day in list(days):
            del self.tries[day]

    def pending(self, run_state: Callable[[str], RunState | None]) -> list[date]:
        """The days whose run waits or is at work, by `run_state` as in `failures`."""
        states = {day: run_state(last.run_key) for day, last in self.tries.items()}
        return [day for day, state in states.items() if state and state.ended_at is None]

    def failures(self, run_state: Callable[[str], RunState | None]) -> dict[date, Failure]:
        """The days whose run has ended although they are not done.

        Args:
            run_state: of a run by its key; None when there is no such run.

        Dagster gives a request up when it cannot be submitted twice, or when the daemon was away
        for a day; the cursor has moved by then. A day without a run counts as not requested.
        """
        runs = {
            run_key: run_state(run_key)
            for run_key in {last.run_key for last in self.tries.values()}
        }
        failed = {}
        for day, last in list(self.tries.items()):
            run = runs[last.run_key]
            if run is None:
                if last.number == 1:
                    del self.tries[day]
                else:
                    self.tries[day] = last._replace(number=last.number - 1)
                    failed[day] = _failure(self.tries[day], datetime.min.replace(tzinfo=UTC))
            elif run.ended_at is not None:
                failed[day] = _failure(last, run.ended_at)
        return failed


def _failure(last: Try, ended_at: datetime) -> Failure:
    days = DayRange(date.fromisoformat(last.first), date.fromisoformat(last.last))
    return Failure(last.content, last.number, ended_at, days)
