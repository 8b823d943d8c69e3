"""Which messages wait, by what has landed and what the event log says was predicted."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from tests.days import days_ago, today
from ticket_assets.desk import Desk
from ticket_assets.mail.back_off import BackOff, write_back_off
from ticket_assets.mail.landed_days import day_fingerprint, day_fingerprints
from ticket_assets.mail.mailboxes import mail_message
from ticket_assets.metrics.mail import DAYS, MailFigures, PredictedDay
from ticket_assets.settings import Settings


class Mail:
    """A desk with landed messages, and the figures of its exporter."""

    def __init__(self, folder: Path) -> None:
        drop = folder / "drop"
        self.desk = Desk(Settings(data_dir=folder / "data", drop_folder=drop))
        self._figures = MailFigures(self.desk)

    def land(self, name: str, day: date | None = None) -> None:
        day = day or days_ago(1)
        content = f"Date: {day:%a, %d %b %Y} 00:00:00 +0000\r\nSubject: {name}\r\n\r\nHello."
        self.desk.landing.land([mail_message(content.encode(), "test")])

    def predicted(self, day: date | None = None) -> dict[date, PredictedDay]:
        day = day or days_ago(1)
        landed = day_fingerprint(self.desk.landing, day)
        return {day: PredictedDay(landed, datetime.now(UTC))}

    def figures(
        self, predicted: dict[date, PredictedDay] | None = None
    ) -> dict[tuple[str, ...], float]:
        landed = day_fingerprints(self.desk.landing, self.desk.cursors)
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in self._figures.families(landed, predicted or {})
            for sample in family.samples
        }


@pytest.fixture
def mail(tmp_path: Path) -> Mail:
    return Mail(tmp_path)


def test_a_desk_without_mail(mail: Mail) -> None:
    figures = mail.figures()

    assert figures[("tickets_unsorted_messages",)] == 0
    assert figures[("tickets_oldest_unsorted_age_seconds",)] == 0
    assert figures[("tickets_refused_files", mail.desk.sources[0].name)] == 0
    assert figures[("tickets_landed_messages", today().isoformat())] == 0
    assert sum(name == "tickets_landed_messages" for name, *_ in figures) == DAYS


def test_mail_waits_until_predictions_were_made_from_it(mail: Mail) -> None:
    mail.land("a")
    mail.land("b")
    waiting = mail.figures()
    predicted = mail.predicted()
    sorted_ = mail.figures(predicted)
    mail.land("c")
    later = mail.figures(predicted)

    name = ("tickets_unsorted_messages",)
    assert [figures[name] for figures in (waiting, sorted_, later)] == [2, 0, 1]
    assert 0 < waiting[("tickets_oldest_unsorted_age_seconds",)] < 60
    landed = ("tickets_landed_messages", days_ago(1).isoformat())
    assert [figures[landed] for figures in (waiting, sorted_, later)] == [2, 2, 3]


def test_a_message_that_landed_while_the_run_was_at_work_waits(mail: Mail) -> None:
    mail.land("read by the run")
    read = day_fingerprint(mail.desk.landing, days_ago(1))
    mail.land("landed before the run had ended")
    predicted = {days_ago(1): PredictedDay(read, datetime.now(UTC))}

    assert mail.figures(predicted)[("tickets_unsorted_messages",)] == 1


def test_mail_from_before_the_first_day_does_not_wait(mail: Mail) -> None:
    mail.land("first")
    mail.land("from before the first day", days_ago(4000))

    assert mail.figures(mail.predicted())[("tickets_unsorted_messages",)] == 0


def test_a_source_that_fails(mail: Mail) -> None:
    (source,) = mail.desk.sources
    failed = BackOff().failed(datetime.now(UTC), "outage", "it does not answer", b"")
    write_back_off(mail.desk.cursors, source.name, failed)

    assert mail.figures()[("tickets_source_failures", source.name)] == 1
