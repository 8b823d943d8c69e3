"""Which landed messages are late: one desk, and what has become of its messages."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from ticket_assets.desk import Desk
from ticket_assets.mail.landed_days import day_fingerprint
from ticket_assets.mail.mailboxes import mail_message
from ticket_assets.planning.late_mail import LateMail, late_mail
from ticket_assets.settings import Settings
from ticket_assets.storage.day_origins import Origin, replace_origins
from ticket_assets.storage.tables import SCHEMA, TABLES
from ticket_assets.storage.warehouse import ensure_table

DAY = date(2025, 6, 3)
NOBODY_WAITS = LateMail(0, {}, None)


@dataclass
class Messages:
    """A desk with landed messages, looked at an hour and a half after they landed."""

    desk: Desk

    def land(self, name: str, day: date = DAY) -> str:
        """Lands a message; its ticket id."""
        content = (
            f"Date: {day:%a, %d %b %Y} 09:00:00 +0000\r\nSubject: Mail {name}\r\n\r\nHello."
        ).encode()
        landing = self.desk.landing
        landing.land([mail_message(content, "test")])
        (landed,) = (
            message for message in landing.messages(day) if landing.read(message) == content
        )
        return landed.ticket_id

    def put(self, table: str, *tickets: str, day: date = DAY) -> None:
        """Rows of these tickets, made from what has landed now."""
        self.desk.settings.data_dir.mkdir(exist_ok=True)
        key = "content_hash" if table == "rejected_messages" else "ticket_id"
        with duckdb.connect(str(self.desk.settings.warehouse_path)) as connection:
            ensure_table(connection, TABLES[table])
            for ticket in tickets:
                connection.execute(
                    f"insert into {SCHEMA}.{table} ({key}, received_at) values (?, ?)",  # noqa: S608
                    [ticket, datetime(day.year, day.month, day.day, 9)],
                )
        origin = Origin(day_fingerprint(self.desk.landing, day), "")
        replace_origins(self.desk.warehouse, table, [day], {day: origin})

    def late(self, minutes: float = 90) -> LateMail:
        return late_mail(self.desk, datetime.now(UTC) + timedelta(minutes=minutes))


@pytest.fixture
def messages(tmp_path: Path) -> Messages:
    return Messages(Desk(Settings(data_dir=tmp_path / "data", late_after_minutes=60)))


def test_an_empty_desk_has_nothing_late(messages: Messages):
    assert messages.late() == NOBODY_WAITS


def test_a_message_is_late_after_an_hour_without_prediction(messages: Messages):
    messages.land("one")
    messages.land("another", DAY + timedelta(1))

    late = messages.late()

    assert messages.late(minutes=59) == NOBODY_WAITS
    assert (late.messages, late.by_day) == (2, {DAY: 1, DAY + timedelta(1): 1})
    assert late.landed_at is not None
    assert datetime.now(UTC) - late.landed_at < timedelta(minutes=5)


def test_a_prediction_ends_the_wait_of_its_message_alone(messages: Messages):
    ticket = messages.land("one")
    messages.put("ticket_predictions", ticket)
    assert messages.late() == NOBODY_WAITS

    messages.land("another of the same day")

    assert messages.late().by_day == {DAY: 1}


def test_a_run_that_failed_half_way_leaves_its_messages_late(messages: Messages):
    tickets = [messages.land("one"), messages.land("two")]
    for table in ("raw_tickets", "clean_tickets"):
        messages.put(table, *tickets)

    assert messages.late().by_day == {DAY: 2}


@pytest.mark.parametrize("reason", ["rejected", "left out"])
def test_a_message_that_becomes_no_ticket_waits_for_nothing(messages: Messages, reason: str):
    ticket, other = messages.land("one"), messages.land("two")
    if reason == "rejected":
        messages.put("rejected_messages", ticket + "0" * 44)
        messages.put("raw_tickets", other)
    else:
        messages.put("raw_tickets", ticket, other)
    messages.put("clean_tickets", other)

    assert messages.late().by_day == {DAY: 1}


def test_what_was_read_but_not_cleaned_yet_is_late(messages: Messages):
    first = messages.land("one")
    messages.put("raw_tickets", first)
    messages.put("clean_tickets", first)
    second = messages.land("two")
    messages.put("raw_tickets", second)

    assert messages.late().by_day == {DAY: 2}
