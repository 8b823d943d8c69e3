"""Mail that has landed and waits: from the landing zone and the cursors, never from the tables.

A run may hold the warehouse of one file for an hour; its materialisations say in the event log
which mail each day's predictions were made from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from prometheus_client.core import Metric

from ticket_assets.desk import Desk
from ticket_assets.mail.back_off import read_back_off
from ticket_assets.metrics.families import gauge, gauges
from ticket_assets.planning.failed_days import read_failed_days

DAYS = 14
"""The latest days that have figures of their own: labels by day must not grow for ever."""


@dataclass(frozen=True)
class PredictedDay:
    """What the latest materialisation of a day's predictions says."""

    landed: str
    """Fingerprint of the mail that they were made from."""
    predicted_at: datetime
    """Aware."""


def recent_days(now: datetime) -> list[str]:
    """The latest `DAYS` days, today included, as YYYY-MM-DD."""
    return [(now.date() - timedelta(number)).isoformat() for number in range(DAYS)]


class MailFigures:
    """Figures of landed mail; remembers what it has listed of days that have not changed."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._counts: dict[tuple[date, str], int] = {}
        self._landed_at: dict[tuple[date, str], list[datetime]] = {}

    def families(
        self, landed: Mapping[date, str], predicted: Mapping[date, PredictedDay]
    ) -> Iterator[Metric]:
        """The figures now.

        Args:
            landed: the fingerprint of each day's mail.
            predicted: the days that have predictions.

        Raises:
            BlobStoreError: the landing zone or the cursors cannot be read.
        """
        desk, now = self._desk, datetime.now(UTC)
        yield gauges(
            "tickets_landed_messages",
            f"Messages in the landing zone that were received on a day, of the last {DAYS}.",
            ("day",),
            self._landed(landed, recent_days(now)),
        )
        yield gauges(
            "tickets_day_timestamp_seconds",
            "When each of those days begins (UTC).",
            ("day",),
            {(day,): _midnight(day).timestamp() for day in recent_days(now)},
        )
        waiting = self._waiting(landed, predicted, now)
        oldest = min(waiting, default=now)
        yield gauge(
            "tickets_unsorted_messages",
            "Landed messages that no prediction was made from yet.",
            len(waiting),
        )
        yield gauge(
            "tickets_oldest_unsorted_age_seconds",
            "How long ago the one of them landed that has waited longest; 0 where none waits.",
            max((now - oldest).total_seconds(), 0.0),
        )
        yield gauge(
            "tickets_late_after_seconds",
            "From which age on an unsorted message is late: TICKETS_LATE_AFTER_MINUTES.",
            desk.settings.late_after_minutes * 60,
        )
        yield gauges(
            "tickets_refused_files",
            "Files of a mail source that cannot be read.",
            ("source",),
            {(source.name,): len(source.refusals(desk.cursors)) for source in desk.sources},
        )
        yield gauges(
            "tickets_source_failures",
            "Failures of a mail source in a row, up to now.",
            ("source",),
            {
                (source.name,): read_back_off(desk.cursors, source.name).failures
                for source in desk.sources
            },
        )
        states = Counter(
            "retrying" if failed.next_try else "given_up"
            for failed in read_failed_days(desk.cursors)
        )
        yield gauges(
            "tickets_failed_partitions",
            "Days whose mail could not be sorted: those that are tried again, and those that are"
            " not before their mail, the code or the settings change.",
            ("state",),
            {(state,): states[state] for state in ("retrying", "given_up")},
        )

    def _landed(self, landed: Mapping[date, str], days: list[str]) -> dict[tuple[str, ...], float]:
        recent = {day: landed[day] for day in map(date.fromisoformat, days) if day in landed}
        unknown = [day for day, mail in recent.items() if (day, mail) not in self._counts]
        counted = self._desk.landing.counts(unknown) if unknown else {}
        self._counts = {
            (day, mail): counted[day] if day in counted else self._counts[day, mail]
            for day, mail in recent.items()
        }
        messages = {day: count for (day, _), count in self._counts.items()}
        return {(day,): messages.get(date.fromisoformat(day), 0) for day in days}

    def _waiting(
        self, landed: Mapping[date, str], predicted: Mapping[date, PredictedDay], now: datetime
    ) -> list[datetime]:
        """When each message landed that waits for its prediction (UTC).

        Where a day has mail that its predictions were not made from, that is what has landed since
        they were made; the latest message, where all had landed before: it came during the run.
        """
        first = self._desk.landing.first_unpurged_day(self._desk.first_day) or date.min
        undone = {
            (day, mail)
            for day, mail in landed.items()
            if first <= day <= now.date()
            and (day not in predicted or predicted[day].landed != mail)
        }
        self._landed_at = {
            key: self._landed_at[key]
            if key in self._landed_at
            else [message.landed_at for message in self._desk.landing.messages(key[0])]
            for key in undone
        }
        waiting: list[datetime] = []
        for (day, _), landed_at in self._landed_at.items():
            if day not in predicted:
                waiting += landed_at
            elif landed_at:
                limit = min(predicted[day].predicted_at, max(landed_at))
                waiting += [moment for moment in landed_at if moment >= limit]
        return waiting


def _midnight(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)
