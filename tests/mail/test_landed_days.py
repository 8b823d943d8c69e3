"""Which days to request a run for, from the landing zone and what runs have read."""

import os
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticket_assets.mail.landed_days import (
    DayRange,
    consecutive,
    day_fingerprint,
    day_fingerprints,
    overall_fingerprint,
)
from ticket_assets.mail.landing import LandingZone
from ticket_assets.mail.mailboxes import mail_message
from ticket_assets.storage.folder_blobs import FolderBlobs

MONDAY = date(2026, 1, 5)
TUESDAY = date(2026, 1, 6)
WEDNESDAY = date(2026, 1, 7)


@pytest.fixture
def landing(tmp_path):
    return LandingZone(FolderBlobs(tmp_path / "landing"))


@pytest.fixture
def fingerprints(landing, tmp_path):
    return lambda: day_fingerprints(landing, FolderBlobs(tmp_path / "cursors"))


def land(landing, name, day=MONDAY):
    content = f"Date: {datetime(day.year, day.month, day.day, 9, tzinfo=UTC):%a, %d %b %Y %H:%M:%S}"
    landing.land([mail_message(f"{content} +0000\r\n\r\n{name}".encode(), "test")])


def age(landing, day, seconds=60):
    """Set the day's folder back in time, as if nothing had come for a while."""
    moment = (landing.files.folder / day.isoformat()).stat().st_mtime - seconds
    os.utime(landing.files.folder / day.isoformat(), (moment, moment))


def test_the_same_mail_gives_the_same_fingerprint_in_whatever_order_it_landed(tmp_path):
    zones = LandingZone(FolderBlobs(tmp_path / "one")), LandingZone(FolderBlobs(tmp_path / "other"))
    for zone, names in zip(zones, ("abc", "cab"), strict=True):
        for name in names:
            land(zone, name)

    one, other = (day_fingerprint(zone, MONDAY) for zone in zones)
    assert one == other
    land(zones[0], "d")
    assert day_fingerprint(zones[0], MONDAY) != one
    assert day_fingerprint(zones[0], TUESDAY) != one


def test_a_day_whose_folder_is_unchanged_is_not_listed_again(landing, fingerprints):
    land(landing, "a")
    age(landing, MONDAY)
    before = fingerprints()
    folder = landing.files.folder / MONDAY.isoformat()
    status = folder.stat()
    (message,) = folder.glob("*.eml")
    message.with_name("f" * 64 + ".eml").write_bytes(b"behind the folder's back")
    os.utime(folder, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert fingerprints() == before


def test_mail_that_lands_within_the_same_tick_of_the_clock_is_seen(landing, fingerprints):
    land(landing, "a")
    folder = landing.files.folder / MONDAY.isoformat()
    status = folder.stat()
    before = fingerprints()

    land(landing, "b")
    os.utime(folder, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert fingerprints()[MONDAY] != before[MONDAY]


def test_hints_that_are_damaged_cost_a_listing(landing, fingerprints, tmp_path):
    land(landing, "a")
    age(landing, MONDAY)
    before = fingerprints()
    (tmp_path / "cursors" / "landed_days.json").write_text('{"2026-01-05": [1')

    assert fingerprints() == before == {MONDAY: day_fingerprint(landing, MONDAY)}


def test_a_day_without_a_message_has_no_fingerprint(landing, fingerprints):
    assert fingerprints() == {}
    (landing.files.folder / MONDAY.isoformat() / "_manifests").mkdir(parents=True)
    assert fingerprints() == {}


def test_days_that_follow_each_other_go_together():
    assert consecutive([WEDNESDAY, MONDAY, TUESDAY, date(2026, 1, 9)]) == [
        DayRange(MONDAY, WEDNESDAY),
        DayRange(date(2026, 1, 9), date(2026, 1, 9)),
    ]


@given(st.sets(st.integers(0, 400)))
def test_ranges_hold_exactly_their_days_and_never_touch(numbers):
    days = {MONDAY + timedelta(number) for number in numbers}

    ranges = consecutive(days)

    assert [day for days in ranges for day in days.days()] == sorted(days)
    assert all(later.first - earlier.last > timedelta(1) for earlier, later in pairwise(ranges))


def test_several_days_have_another_fingerprint_when_one_has():
    both = overall_fingerprint({MONDAY: "m", TUESDAY: "t"})

    assert overall_fingerprint({TUESDAY: "t", MONDAY: "m"}) == both
    assert overall_fingerprint({MONDAY: "m", TUESDAY: "u"}) != both
    assert overall_fingerprint({MONDAY: "t", TUESDAY: "m"}) != both


@pytest.mark.parametrize(
    ("most", "parts"),
    [
        (None, [(MONDAY, WEDNESDAY)]),
        (3, [(MONDAY, WEDNESDAY)]),
        (2, [(MONDAY, TUESDAY), (WEDNESDAY, WEDNESDAY)]),
        (1, [(day, day) for day in (MONDAY, TUESDAY, WEDNESDAY)]),
    ],
)
def test_days_are_parted(most, parts):
    assert DayRange(MONDAY, WEDNESDAY).parts(most) == [DayRange(*part) for part in parts]
