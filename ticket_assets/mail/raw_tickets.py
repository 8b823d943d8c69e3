"""The rows of `raw_tickets` and `rejected_messages`, read from the landing zone."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from ticket_assets.mail.landing import (
    DamagedOriginalError,
    LandedMessage,
    LandingZone,
    is_damaged,
)
from ticket_assets.mail.parsing import UnreadableMessage, parse_message
from ticket_assets.parallel import map_chunks
from ticket_assets.storage.blobs import Blobs
from ticket_assets.storage.tables import TABLES

if TYPE_CHECKING:
    import pandas as pd

MB = 1024 * 1024


@dataclass(frozen=True)
class RawTickets:
    """The rows of landed messages; a message is in exactly one of the two tables."""

    tickets: pd.DataFrame
    """One row per readable message, as the table raw_tickets declares."""
    rejected: pd.DataFrame
    """One row per other message, as the table rejected_messages declares."""


def raw_tickets(
    landing: LandingZone,
    days: Iterable[date],
    *,
    max_message_bytes: int,
    cores: int | None = None,
) -> RawTickets:
    """The tickets of the given days (UTC), and the messages of which none can be made.

    `received_at` is naive UTC (`datetime64[us]`) and always lies inside the day a message landed
    under. `recipients` and `attachments` are JSON lists. Both frames have their columns and types
    also when they are empty. Many messages are parsed on `cores` cores, by default on all.

    Raises:
        DamagedOriginalError: originals of these days hold other bytes than those that landed.
    """
    days = list(days)
    tickets: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    damaged: list[str] = []
    for some_tickets, some_rejected, some_damaged in map_chunks(
        functools.partial(_rows, files=landing.files, max_message_bytes=max_message_bytes),
        (message for day in days for message in landing.messages(day)),
        cores=cores,
    ):
        tickets += some_tickets
        rejected += some_rejected
        damaged += some_damaged
    if damaged:
        raise DamagedOriginalError(landing.files.location, damaged)
    # Afterwards: a purge that began meanwhile may have taken some of the messages away.
    for day in days:
        landing.refuse_purged(day)
    return RawTickets(
        TABLES["raw_tickets"].frame(tickets), TABLES["rejected_messages"].frame(rejected)
    )


def _rows(
    messages: Sequence[LandedMessage], *, files: Blobs, max_message_bytes: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]:
    """The rows of both tables, and the names of damaged originals; nothing of messages that were
    removed meanwhile."""
    too_large = (
        "too large: {:.3g} MB, the limit is"
        f" {max_message_bytes / MB:.3g} MB (TICKETS_MAX_MESSAGE_MB)"
    )
    readable = {m.name: m for m in messages if m.size_bytes <= max_message_bytes}
    tickets: list[dict[str, Any]] = []
    damaged: list[str] = []
    rejected = [
        _rejected(message, too_large.format(message.size_bytes / MB))
        for message in messages
        if message.name not in readable
    ]
    for name, content in files.read_many(readable):
        if is_damaged(name, content):
            damaged.append(name)
            continue
        message = readable[name]
        try:
            tickets.append(_ticket(message, content))
        except UnreadableMessage as error:
            rejected.append(_rejected(message, error.reason))
    return tickets, rejected, damaged


def _ticket(message: LandedMessage, content: bytes) -> dict[str, Any]:
    parsed = parse_message(content, message.extension)
    return {
        "ticket_id": message.ticket_id,
        "message_id": parsed.message_id,
        "in_reply_to": parsed.in_reply_to,
        "thread_id": parsed.thread_id,
        "reference": parsed.thread_id,
        "received_at": _naive(message.received_at),
        "received_at_source": message.received_at_source,
        "sender": parsed.sender,
        "sender_name": parsed.sender_name,
        "recipients": json.dumps(parsed.recipients, ensure_ascii=False),
        "subject": parsed.subject,
        "body_text": parsed.body_text,
        "body_html": parsed.body_html,
        "attachments": json.dumps(parsed.attachments, ensure_ascii=False),
        "kind": parsed.kind,
        "source": message.source,
        "size_bytes": message.size_bytes,
    }


def _rejected(message: LandedMessage, reason: str) -> dict[str, Any]:
    return {
        "content_hash": message.content_hash,
        "received_at": _naive(message.received_at),
        "source": message.source,
        "reason": reason,
        "size_bytes": message.size_bytes,
        "path": message.name,
    }


def _naive(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None)
