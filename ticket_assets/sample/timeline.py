"""When mail arrives: office hours, quiet weekends, and something on every UTC day."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from random import Random
from zoneinfo import ZoneInfo

from ticket_assets.sample.material import Language, draw

_WEEKEND = 0.25
"""Mail on a weekend day, as a share of a weekday's."""
# Share of the day's mail in each local hour, midnight first.
_HOURS = (3, 1, 1, 1, 1, 3, 8, 40, 95, 110, 95, 75, 35, 70, 95, 90, 75, 55, 25, 14, 10, 9, 8, 7)


def arrival_days(count: int, days: int, until: date, rng: Random) -> list[date]:
    """`count` UTC days in order, the last being `until`; each of the `days` days at least once."""
    calendar = [until - timedelta(days=days - 1 - position) for position in range(days)]
    weights = [_WEEKEND if day.weekday() >= 5 else 1.0 for day in calendar]
    return sorted(calendar + rng.choices(calendar, weights, k=count - days))


def moment_on(day: date, language: Language, rng: Random) -> datetime:
    """A local time with its zone, in the rhythm of an office, that falls on the UTC day `day`."""
    zone = ZoneInfo(draw(language.forms.zones, rng))
    hour = rng.choices(range(24), _HOURS)[0]
    local = datetime.combine(day, time(hour, rng.randrange(60), rng.randrange(60)), zone)
    # Shortly after midnight in Paris it is still the day before in UTC.
    shift = (day - local.astimezone(UTC).date()).days
    moment = datetime.combine(day + timedelta(days=shift), local.time(), zone)
    if moment.astimezone(UTC).date() == day:
        return moment
    # The clocks changed in between; noon is on the same day everywhere here.
    return datetime.combine(day, time(12, moment.minute, moment.second), zone)
