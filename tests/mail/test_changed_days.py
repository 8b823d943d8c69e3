"""In a bucket, notes tell which days changed: none is forgotten, and few requests are made."""

import json
from collections import Counter
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.services.s3 import KEY_ID, SECRET
from ticket_assets.mail import changed_days
from ticket_assets.mail.changed_days import INDEX, NOTES, fingerprint_of
from ticket_assets.mail.landed_days import day_fingerprint, day_fingerprints
from ticket_assets.mail.landing import IncomingMessage, LandingZone
from ticket_assets.mail.removal import remove_messages
from ticket_assets.storage.bucket_blobs import BucketBlobs
from ticket_assets.storage.s3_access import S3Access

FIRST = date(2025, 3, 1)


@pytest.fixture
def landing(s3):
    access = S3Access(s3.endpoint, "eu-west-1", KEY_ID, SECRET)
    return LandingZone(BucketBlobs(f"{s3.bucket()}/landing", access))


def fingerprints(landing):
    return day_fingerprints(landing, landing.files.under("cursors"))


def message(number, day=0):
    moment = datetime(2025, 3, 1, 9, tzinfo=UTC) + timedelta(days=day)
    return IncomingMessage(b"%d" % number, "eml", "test", moment, "date", f"{number}@x")


def listed(landing):
    """The truth: every day's messages, listed."""
    names = {}
    for blob in landing.files.list():
        day, _, name = blob.name.partition("/")
        if name.endswith(".eml"):
            names.setdefault(date.fromisoformat(day), []).append(name)
    return {day: fingerprint_of(of_day) for day, of_day in names.items()}


def notes(landing):
    return [blob.name for blob in landing.files.list(NOTES)]


def requests_of(s3, work):
    before = len(s3.requests())
    work()
    return Counter(line.split()[0] for line in s3.requests()[before:])


@pytest.mark.slow
def test_a_year_of_days_costs_few_requests(s3, landing):
    landing.land(message(day, day) for day in range(365))
    first = fingerprints(landing)

    unchanged = requests_of(s3, lambda: fingerprints(landing))
    landing.land([message(1000, 7)])
    changed = requests_of(s3, lambda: fingerprints(landing))

    assert len(first) == 365
    assert sum(unchanged.values()) == 2, unchanged
    assert sum(changed.values()) < 10, changed
    assert [day for day, text in fingerprints(landing).items() if text != first[day]] == [
        FIRST + timedelta(7)
    ]


@pytest.mark.slow
def test_what_landed_and_what_was_removed_is_seen(landing):
    landing.land([message(1), message(2), message(3, 1)])
    before = fingerprints(landing)
    assert before == listed(landing)

    landing.land([message(4)])
    assert fingerprints(landing) == listed(landing) != before

    tickets = [landed.ticket_id for landed in landing.messages(FIRST + timedelta(1))]
    remove_messages(landing, tickets)
    assert list(fingerprints(landing)) == [FIRST] == landing.days()
    assert notes(landing) == []


class Killed(BaseException):
    """The process ends here."""


class DyingBlobs(BucketBlobs):
    """A store whose process dies in the middle of the messages, or before what follows them."""

    lives = 0

    def write(self, blobs):
        for name, content in blobs:
            self._die_at_last()
            super().write([(name, content)])

    def create_many(self, blobs):
        created = set()
        for name, content in blobs:
            self._die_at_last()
            created |= super().create_many([(name, content)])
        return created

    def replace(self, name, content, version=None):
        self._die_at_last()
        return super().replace(name, content, version)

    def _die_at_last(self):
        if self.lives == 0:
            raise Killed
        self.lives -= 1


def dying(landing, lives):
    blobs = DyingBlobs(landing.files.location, landing.files._access)
    blobs.lives = lives
    return LandingZone(blobs)


@pytest.mark.slow
@pytest.mark.parametrize("lives", range(9))
def test_a_landing_that_dies_anywhere_hides_no_day(landing, lives):
    landing.land([message(0)])
    fingerprints(landing)

    with suppress(Killed):
        dying(landing, lives).land([message(1), message(2), message(3, 1)])

    assert fingerprints(landing) == listed(landing)
    assert fingerprints(landing) == listed(landing)
    landing.land([message(1), message(2), message(3, 1)])
    assert fingerprints(landing) == listed(landing)
    assert len([1 for day in landing.days() for _ in landing.messages(day)]) == 4


def test_a_reader_in_the_middle_of_a_landing_does_not_hide_its_end(landing):
    with landing.changing([FIRST]):
        landing.files.write([(f"{FIRST}/{'a' * 64}.eml", b"first")])
        assert fingerprints(landing) == listed(landing)
        landing.files.write([(f"{FIRST}/{'b' * 64}.eml", b"second")])
    assert fingerprints(landing) == listed(landing)
    assert notes(landing) == []

    # Its process dies: no note says that it has ended.
    with suppress(Killed), landing.changing([FIRST]):
        fingerprints(landing)
        landing.files.write([(f"{FIRST}/{'c' * 64}.eml", b"third")])
        raise Killed
    assert fingerprints(landing) == listed(landing)


def test_the_note_of_a_dead_process_goes_after_an_hour(landing, monkeypatch):
    landing.land([message(1)])
    with suppress(Killed), landing.changing([FIRST]):
        raise Killed
    fingerprints(landing)
    assert len(notes(landing)) == 1

    monkeypatch.setattr(changed_days, "GIVEN_UP_AFTER", timedelta(seconds=-5))

    assert fingerprints(landing) == listed(landing)
    assert notes(landing) == []


class MeetingBlobs(BucketBlobs):
    """A store in which something happens before one of a reader's requests."""

    def __init__(self, landing, number, happening):
        super().__init__(landing.files.location, landing.files._access)
        self.number, self.happening = number, happening

    def _meet(self):
        self.number -= 1
        if self.number == 0:
            self.happening()

    def list(self, prefix="", after=None):
        self._meet()
        return super().list(prefix, after)

    def read_many(self, names, first_bytes=None):
        self._meet()
        return super().read_many(names, first_bytes)

    def read_version(self, name):
        self._meet()
        return super().read_version(name)

    def names_in(self, folders):
        self._meet()
        return super().names_in(folders)

    def replace(self, name, content, version=None):
        self._meet()
        return super().replace(name, content, version)

    def delete(self, names):
        self._meet()
        return super().delete(names)


@pytest.mark.parametrize("request_number", range(1, 7))
@pytest.mark.parametrize("also_read", [False, True])
def test_readers_and_a_landing_that_meet_anywhere_forget_nothing(
    landing, request_number, also_read
):
    landing.land([message(1), message(2, 1)])
    fingerprints(landing)
    landing.land([message(3)])
    before = listed(landing)

    def happening():
        landing.land([message(4), message(5, 2)])
        if also_read:
            assert fingerprints(landing) == listed(landing)

    reader = LandingZone(MeetingBlobs(landing, request_number, happening))
    seen = fingerprints(reader)

    # What had landed before it looked is seen at once, the rest at the next look.
    assert all(seen[day] in {text, listed(landing)[day]} for day, text in before.items())
    assert fingerprints(landing) == listed(landing)


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(st.sampled_from(["land", "die", "remove", "read"]), st.integers(0, 5)),
        max_size=12,
    )
)
@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_happens_the_next_look_tells_the_truth(s3, landing, events):
    landing = LandingZone(landing.files.under(f"{hash(tuple(events))}"))
    for event, number in events:
        if event == "land":
            landing.land([message(number, number % 3), message(number + 10, number % 2)])
        elif event == "die":
            with suppress(Killed):
                dying(landing, number).land([message(number + 20, 1), message(number + 30, 2)])
        elif event == "remove":
            tickets = [m.ticket_id for m in landing.messages(FIRST + timedelta(number % 3))]
            remove_messages(landing, tickets[:number])
        else:
            assert fingerprints(landing) == listed(landing)

    assert fingerprints(landing) == listed(landing)
    assert {day: day_fingerprint(landing, day) for day in landing.days()} == listed(landing)


def test_an_index_that_is_lost_or_damaged_is_made_again(landing):
    landing.land([message(1), message(2, 1)])
    before = fingerprints(landing)

    landing.files.delete([INDEX])
    assert fingerprints(landing) == before
    landing.files.replace(INDEX, b'{"days": [')
    assert fingerprints(landing) == before
    assert json.loads(landing.files.read(INDEX))["days"].keys() == {"2025-03-01", "2025-03-02"}
