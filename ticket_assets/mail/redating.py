"""Mail that landed while the machine's clock lay before its date gets the day of its date.

Such a date lay ahead and was not believed, so that the mail was filed under the day it landed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import PurePosixPath
from typing import NamedTuple
from uuid import uuid4

from ticket_assets.mail.landing import (
    BATCH_MESSAGES,
    MANIFESTS,
    LandedMessage,
    LandingZone,
    entries_of,
    is_damaged,
    manifest_line,
)
from ticket_assets.mail.mailboxes import mail_message
from ticket_assets.mail.received import CLOCK_TOLERANCE


class Misdated(NamedTuple):
    """A mail under a wrong day."""

    name: str
    """Where its bytes are."""
    dated: LandedMessage
    """What it should be."""
    message_id: str | None


def misdated_mail(
    landing: LandingZone, days: Iterable[date], on_message: Callable[[], None] | None = None
) -> Iterator[Misdated]:
    """The mails under these days whose date is believed now and lay ahead when they landed.

    A row of an export is none: only the export says which column held its date.

    Args:
        on_message: called for each message that was looked at.
    """
    for day in days:
        undated: dict[str, LandedMessage] = {}
        for message in landing.messages(day):
            if on_message:
                on_message()
            if message.received_at_source == "landed" and message.extension == "eml":
                undated[message.name] = message
        for name, content in landing.files.read_many(undated):
            message = undated[name]
            read_now = mail_message(content, message.source)
            moment = read_now.received_at
            if moment is None or moment <= message.landed_at + CLOCK_TOLERANCE:
                continue
            if moment.date() != day and not is_damaged(name, content):
                dated = replace(
                    message,
                    name=f"{moment.date()}/{PurePosixPath(name).name}",
                    received_at=moment,
                    received_at_source=read_now.received_at_source,
                )
                yield Misdated(name, dated, read_now.message_id)


def redate(
    landing: LandingZone,
    mails: Iterable[Misdated],
    on_message: Callable[[], None] | None = None,
) -> None:
    """Give the mails their days. Interrupted, the same again completes it: each is under its new
    day before it leaves the former one.

    The lines in the manifests of the former days stay, and name nothing any more. Nothing may be
    removed meanwhile: call it inside `removing`.

    Args:
        on_message: called for each message that has its day.
    """
    remaining = iter(mails)
    while batch := list(islice(remaining, BATCH_MESSAGES)):
        lines: defaultdict[date, str] = defaultdict(str)
        for mail in batch:
            day = mail.dated.received_at.date()
            lines[day] += manifest_line(entries_of(mail.dated, mail.message_id))
        names = {mail.name: mail.dated.name for mail in batch}
        days = {date.fromisoformat(name.partition("/")[0]) for name in (*names, *names.values())}
        manifest = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid4().hex[:8]}.jsonl"
        with landing.changing(days):
            landing.files.write(
                (f"{day}/{MANIFESTS}/{manifest}", of_day.encode()) for day, of_day in lines.items()
            )
            landing.files.create_many(
                (names[name], content) for name, content in landing.files.read_many(names)
            )
            landing.files.delete(names)
        if on_message:
            for _ in batch:
                on_message()
