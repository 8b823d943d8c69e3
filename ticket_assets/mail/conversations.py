"""Which conversation a message belongs to, also where its headers do not say so."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Hashable
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import pandas as pd

from ticket_assets.text.languages import all_words, one_of
from ticket_assets.text.subjects import without_prefixes, without_tags

SUBJECT_DAYS = 30
"""Days for which a reply can be told by its subject: most tickets are closed by then, and the same
two people write about "VPN" again."""
ID_COLUMNS = ("message_id", "in_reply_to", "thread_id")
EARLIER_COLUMNS = ("ticket_id", *ID_COLUMNS, "received_at", "sender", "recipients", "subject")

_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")


class _Patterns:
    """Marks in subjects, in the words of all languages."""

    def __init__(self) -> None:
        words = all_words()
        # "[#1234]", "(Ticket#1234)", "##1234##", "[INC0012345]", "[SUP-123]": what desks put there.
        self.number = re.compile(
            r"[\[(](?:[^\W\d_][\w .:-]{0,20})?(?:\#|n°)\s?\d{3,20}[\])]"
            rf"|[\[(]{one_of(words.ticket_number_words)}[ :-]*\d{{3,20}}[\])]"
            r"|\[[a-z]{2,10}-\d{2,10}\]|\#\#\d{3,20}\#\#",
            re.IGNORECASE,
        )


_patterns = functools.cache(_Patterns)


class _Subject(NamedTuple):
    topic: str
    """Without prefixes, ticket number, case and repeated blanks."""
    number: str | None
    answers: bool
    """Whether a prefix or a number shows that an earlier message exists."""


class _Sent(NamedTuple):
    """The latest message on a topic from one address to another."""

    received_at: datetime
    thread_id: str
    number: str | None
    parties: frozenset[str]


def first_earlier_day(first_day: date) -> date:
    """The first day of the earlier messages that a run from `first_day` on has to look at."""
    return first_day - timedelta(days=SUBJECT_DAYS)


def link_conversations(rows: pd.DataFrame, earlier: pd.DataFrame) -> pd.DataFrame:
    """`rows` of raw_tickets with their final `thread_id`.

    A message belongs to the conversation of the messages that its ids lead to: a copy of itself,
    the first message of its References, the one it answers, or another answer to one of these.
    Where they lead nowhere, a reply ("RE: X", "TR : X") joins the latest message with its ticket
    number that shares an address with it, else the latest with its subject between the same two
    people, not more than SUBJECT_DAYS before. One address in common is not enough: all mail names
    the desk's. A message that joins none begins a conversation, which is named after it.

    Args:
        rows: `thread_id` as the headers give it, or None.
        earlier: EARLIER_COLUMNS of what was received before all `rows`, already linked: at least
            the messages since `first_earlier_day`, and those with an id that `rows` name. Each
            message depends on earlier ones alone, so days give the same one by one and together.
    """
    conversations = _Conversations()
    for row in _in_order(earlier):
        conversations.add(row, str(row.thread_id))
    linked: dict[Any, str] = {}
    for row in _in_order(rows):
        linked[row.Index] = conversations.find(row)
        conversations.add(row, linked[row.Index])
    return rows.assign(thread_id=pd.Series(linked, dtype="object"))


def keys(row: Any) -> set[Hashable]:
    """Ids, ticket number and topic of a message: linked messages have one in common."""
    subject = _subject(row.subject)
    described = {("number", subject.number), ("topic", subject.topic)}
    ids = {row.message_id, row.in_reply_to, row.thread_id, getattr(row, "reference", None)}
    return (ids - {None}) | (described - {("number", None), ("topic", "")})


def _in_order(rows: pd.DataFrame) -> Any:
    # Old tables may hold rows without a conversation; nothing can join those.
    ordered = rows[list(EARLIER_COLUMNS)].sort_values(["received_at", "ticket_id"])
    return ordered.astype(object).where(ordered.notna(), None).itertuples(name="Row")


class _Conversations:
    """The messages seen so far, by all that a later one can be recognised with."""

    def __init__(self) -> None:
        self._by_id: dict[str, str] = {}
        self._by_number: dict[tuple[str, str], tuple[datetime, str]] = {}
        self._by_topic: dict[tuple[str, str, str], _Sent] = {}

    def add(self, row: Any, thread_id: str) -> None:
        for message_id in (row.message_id, row.in_reply_to, thread_id):
            if message_id:
                self._by_id.setdefault(message_id, thread_id)
        subject = _subject(row.subject)
        recipients = _recipients(row)
        if subject.number:
            for address in (row.sender, *recipients):
                if address:
                    self._by_number[subject.number, address] = (row.received_at, thread_id)
        if subject.topic and row.sender:
            parties = frozenset((row.sender, *recipients))
            sent = _Sent(row.received_at, thread_id, subject.number, parties)
            # A row of an export may name nobody but its author.
            for recipient in recipients or ("",):
                self._by_topic[subject.topic, row.sender, recipient] = sent

    def find(self, row: Any) -> str:
        for message_id in (row.message_id, row.thread_id, row.in_reply_to):
            if message_id in self._by_id:
                return self._by_id[message_id]
        joined = self._by_subject(row)
        return str(joined or row.thread_id or row.message_id or row.ticket_id)

    def _by_subject(self, row: Any) -> str | None:
        subject = _subject(row.subject)
        if not subject.answers:
            return None
        since = datetime.combine(first_earlier_day(row.received_at.date()), datetime.min.time())
        recipients = _recipients(row)
        numbered = [
            earlier
            for address in (row.sender, *recipients)
            if subject.number and (earlier := self._by_number.get((subject.number, address)))
        ]
        latest_numbered = max(numbered, default=None)
        if latest_numbered and latest_numbered[0] >= since:
            return latest_numbered[1]
        if not subject.topic or not row.sender:
            return None
        parties = frozenset((row.sender, *recipients))
        answered = (
            self._by_topic.get((subject.topic, recipient, row.sender)) for recipient in recipients
        )
        # The author writing again: to the same people, or a colleague's copy would be enough.
        followed = (
            sent
            for recipient in recipients or ("",)
            if (sent := self._by_topic.get((subject.topic, row.sender, recipient)))
            and (sent.parties <= parties or parties <= sent.parties)
        )
        latest = max(
            (
                sent
                for sent in (*answered, *followed)
                if sent
                and sent.received_at >= since
                and (not subject.number or sent.number in {None, subject.number})
            ),
            key=lambda sent: sent.received_at,
            default=None,
        )
        return latest.thread_id if latest else None


def _recipients(row: Any) -> tuple[str, ...]:
    return tuple(address for address in json.loads(row.recipients or "[]") if address != row.sender)


def _subject(written: str | None) -> _Subject:
    patterns = _patterns()
    whole = without_tags(written or "")
    mark = patterns.number.search(whole)
    number = _NOT_ALPHANUMERIC.sub("", mark[0]).casefold() if mark else None
    unnumbered = patterns.number.sub(" ", whole).strip()
    topic = without_prefixes(unnumbered)
    return _Subject(
        topic=" ".join(topic.casefold().split()),
        number=number,
        answers=number is not None or topic != unnumbered,
    )
