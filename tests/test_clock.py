"""A clock that is wrong files no mail under wrong days, and removes none."""

import os
from datetime import UTC, date, datetime, timedelta

import pytest
import time_machine

from tests.days import last_friday
from tests.test_cli import data, refused, tickets  # noqa: F401
from ticket_assets.clock import ClockError, refuse_clock_before_most, refuse_early_clock
from ticket_assets.desk import Desk
from ticket_assets.mail.importing import import_path, read_mailbox
from ticket_assets.mail.landing import LandingZone
from ticket_assets.mail.mailboxes import mail_message
from ticket_assets.settings import Settings
from ticket_assets.storage.folder_blobs import FolderBlobs

MAIL = (
    "From a@b Mon Nov  2 08:00:00 2026\nDate: {}\nMessage-ID: <{}@x>\nSubject: VPN\n\nIt is down."
    "\n\n"
)


@pytest.fixture
def landing(tmp_path):
    """Mail of ten days up to 2026-06-10."""
    landing = LandingZone(FolderBlobs(tmp_path / "landing"))
    with time_machine.travel(datetime(2026, 6, 11, tzinfo=UTC), tick=False):
        for day in range(1, 11):
            text = f"Date: {date(2026, 6, day):%a, %d %b %Y} 08:00:00 +0000\n\nHello {day}."
            landing.land([mail_message(text.encode(), "test")])
    return landing


@pytest.mark.parametrize("day", [date(2026, 6, 9), date(2026, 6, 11), date(2028, 1, 1)])
def test_a_clock_after_the_newest_mail_or_a_day_before_it_passes(day, landing):
    with time_machine.travel(datetime(day.year, day.month, day.day, tzinfo=UTC), tick=False):
        refuse_early_clock(landing)
        refuse_clock_before_most(landing)


def test_a_clock_before_the_newest_mail_is_refused(landing):
    with (
        time_machine.travel(datetime(2026, 6, 8, tzinfo=UTC), tick=False),
        pytest.raises(
            ClockError, match="says 2026-06-08, and the newest mail here is of 2026-06-10"
        ),
    ):
        refuse_early_clock(landing)


def test_of_a_few_days_that_a_clock_of_the_future_left_only_the_flag_knows(landing):
    with time_machine.travel(datetime(2026, 6, 8, tzinfo=UTC), tick=False):
        refuse_clock_before_most(landing)
    with (
        time_machine.travel(datetime(2023, 6, 8, tzinfo=UTC), tick=False),
        pytest.raises(ClockError, match="most of the mail here is of later days, up to 2026-06-10"),
    ):
        refuse_clock_before_most(landing)


def test_a_file_that_is_still_to_be_written_is_refused(tmp_path):
    landing = LandingZone(FolderBlobs(tmp_path / "landing"))
    (tmp_path / "mail.mbox").write_text("")
    with (
        time_machine.travel(datetime.now(UTC) - timedelta(days=900), tick=False),
        pytest.raises(ClockError, match=r"mail\.mbox was written on"),
    ):
        refuse_early_clock(landing, tmp_path / "mail.mbox")


@pytest.mark.slow
def test_commands_refuse_an_early_clock_and_go_on_with_the_flag(tickets):  # noqa: F811
    """414 dated mails were filed under one day, and a run ended in an IndexError."""
    now = datetime.now(UTC)
    day = f"{now - timedelta(days=2):%a, %d %b %Y %H:%M:%S} +0000"
    mbox = tickets.write("mail.mbox", MAIL.format(day, 1))
    ahead = (now + timedelta(days=800)).timestamp()
    os.utime(mbox, (ahead, ahead))

    assert "add --accept-clock" in refused(tickets("import", mbox))
    done = tickets("import", mbox, "--accept-clock")
    assert "1 message landed" in done.stdout
    landing = tickets.folder / "data/landing"
    (written,) = [path for path in landing.iterdir() if path.name[:2] == "20"]
    written.rename(landing / f"{now + timedelta(days=800):%Y-%m-%d}")
    for command in (("run",), ("run", "--accept-clock")):
        assert "most of the mail here is of later days" in refused(tickets(*command))
    assert "the newest mail here is of" in refused(tickets("import", mbox))


TABLES = ("raw_tickets", "clean_tickets", "ticket_embeddings", "ticket_predictions")


@pytest.mark.slow
def test_mail_of_a_wrong_clock_is_dated_and_sorted_anew(tickets, data):  # noqa: F811
    """The day that it leaves has no mail any more: its rows go all the same."""
    tickets(
        "sample", "sample", *("--messages", "150", "--days", "14"), "--until", str(last_friday())
    )
    mails, labels = tickets.folder / "mails", tickets.folder / "sample/labels.csv"
    mails.mkdir()
    for number, imported in enumerate(read_mailbox(tickets.folder / "sample/mailbox.mbox")):
        if mail_message(imported.message.content, "test").received_at:
            (mails / f"{number}.eml").write_bytes(imported.message.content)
    desk = Desk(Settings(_env_file=None, data_dir=data))
    options = {"categories": desk.routing.categories, "priorities": desk.routing.priorities}
    wrong_day = datetime.now(UTC) - timedelta(days=40)
    with time_machine.travel(wrong_day, tick=False):
        import_path(desk.landing, mails, labels_path=labels, **options)
    assert desk.landing.days() == [wrong_day.date()]
    assert tickets("run").returncode == 0

    assert "Nothing is changed yet." in tickets("redate", "--dry-run").stdout
    redated = tickets("redate").stdout
    assert f"messages from {wrong_day.date()} to the days of" in redated
    assert tickets("run").returncode == 0

    undisturbed = LandingZone(FolderBlobs(tickets.folder / "undisturbed"))
    import_path(undisturbed, mails, **options)
    assert desk.landing.days() == undisturbed.days()
    messages = {
        (message.ticket_id, message.received_at.date())
        for day in undisturbed.days()
        for message in undisturbed.messages(day)
    }
    for table in TABLES:
        rows = desk.warehouse.rows(f"select ticket_id, received_at::date from {table}")  # noqa: S608
        assert len(rows) == len(set(rows)) > 100
        assert set(rows) <= messages
    (encoder,) = desk.warehouse.rows("select distinct model from ticket_embeddings")[0]
    with desk.collection(encoder) as collection:
        stored = collection.days_of_ids(date(2000, 1, 1), date(2100, 1, 1))
    embedded = desk.warehouse.rows("select ticket_id, received_at::date from ticket_embeddings")
    assert set(stored.items()) == set(embedded)
    assert "Nothing new" in tickets("run").stdout
    assert tickets("redate").stdout == "No mail lies under a wrong day.\n"
