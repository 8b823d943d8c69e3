"""Original mail goes when it is old enough and has been processed; nothing else goes."""

from datetime import UTC, date, datetime, timedelta
from unittest.mock import Mock

import duckdb
import pytest

from tests.warehouse_rows import append_rows
from ticket_assets.desk import Desk
from ticket_assets.mail.landing import IncomingMessage, Label, LandingError
from ticket_assets.mail.raw_tickets import raw_tickets
from ticket_assets.retention import PURGED_COLUMNS, LargePurgeError, purge
from ticket_assets.settings import Settings, SettingsError
from ticket_assets.storage.tables import SCHEMA, TABLES
from ticket_assets.storage.warehouse import DuckDBFile, ensure_table
from ticket_assets.text.cleaning import clean_tickets

FIRST = date(2025, 3, 1)
DAYS = [FIRST + timedelta(days=number) for number in range(5)]
LOOP_TABLES = ("delivered_tickets", "review_queue", "suspended_labels")
TODAY = DAYS[2] + timedelta(days=31)
"""The first three days are more than 30 days old."""


def message(day, text="The printer is jammed."):
    content = (
        f"From: Ann <ann-{day}@example.org>\nTo: desk@example.com\nMessage-ID: <{day}@x>\n"
        f"Subject: Jam {day}\n\n{text}\n"
    )
    return IncomingMessage(
        content=content.encode(),
        extension="eml",
        source="test",
        received_at=datetime(day.year, day.month, day.day, 10, tzinfo=UTC),
        received_at_source="date",
        message_id=f"{day}@x",
    )


def process(settings, days):
    parsed = raw_tickets(Desk(settings).landing, days, max_message_bytes=10**6)
    clean = clean_tickets(
        parsed.tickets, languages=("en",), phone_regions=("FR",), mask_ip_addresses=True
    ).tickets
    with duckdb.connect(str(settings.warehouse_path)) as connection:
        for name, rows in (
            ("raw_tickets", parsed.tickets),
            ("rejected_messages", parsed.rejected),
            ("clean_tickets", clean),
        ):
            ensure_table(connection, TABLES[name])
            connection.from_df(rows.reindex(columns=TABLES[name].column_names)).insert_into(
                f"{SCHEMA}.{name}"
            )


@pytest.fixture
def settings(tmp_path):
    return Settings(_env_file=None, data_dir=tmp_path / "data", raw_mail_days=30)


@pytest.fixture
def landing(settings):
    landing = Desk(settings).landing
    landing.land([message(day) for day in DAYS])
    return landing


def test_without_a_number_of_days_nothing_is_purged(settings):
    with pytest.raises(SettingsError, match="kept for ever: set TICKETS_RAW_MAIL_DAYS"):
        purge(Desk(settings.model_copy(update={"raw_mail_days": None})))


def test_an_empty_zone_has_nothing_to_purge(settings):
    assert purge(Desk(settings), TODAY).messages == 0
    assert not settings.data_dir.exists()


@pytest.mark.slow
def test_old_days_lose_their_mail_and_who_wrote_what_and_keep_the_rest(settings, landing):
    process(settings, DAYS)
    warehouse = DuckDBFile(settings.warehouse_path)
    before = warehouse.frame("from raw_tickets order by received_at")
    told = {"ticket_id": before["ticket_id"][0], "message_id": f"{FIRST}@x", "outcome": "delivered"}
    for table in LOOP_TABLES:
        append_rows(settings, table, [told | {"label": "printing", "rank": 1}])
    stays = {name: warehouse.rows(f"from {name}") for name in ("clean_tickets", *LOOP_TABLES)}

    purged = purge(Desk(settings), TODAY)

    assert (purged.messages, purged.rows, purged.until) == (3, 3, DAYS[2])
    assert (purged.waits_for, purged.never_processed) == (None, 0)
    assert landing.days() == DAYS[3:]
    after = warehouse.frame("from raw_tickets order by received_at")
    assert after[3:].equals(before[3:])
    assert after[:3][list(PURGED_COLUMNS)].isna().all(axis=None)
    stay = [column for column in before if column not in PURGED_COLUMNS]
    assert after[stay].equals(before[stay])
    assert {name: warehouse.rows(f"from {name}") for name in stays} == stays
    assert b"ann-2025-03-01@" not in settings.warehouse_path.read_bytes()
    assert b"ann-2025-03-04@" in settings.warehouse_path.read_bytes()
    assert purge(Desk(settings), TODAY).messages == 0


@pytest.mark.slow
def test_a_day_that_was_not_processed_keeps_its_mail_and_that_of_later_days(settings, landing):
    process(settings, [DAYS[0], DAYS[2]])

    purged = purge(Desk(settings), TODAY)

    assert (purged.until, purged.waits_for) == (DAYS[0], DAYS[1])
    assert landing.days() == DAYS[1:]


@pytest.mark.slow
def test_a_day_whose_clean_tickets_are_missing_is_not_processed(settings, landing):
    process(settings, DAYS)
    with duckdb.connect(str(settings.warehouse_path)) as connection:
        connection.execute(f"delete from {SCHEMA}.clean_tickets")  # noqa: S608

    assert purge(Desk(settings), TODAY).waits_for == DAYS[0]
    assert landing.days() == DAYS


@pytest.mark.slow
def test_labels_still_find_purged_messages_by_their_id(settings, landing):
    process(settings, DAYS)
    given = datetime(2025, 4, 1, tzinfo=UTC)
    landing.land_labels([Label("printing", None, given, "Bob", None, f"{FIRST}@x")])
    before = landing.resolve_labels()

    purge(Desk(settings), TODAY)

    after = landing.resolve_labels()
    assert (len(after.labels), after.unresolved) == (1, 0)
    assert after.labels.equals(before.labels)


@pytest.mark.slow
def test_purged_messages_do_not_land_again_and_late_ones_wait(settings, landing):
    process(settings, DAYS)
    purge(Desk(settings), TODAY)
    late = message(DAYS[1], "Late, but here.")

    report = landing.land([*(message(day) for day in DAYS), late])

    assert (report.landed, report.already_there, report.older) == (1, 5, 1)
    assert purge(Desk(settings), TODAY).messages == 0
    in_a_month = datetime.now(UTC).date() + timedelta(days=31)
    assert purge(Desk(settings), in_a_month, large=True).never_processed == 1


@pytest.mark.slow
def test_a_purged_day_is_not_parsed_again(settings, landing):
    process(settings, DAYS)
    purge(Desk(settings), TODAY)

    with pytest.raises(LandingError, match=f"mail of {FIRST} has been purged, as of every day"):
        raw_tickets(landing, [FIRST], max_message_bytes=10**6)
    assert len(raw_tickets(landing, DAYS[3:], max_message_bytes=10**6).tickets) == 2


@pytest.mark.slow
def test_a_purge_that_died_after_its_mark_is_completed_by_the_next(settings, landing, monkeypatch):
    process(settings, DAYS)
    with monkeypatch.context() as power_cut:
        power_cut.setattr(DuckDBFile, "rewrite", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            purge(Desk(settings), TODAY)
    assert landing.days() == DAYS

    purged = purge(Desk(settings), TODAY)

    assert (purged.messages, purged.rows, purged.until) == (3, 3, DAYS[2])
    assert landing.days() == DAYS[3:]


@pytest.mark.slow
def test_a_purge_of_most_of_what_there_is_has_to_be_meant(settings):
    """With a clock of 2028 all originals went."""
    desk = Desk(settings)
    days = [FIRST + timedelta(days=number) for number in range(20)]
    desk.landing.land([message(day) for day in days])
    process(settings, days)
    late = days[-1] + timedelta(days=800)

    with pytest.raises(LargePurgeError, match=r"20 of 20 original messages .*--large"):
        purge(desk, late)

    assert len(list(desk.landing.messages(days[0]))) == 1
    assert purge(desk, days[9] + timedelta(days=31)).messages == 10
    assert purge(desk, late, large=True).messages == 10


@pytest.mark.slow
def test_a_purge_that_takes_the_newest_mail_has_to_be_meant(settings, landing):
    """A desk of few days, and a clock that is a month ahead."""
    process(settings, DAYS)
    ahead = DAYS[-1] + timedelta(days=60)

    with pytest.raises(LargePurgeError, match=r"5 of 5 original messages .*--large"):
        purge(Desk(settings), ahead)

    assert purge(Desk(settings), ahead, large=True).messages == 5
