"""Conversations and duplicates over days: the rows that a day links to, and the days it changes.

A day's links are made from the mail received before it. Late mail, or days that are processed out
of order, can change the links of later days. This module names those days; when they have been
processed too, and the days that they name, all links are those of days processed in order.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from datetime import date, timedelta
from typing import Any

import pandas as pd

from ticket_assets.mail import conversations
from ticket_assets.storage.warehouse import Warehouse
from ticket_assets.text import duplicates

Keys = Callable[[Any], set[Hashable]]
PAGE_TICKETS = 10_000
"""Earlier tickets compared at a time, which keeps memory flat."""
_DAY = timedelta(days=1)


def earlier_messages(warehouse: Warehouse, first_day: date, messages: pd.DataFrame) -> pd.DataFrame:
    """The messages before `first_day` that can share a conversation with `messages`."""
    return _messages(
        warehouse,
        "received_at < ? and (received_at >= ? or message_id in (from ids)"
        " or in_reply_to in (from ids) or thread_id in (from ids))",
        [first_day, conversations.first_earlier_day(first_day)],
        messages,
    )


def earlier_tickets(
    warehouse: Warehouse, first_day: date, tickets: pd.DataFrame
) -> Iterator[pd.DataFrame]:
    """The tickets before `first_day` that `tickets` may repeat, in parts."""
    return _tickets(
        warehouse,
        "clean_tickets.received_at < ? and clean_tickets.received_at >= ?"
        f" and (token_count >= {duplicates.LONG_TOKENS} or sender in (from senders))",
        [first_day, duplicates.first_earlier_day(first_day)],
        tickets,
    )


def described(tickets: pd.DataFrame, messages: pd.DataFrame) -> pd.DataFrame:
    """`tickets` with the columns of their messages that decide about duplicates."""
    columns = ["ticket_id", "sender", "message_id", "attachments"]
    bodies = messages[["subject", "body_text", "body_html"]].itertuples(index=False, name=None)
    of_messages = messages[columns].assign(
        body_hash=[duplicates.body_hash(*parts) for parts in bodies]
    )
    merged = tickets.merge(of_messages, on="ticket_id", how="left", validate="one_to_one")
    # As in `_tickets`: the hash matters for texts with masked data alone.
    masked = merged["text"].str.contains("[", regex=False)
    return merged.assign(body_hash=merged["body_hash"].where(masked, None))


def later_days_with_other_conversations(
    warehouse: Warehouse, days: Sequence[date], messages: pd.DataFrame
) -> list[date]:
    """Later days of raw_tickets with a `thread_id` that changes because of these messages.

    Args:
        days: days that follow one another, whose rows `messages` are about to replace.
        messages: their rows of raw_tickets, linked.
    """
    after = days[-1] + _DAY
    if _is_last(warehouse, "raw_tickets", after):
        return []
    new = messages[list(conversations.EARLIER_COLUMNS)]
    stored = _messages(warehouse, "received_at >= ? and received_at < ?", [days[0], after])
    changed = _changed_rows(stored, new)
    if changed.empty:
        return []
    window = after + timedelta(days=conversations.SUBJECT_DAYS)
    answering = _messages(
        warehouse,
        "received_at >= ? and (message_id in (from ids) or in_reply_to in (from ids)"
        " or reference in (from ids))",
        [window],
        changed,
    )
    # An answer that names a message by its id may arrive at any time.
    spans = [(after, window), *((day, day + _DAY) for day in _days(answering))]
    moved = set()
    for first, end in spans:
        later = _messages(warehouse, "received_at >= ? and received_at < ?", [first, end])
        if later.empty:
            continue
        unlinked = later.assign(thread_id=later["reference"])
        earlier = earlier_messages(warehouse, first, unlinked)
        earlier = _joined([_outside(earlier, days), new])
        linked = conversations.link_conversations(unlinked, earlier)["thread_id"]
        moved |= _moved_days(later.assign(linked=linked), "thread_id", changed, conversations.keys)
    return sorted(moved)


def later_days_with_other_duplicates(
    warehouse: Warehouse, days: Sequence[date], tickets: pd.DataFrame
) -> list[date]:
    """Later days of clean_tickets with a `duplicate_of` that changes because of these tickets.

    Args:
        days: days that follow one another, whose rows `tickets` are about to replace; their
            raw_tickets are the new ones already.
        tickets: their rows of clean_tickets, linked and `described`.
    """
    after = days[-1] + _DAY
    if _is_last(warehouse, "clean_tickets", after):
        return []
    new = tickets[list(duplicates.EARLIER_COLUMNS)]
    between = "clean_tickets.received_at >= ? and clean_tickets.received_at < ?"
    stored = _joined(_tickets(warehouse, between, [days[0], after]))
    # The messages of removed tickets are removed already; most had no attachments.
    changed = _changed_rows(stored.fillna({"attachments": "[]"}), new)
    if changed.empty:
        return []
    window = after + timedelta(days=duplicates.DUPLICATE_DAYS)
    later = _joined(_tickets(warehouse, between, [after, window]))
    if later.empty:
        return []
    earlier = (_outside(part, days) for part in earlier_tickets(warehouse, after, later))
    links = duplicates.link_duplicates(later, (*earlier, new))
    linked = pd.Series([link.of if link else None for link in links], dtype="object")
    moved = _moved_days(later.assign(linked=linked), "duplicate_of", changed, duplicates.keys)
    return sorted(moved)


def _is_last(warehouse: Warehouse, table: str, after: date) -> bool:
    """Whether the table has no row from `after` on, as for today's mail."""
    return not warehouse.columns(table) or not warehouse.rows(
        f"select 1 from {table} where received_at >= ? limit 1",  # noqa: S608
        [after],
    )


def _messages(
    warehouse: Warehouse,
    where: str,
    parameters: Sequence[object],
    naming: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Rows of raw_tickets with `reference`; `ids` in `where` are the ids in `naming`."""
    present = warehouse.columns("raw_tickets")
    columns = [*conversations.EARLIER_COLUMNS, "reference"]
    if not present:
        return pd.DataFrame(columns=columns)
    named = [] if naming is None else [naming[name] for name in conversations.ID_COLUMNS]
    ids = pd.concat(named).dropna().unique() if named else []
    # Rows written before the column `reference` existed have their conversation instead.
    reference = "coalesce(reference, thread_id)" if "reference" in present else "thread_id"
    return warehouse.frame(
        f"select * from (select {', '.join(columns[:-1])}, {reference} as reference"  # noqa: S608
        f" from raw_tickets) where {where}",
        parameters,
        {"ids": pd.DataFrame({"id": ids}, dtype="str")},
    )


def _tickets(
    warehouse: Warehouse,
    where: str,
    parameters: Sequence[object],
    repeating: pd.DataFrame | None = None,
) -> Iterator[pd.DataFrame]:
    """Rows of clean_tickets, described; `senders` in `where` are the senders in `repeating`."""
    present = warehouse.columns("clean_tickets")
    if not present or not warehouse.columns("raw_tickets"):
        return
    senders: Any = [] if repeating is None else repeating["sender"].dropna().unique()
    # A table written before duplicates were linked lacks the column.
    tickets = warehouse.arrow(
        "select ticket_id, clean_tickets.received_at, text, token_count, sender, message_id,"  # noqa: S608
        " attachments, if(contains(text, '['),"
        " md5(concat_ws(chr(10), raw_tickets.subject, body_text, body_html)), null) as body_hash,"
        f" {'duplicate_of' if 'duplicate_of' in present else 'null'} as duplicate_of"
        f" from clean_tickets left join raw_tickets using (ticket_id) where {where}",
        parameters,
        {"senders": pd.DataFrame({"sender": senders}, dtype="str")},
    )
    for part in tickets.to_batches(max_chunksize=PAGE_TICKETS):
        yield part.to_pandas()


def _joined(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    frames = list(parts) or [pd.DataFrame(columns=list(duplicates.EARLIER_COLUMNS))]
    # Frames without rows would change the types of the others' columns.
    return pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)


def _outside(rows: pd.DataFrame, days: Sequence[date]) -> pd.DataFrame:
    received = rows["received_at"]
    return rows[(received < pd.Timestamp(days[0])) | (received >= pd.Timestamp(days[-1] + _DAY))]


def _changed_rows(stored: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Rows that only one of the two tables has, with the columns of `new`."""
    rows = pd.concat([frame[list(new.columns)].astype(object) for frame in (stored, new)])
    return rows[~rows.where(rows.notna(), None).duplicated(keep=False)]


def _days(rows: pd.DataFrame) -> list[date]:
    return sorted(set(rows["received_at"].dt.date)) if len(rows) else []


def _moved_days(rows: pd.DataFrame, link: str, changed: pd.DataFrame, keys: Keys) -> set[date]:
    """Days of the rows whose stored `link` differs from `linked` because of the changed rows.

    A link may differ for another reason: purged mail no longer has senders and texts. So a row
    counts when it shares a key with a changed row, or with another row that counts.
    """
    touched: set[Hashable] = set()
    for row in _as_tuples(changed):
        touched |= keys(row)
    days = set()
    stored, linked = rows[link].fillna(""), rows["linked"].fillna("")
    for row in _as_tuples(rows[stored != linked].sort_values(["received_at", "ticket_id"])):
        of_row = keys(row) | {row.linked}
        if not touched.isdisjoint(of_row):
            touched |= of_row
            days.add(row.received_at.date())
    return days


def _as_tuples(rows: pd.DataFrame) -> Iterator[Any]:
    values = rows.astype(object)
    return values.where(values.notna(), None).itertuples(index=False, name="Row")
