"""Dates in the cells of tables, as the programs of desks and spreadsheets write them."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

from ticket_assets.mail.received import as_utc, mail_date
from ticket_assets.plural import counted
from ticket_assets.settings import DateOrder
from ticket_assets.text.languages import all_words, languages

_LONGEST = 80  # "Donnerstag, den 12. September 2026 um 10:02:11 Uhr (Coordinated Universal Time)"
_SECONDS = re.compile(r"\d{9,10}(?:\.\d{1,9})?")
_MILLISECONDS = re.compile(r"\d{12,13}")
_WORD = re.compile(r"([^\W\d_]+)")
_HALF_DAY = re.compile(r"(?<=\d)\s*([ap])\.?\s?m\.?(?!\w)")  # "10:02 a. m."
_TIME = (
    r"(?:[ ,t-]+(?P<hour>\d{1,2})(?::|\.(?=\d\d))"
    r"(?:(?P<minute>\d{2})(?:[:.](?P<second>\d{2})(?:[.,]\d+)?)?)?"
    r" ?(?P<half>[AP])? ?(?P<zone>z|[+-]\d{1,2}(?::?\d{2})?)?)?[ .,]*"
)
_FIGURES = re.compile(
    rf"(?P<first>\d{{1,2}})(?P<mark>[/.-])(?P<second_figure>\d{{1,2}})(?P=mark)"
    rf"(?P<year>\d{{4}}|\d{{2}}){_TIME}"
)
# A month's name is written as m and its number.
_OTHER_FORMS = tuple(
    re.compile(form + _TIME)
    for form in (
        r"(?P<year>\d{4})(?P<mark>[/.-])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})",
        r"(?P<day>\d{1,2})[ ./-]+m(?P<month>\d{2})[ .,/-]+(?P<year>\d{4}|\d{2})",
        r"m(?P<month>\d{2})[ .]+(?P<day>\d{1,2})[ .,]+(?P<year>\d{4})",
        r"(?P<year>\d{4})[ ./-]+m(?P<month>\d{2})[ ./-]+(?P<day>\d{1,2})",
    )
)


@dataclass(frozen=True)
class FigureOrders:
    """In which orders the figures of one column make dates."""

    day_first: str | None = None
    """One that is a date with the day first alone."""
    month_first: str | None = None
    """One that is a date with the month first alone."""
    either: str | None = None
    """One that is a different date in each order."""
    either_dotted: bool = True
    """All of those have dots, which no country writes with the month first."""
    decisive: int = 0
    """How many are a date in one order alone."""

    def decision(self) -> tuple[DateOrder | None, str]:
        """The one order in which all are dates, and why; None where it is both or none."""
        if self.day_first and self.month_first:
            both = f"{self.day_first!r} has the day first, {self.month_first!r} the month"
            return None, f"{both}, and {self.either!r} may have either"
        if self.decisive:
            order: DateOrder = "day-first" if self.day_first else "month-first"
            return order, f"{counted(self.decisive, 'value')} can be read in no other way"
        if self.either_dotted:
            return "day-first", "they are written with dots"
        return None, f"all its dates may have either, like {self.either!r}"


def figure_orders(values: Iterable[Any]) -> FigureOrders:
    """What the dates of a column say about their order, all of them looked at one by one."""
    day_first = month_first = either = None
    either_dotted, decisive = True, 0
    for value in values:
        parts = _figures(value) if isinstance(value, str) else None
        if parts is None:
            continue
        first, second = int(parts["first"]), int(parts["second_figure"])
        if first == second:
            continue
        if not (1 <= min(first, second) <= 12 and max(first, second) <= 31):
            continue
        if first > 12:
            day_first, decisive = day_first or value.strip(), decisive + 1
        elif second > 12:
            month_first, decisive = month_first or value.strip(), decisive + 1
        else:
            either = either or value.strip()
            either_dotted = either_dotted and parts["mark"] == "."
    return FigureOrders(day_first, month_first, either, either_dotted, decisive)


def as_datetime(value: Any, order: DateOrder = "day-first") -> datetime | None:
    """A cell as an aware datetime in UTC, or None when it is not a date.

    Understood: ISO 8601; figures (`03/02/2026 14:05`, `3.2.26`), read in the given order unless
    only the other makes a date; words of the languages in `text/languages`
    (`3 février 2026 à 14h05`, `12/Mar/26 10:02 AM`); RFC 5322; and numbers of seconds or
    milliseconds since 1970. A date without a zone is taken as UTC.
    """
    try:
        if isinstance(value, datetime):
            return as_utc(value)
        if isinstance(value, date):
            return datetime(value.year, value.month, value.day, tzinfo=UTC)
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value / 1000 if abs(value) > 1e11 else value, UTC)
        text = str(value or "").strip()
        return _written(text, order) if len(text) <= _LONGEST else None
    except (ValueError, OverflowError, OSError):
        return None


def _written(text: str, order: DateOrder) -> datetime | None:
    if text[:4].isdigit():
        if _SECONDS.fullmatch(text):
            return datetime.fromtimestamp(float(text), UTC)
        if _MILLISECONDS.fullmatch(text):
            return datetime.fromtimestamp(int(text) / 1000, UTC)
        try:
            return as_utc(datetime.fromisoformat(text))
        except ValueError:
            pass
    if parts := _figures(text):
        first, second = int(parts["first"]), int(parts["second_figure"])
        day, month = (first, second) if order == "day-first" else (second, first)
        return _moment(parts, *((month, day) if month > 12 >= day else (day, month)))
    for plain in _plain_forms(text):
        for form in _OTHER_FORMS:
            if parts := form.fullmatch(plain):
                return _moment(parts, int(parts["day"]), int(parts["month"]))
    return mail_date(text)


def _moment(parts: re.Match[str], day: int, month: int) -> datetime:
    year, hour = int(parts["year"]), int(parts["hour"] or 0)
    if len(parts["year"]) == 2:
        year += 2000 if year < 70 else 1900
    if parts["half"] and hour <= 12:  # some write "14:05 PM"
        hour = hour % 12 + (12 if parts["half"] == "P" else 0)
    moment = datetime(
        year, month, day, hour, int(parts["minute"] or 0), int(parts["second"] or 0), tzinfo=UTC
    )
    if parts["zone"] and parts["zone"] != "z":
        figures = parts["zone"][1:].replace(":", "")
        hours, minutes = (figures[:-2], figures[-2:]) if len(figures) > 2 else (figures, "0")
        ahead = timedelta(hours=int(hours), minutes=int(minutes))
        moment = moment.replace(tzinfo=timezone(-ahead if parts["zone"][0] == "-" else ahead))
    return moment.astimezone(UTC)


def _figures(text: str) -> re.Match[str] | None:
    """The parts of a date whose day and month are figures before its year."""
    if len(text) > _LONGEST:
        return None
    # Most have no word, and are tried as they are.
    plain = " ".join(text.split())
    return _FIGURES.fullmatch(plain) or (
        _FIGURES.fullmatch(_plain_forms(text)[0]) if any(map(str.isalpha, plain)) else None
    )


def _plain_forms(text: str) -> tuple[str, str]:
    """A date in small letters without the words that say nothing; first with words that may be a
    weekday or a month, like "mar", as weekdays, then as months."""
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(char for char in plain if not unicodedata.combining(char)).casefold()
    # In capitals, which no word has: "am" is German as well.
    plain = _HALF_DAY.sub(lambda half: f" {half[1].upper()}", plain)
    forms = []
    for words in _words():
        spelt = "".join(words.get(part, part) for part in _WORD.split(plain))
        spelt = " ".join(re.sub(r"[(),]|(?:^| )[.;-]+(?=[ ,]|$)", " ", spelt).split())
        spelt = re.sub(r"(?<=\d) ?: ?(?=\d)|(?<=\d) :", ":", spelt)  # "14h05", "9 h 05", "14 Uhr"
        spelt = re.sub(r"(:\d{2}):(?!\d)", r"\1", spelt)  # "10:02 Uhr"
        spelt = re.sub(r"\+0000 (?=[+-]\d)", "", spelt)  # "UTC+1"
        forms.append(spelt)
    return forms[0], forms[1]


@functools.cache
def _words() -> tuple[dict[str, str], dict[str, str]]:
    """What takes the place of each word of a date, for the two forms."""
    every = all_words()
    months = {
        name: f"m{number:02}"
        for words in languages()
        for number, names in enumerate(words.months, 1)
        for name in names.split()
    }
    weekdays = dict.fromkeys(every.weekdays, " ")
    others = {
        **dict.fromkeys(every.date_words, " "),
        **dict.fromkeys(every.hour_words, " : "),
        **{name: f" {ahead}" for name, ahead in (zone.split() for zone in every.time_zones)},
        **dict.fromkeys(("utc", "gmt"), " +0000 "),
    }
    return months | weekdays | others, others | weekdays | months
