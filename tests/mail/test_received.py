"""The received date of a message comes from its headers, when they are believable."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from ticket_assets.mail.received import received_at

RECEIVED = (
    b"Received: from mx.example.fr by mail.example.fr with ESMTPS id 7;\r\n"
    b"\tTue, 4 Mar 2025 09:00:05 +0100\r\n"
    b"Received: from poste by mx.example.fr; Tue, 4 Mar 2025 08:00:00 +0100\r\n"
)


def test_the_date_header_wins_and_is_given_in_utc():
    message = RECEIVED + b"Date: Mon, 3 Mar 2025 23:30:00 -0500\r\n\r\nBonjour"

    assert received_at(message) == (datetime(2025, 3, 4, 4, 30, tzinfo=UTC), "date")


def test_a_date_without_an_offset_is_taken_as_utc():
    message = b"Subject: x\nDate: Mon, 3 Mar 2025 23:30:00 -0000\n\n"

    assert received_at(message) == (datetime(2025, 3, 3, 23, 30, tzinfo=UTC), "date")


@pytest.mark.parametrize(
    "date",
    [
        b"",
        b"Date: lundi 3 mars 2025\r\n",
        b"Date: Thu, 01 Jan 1970 00:00:00 +0000\r\n",
        b"Date: Mon, 3 Mar 99999 10:00:00 +0100\r\n",
        b"Date: Fri, 31 Dec 9999 23:59:59 -2300\r\n",
        b"Date:\r\n",
    ],
)
def test_without_a_believable_date_the_newest_received_header_counts(date):
    message = RECEIVED + date + b"\r\nBonjour"

    assert received_at(message) == (datetime(2025, 3, 4, 8, 0, 5, tzinfo=UTC), "received")


def test_a_date_more_than_a_day_ahead_is_not_believed_but_a_wrong_zone_is():
    now = datetime.now(UTC).replace(microsecond=0)

    def message(ahead):
        return f"Date: {format_datetime(now + ahead)}\n\nx".encode()

    assert received_at(message(timedelta(days=2))) == (None, "landed")
    assert received_at(message(timedelta(hours=12))) == (now + timedelta(hours=12), "date")


def test_whether_a_date_is_in_the_future_depends_on_the_clock_given():
    message = b"Date: Tue, 3 Mar 2026 10:00:00 +0000\n\nx"
    sent = datetime(2026, 3, 3, 10, tzinfo=UTC)

    assert received_at(message, now=datetime(2026, 3, 2, 9, tzinfo=UTC)) == (None, "landed")
    assert received_at(message, now=datetime(2026, 3, 2, 10, tzinfo=UTC)) == (sent, "date")


def test_a_date_after_its_receipt_is_never_believed():
    ahead = RECEIVED + b"Date: Thu, 6 Mar 2025 10:00:00 +0100\r\n\r\nx"
    received = (datetime(2025, 3, 4, 8, 0, 5, tzinfo=UTC), "received")

    assert received_at(ahead, now=datetime(2025, 3, 4, 9, tzinfo=UTC)) == received
    assert received_at(ahead, now=datetime(2026, 1, 1, tzinfo=UTC)) == received


def test_a_date_line_in_the_body_is_not_a_header():
    message = b"Subject: x\n\nDate: Mon, 3 Mar 2025 10:00:00 +0100\n"

    assert received_at(message) == (None, "landed")


def test_a_folded_date_and_a_byte_order_mark_are_read():
    message = b"\xef\xbb\xbf\r\nDate: Mon, 3 Mar 2025\r\n 10:00:00 +0100\r\n\r\nx"

    assert received_at(message) == (datetime(2025, 3, 3, 9, tzinfo=UTC), "date")
