"""The audit reads every original within its nights, and tells which are damaged."""

from datetime import UTC, date, datetime, timedelta

import pytest

from ticket_assets.mail.landing import LandingZone
from ticket_assets.mail.mailboxes import mail_message
from ticket_assets.mail.originals import NIGHTS, damaged_originals

SOME_NIGHT = date(2026, 11, 20)


@pytest.fixture
def landing(tmp_path):
    zone = LandingZone(tmp_path)
    moment = datetime(2025, 3, 3, 9, tzinfo=UTC)
    zone.land(
        mail_message(f"Date: {moment + timedelta(hours=n):%a, %d %b %Y %T %z}\n\n{n}".encode(), "x")
        for n in range(200)
    )
    return zone


def read_in(landing, nights):
    """How many originals are read in each of the nights."""
    numbers = []
    for night in nights:
        read = [0]
        assert list(damaged_originals(landing, night, read.append)) == []
        numbers.append(read[-1])
    return numbers


def test_every_original_is_read_once_in_the_nights_of_the_audit(landing):
    numbers = read_in(landing, [SOME_NIGHT + timedelta(days=n) for n in range(NIGHTS)])

    assert sum(numbers) == 200
    assert max(numbers) < 30


def test_one_night_a_week_is_enough_for_all_in_the_end(landing):
    assert sum(read_in(landing, [SOME_NIGHT + timedelta(days=7 * n) for n in range(NIGHTS)])) == 200


def test_damaged_originals_are_told_by_name_in_their_night_and_by_a_look_at_all(landing):
    names = [blob.name for blob in landing.files.list() if blob.name.endswith(".eml")][:3]
    altered, cut, emptied = names
    landing.files.replace(altered, landing.files.read(altered).replace(b"Date", b"date"))
    landing.files.replace(cut, landing.files.read(cut)[:-1])
    landing.files.replace(emptied, b"")

    by_night = [
        name
        for night in range(NIGHTS)
        for name in damaged_originals(landing, SOME_NIGHT + timedelta(days=night))
    ]

    assert sorted(by_night) == sorted(damaged_originals(landing)) == names
