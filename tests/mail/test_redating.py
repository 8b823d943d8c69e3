"""Mail that landed while the clock lay before its date gets its own day."""

from datetime import UTC, date, datetime

import pytest
import time_machine

from tests.mail.test_landing import landing  # noqa: F401
from ticket_assets.mail.landing import IncomingMessage, LandingZone
from ticket_assets.mail.mailboxes import mail_message
from ticket_assets.mail.redating import misdated_mail, redate

WRONG = datetime(2023, 5, 4, 12, tzinfo=UTC)
OWN_DAYS = [date(2025, 3, number) for number in (3, 4, 5)]


def mail(day, text="VPN"):
    content = (
        f"Date: {day:%a, %d %b %Y} 10:00:00 +0000\nMessage-ID: <{text}@x>\n\n{text} is down.\n"
    )
    return mail_message(content.encode(), "test")


@pytest.fixture
def landed(landing):  # noqa: F811
    """Three mails that landed with a clock of 2023, and what has no date of its own to believe."""
    with time_machine.travel(WRONG, tick=False):
        landing.land([mail(day, f"mail {day}") for day in OWN_DAYS])
        landing.land([mail_message(b"Subject: x\n\nno date", "test"), mail(date(1980, 1, 1))])
        landing.land([mail(date(2023, 5, 2), "in time")])
        landing.land([IncomingMessage(b'{"body": "x"}', "json", "test", None, "landed", None)])
    return landing


def days(landing: LandingZone) -> dict[date, int]:  # noqa: F811
    return {day: len(list(landing.messages(day))) for day in landing.days()}


def test_mail_whose_date_lay_ahead_gets_its_day(landed):
    assert days(landed) == {date(2023, 5, 2): 1, WRONG.date(): 6}

    redate(landed, misdated_mail(landed, landed.days()))

    assert days(landed) == {date(2023, 5, 2): 1, WRONG.date(): 3, **dict.fromkeys(OWN_DAYS, 1)}
    (first,) = landed.messages(OWN_DAYS[0])
    assert first.received_at == datetime(2025, 3, 3, 10, tzinfo=UTC)
    assert (first.received_at_source, first.landed_at, first.source) == ("date", WRONG, "test")
    assert b"mail 2025-03-03 is down" in landed.read(first)
    assert list(misdated_mail(landed, landed.days())) == []


def test_it_is_the_same_mail_for_later_imports_and_labels(landed):
    redate(landed, misdated_mail(landed, landed.days()))

    again = landed.land([mail(day, f"mail {day}") for day in OWN_DAYS])

    assert (again.landed, again.already_there) == (0, 3)
    named = {line["message_id"] for line in landed.manifest_lines(map(str, OWN_DAYS))}
    assert named == {f"mail {day}@x" for day in OWN_DAYS}


@pytest.mark.slow
@pytest.mark.parametrize("step", ["write", "create_many", "delete"])
def test_interrupted_it_is_completed_by_the_same_again(landed, monkeypatch, step):
    def stop(names):
        list(names)
        raise KeyboardInterrupt

    mails = list(misdated_mail(landed, landed.days()))
    with monkeypatch.context() as interrupted:
        interrupted.setattr(type(landed.files), step, lambda _, names: stop(names))
        with pytest.raises(KeyboardInterrupt):
            redate(landed, mails)

    redate(landed, misdated_mail(landed, landed.days()))

    assert days(landed) == {date(2023, 5, 2): 1, WRONG.date(): 3, **dict.fromkeys(OWN_DAYS, 1)}


def test_a_date_that_still_lies_ahead_and_a_damaged_original_stay(landing):  # noqa: F811
    ahead = date(2031, 1, 1)
    with time_machine.travel(WRONG, tick=False):
        landing.land([mail(ahead), mail(OWN_DAYS[0])])
    (damaged,) = (
        found for found in landing.messages(WRONG.date()) if b"2025" in landing.read(found)
    )
    landing.files.replace(damaged.name, mail(OWN_DAYS[1]).content)

    assert list(misdated_mail(landing, landing.days())) == []
