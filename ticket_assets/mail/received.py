"""When a message was received, from its own headers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Literal

from ticket_assets.mail.headers import HeaderFields, header_fields, split_message

ReceivedAtSource = Literal["date", "received", "landed", "export"]

EARLIEST_YEAR = 1990
"""Clocks that were never set write 1970 or 1980; desks had no e-mail before this."""
CLOCK_TOLERANCE = timedelta(days=1)
"""A sender's clock or time zone may be this far ahead; a later date is not believed."""


def received_at(
    content: bytes, now: datetime | None = None
) -> tuple[datetime | None, ReceivedAtSource]:
    """`received_by` on the header block of a whole message; the rest of it is not read."""
    return received_by(header_fields(split_message(content)[0]), now)


def received_by(
    fields: HeaderFields, now: datetime | None = None
) -> tuple[datetime | None, ReceivedAtSource]:
    """The message's time (aware, UTC) and the header it is from, or `(None, "landed")`.

    The `Date` header is taken first, then the newest `Received` header, which stands on top. A
    `Date` that is later than the message was received is not believed either, whenever one asks.
    `now` is the present time unless another is given.
    """
    sent = believable(mail_date(next(iter(fields.get("date", [])), "")), now)
    newest = next(iter(fields.get("received", [])), "").rpartition(";")[2]
    received = believable(mail_date(newest), now)
    if sent and (received is None or sent <= received + CLOCK_TOLERANCE):
        return sent, "date"
    return (received, "received") if received else (None, "landed")


def mail_date(value: str) -> datetime | None:
    """An RFC 5322 date in UTC; a date without an offset is taken as UTC."""
    try:
        return as_utc(parsedate_to_datetime(value.strip()))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def as_utc(moment: datetime) -> datetime:
    """An aware datetime in UTC; a naive one is taken as UTC.

    Raises:
        OverflowError: the date leaves the calendar when its offset is applied.
    """
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def believable(moment: datetime | None, now: datetime | None = None) -> datetime | None:
    """The date, or None if it is before 1990 or more than a day in the future."""
    if moment is None or moment.year < EARLIEST_YEAR:
        return None
    return moment if moment <= (now or datetime.now(UTC)) + CLOCK_TOLERANCE else None
