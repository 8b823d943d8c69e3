"""What the answers of receivers say, and why there was none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from ticket_assets.mail.back_off import LONGEST_DELAY


def retry_after(header: str | None) -> timedelta | None:
    """The wait that a Retry-After header names (RFC 9110, 10.2.3), in seconds or as a date; at most
    a day."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            moment = parsedate_to_datetime(header)
        except (ValueError, OverflowError):  # the year may have any number of digits
            return None
        if moment.tzinfo is None:
            return None
        seconds = (moment - datetime.now(UTC)).total_seconds()
    if not 0 < seconds < float("inf"):
        return None
    return min(timedelta(seconds=min(seconds, 1e6)), LONGEST_DELAY)


def cause(error: BaseException) -> str:
    """The innermost reason: those around it name the address and this machine's objects."""
    while isinstance(inner := getattr(error, "reason", None) or error.__cause__, BaseException):
        error = inner
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).rpartition(": ")[2] or type(error).__name__
