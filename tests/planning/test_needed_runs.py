"""What `tickets run` finds to do, from the data folder alone."""

from datetime import date

import pytest

from ticket_assets.desk import Desk
from ticket_assets.mail.landed_days import DayRange, day_fingerprint, labels_fingerprint
from ticket_assets.mail.mailboxes import mail_message
from ticket_assets.planning.needed_runs import MOST_RANGES, needed_runs, spans
from ticket_assets.planning.recipe import recipe
from ticket_assets.settings import Settings
from ticket_assets.storage.day_origins import UNPARTITIONED, Origin, replace_origins


def day(number):
    return date(2025, 6, number)


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path / "data", first_day=day(1))


@pytest.fixture
def desk(settings):
    """A desk without a model, whose mail of three days is collected."""
    desk = Desk(settings)
    land(desk, 2, 3, 6)
    origins = {each: Origin(day_fingerprint(desk.landing, each), recipe(desk)) for each in
               desk.landing.days()}  # fmt: skip
    replace_origins(desk.warehouse, "ticket_collection", origins, origins)
    labels = {UNPARTITIONED: Origin(labels_fingerprint(desk.landing), "")}
    replace_origins(desk.warehouse, "ticket_labels", labels, labels)
    return desk


def land(desk, *numbers, name="mail"):
    desk.landing.land(
        mail_message(f"Date: {number} Jun 2025 09:00:00 +0000\r\n\r\n{name}".encode(), "test")
        for number in numbers
    )


def test_a_new_desk_needs_everything(settings):
    desk = Desk(settings)
    assert needed_runs(desk).is_nothing
    land(desk, 2)

    assert needed_runs(desk).everything


def test_days_whose_mail_has_changed_are_needed_alone(desk):
    assert needed_runs(desk).days == []

    land(desk, 3, name="late")

    assert needed_runs(desk).days == [DayRange(day(3), day(3))]


@pytest.mark.parametrize(
    "change", [{"languages": ("fr",)}, {"neighbours": 9}, {"drift_distance": 0.3}]
)
def test_a_setting_that_decides_rows_makes_everything_needed(desk, change):
    assert not needed_runs(desk).everything

    assert needed_runs(Desk(desk.settings.model_copy(update=change))).everything


def test_new_labels_make_everything_needed(desk):
    labels = desk.landing.root / "labels"
    labels.mkdir()
    (labels / "more.jsonl").write_text("")

    assert needed_runs(desk).everything


def test_days_without_mail_do_not_part_a_range():
    days = [day(number) for number in (2, 3, 6, 9, 10)]

    assert spans([day(3), day(6), day(10)], days) == [
        DayRange(day(3), day(6)),
        DayRange(day(10), day(10)),
    ]


def test_many_days_apart_are_one_range():
    days = [day(number) for number in range(1, 31)]
    some = days[:: len(days) // (MOST_RANGES + 1)]

    assert len(some) > MOST_RANGES
    assert spans(some, days) == [DayRange(some[0], some[-1])]
