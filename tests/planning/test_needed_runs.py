"""What `tickets run` finds to do, from the data folder alone."""

from datetime import date

import pytest

from ticket_assets.classification.model_store import CHAMPION
from ticket_assets.desk import Desk
from ticket_assets.mail.landed_days import DayRange, day_fingerprint, labels_fingerprint
from ticket_assets.mail.mailboxes import mail_message
from ticket_assets.mail.removal import mark_purged
from ticket_assets.planning.needed_runs import MOST_RANGES, needed_runs, spans
from ticket_assets.planning.recipe import recipe
from ticket_assets.settings import Settings
from ticket_assets.storage.day_origins import UNPARTITIONED, Origin, read_origins, replace_origins
from ticket_assets.storage.tables import TABLES
from ticket_assets.storage.warehouse import ensure_table

PRESENT, FORMER = "0123456789ab", "ba9876543210"


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
    origins = {
        landed_on: Origin(day_fingerprint(desk.landing, landed_on), recipe(desk))
        for landed_on in desk.landing.days()
    }
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


@pytest.mark.slow
def test_days_whose_mail_has_changed_are_needed_alone(desk):
    assert needed_runs(desk).days == []

    land(desk, 3, name="late")

    assert needed_runs(desk).days == [DayRange(day(3), day(3))]


@pytest.mark.slow
def test_a_day_that_has_lost_all_its_mail_is_needed_until_its_rows_are_gone(desk):
    (only,) = desk.landing.messages(day(3))
    desk.landing.files.delete([only.name])

    assert needed_runs(desk).days == [DayRange(day(3), day(3))]

    origin = Origin(day_fingerprint(desk.landing, day(3)), recipe(desk))
    replace_origins(desk.warehouse, "ticket_collection", [day(3)], {day(3): origin})
    assert needed_runs(desk).days == []


def test_a_day_whose_mail_is_purged_keeps_its_rows(desk):
    (only,) = desk.landing.messages(day(2))
    desk.landing.files.delete([only.name])
    mark_purged(desk.landing, day(2))

    assert needed_runs(desk).days == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [{"languages": ("fr",)}, {"neighbours": 9}, {"drift_distances": {"language": 0.3}}]
)
def test_a_setting_that_decides_rows_makes_everything_needed(desk, change):
    assert not needed_runs(desk).everything

    assert needed_runs(Desk(desk.settings.model_copy(update=change))).everything


def test_new_labels_make_everything_needed(desk):
    labels = desk.landing.files.folder / "labels"
    labels.mkdir()
    (labels / "more.jsonl").write_text("")

    assert needed_runs(desk).everything


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "needed"),
    [
        (PRESENT, []),
        (FORMER, [DayRange(day(3), day(3))]),
        (None, [DayRange(day(3), day(3))]),
    ],
)
def test_collected_days_that_the_champion_has_not_sorted_to_the_end_are_sorted(desk, model, needed):
    desk.files.replace(f"models/{CHAMPION}", f'{{"history": ["{PRESENT}"]}}'.encode())
    with desk.warehouse.transaction() as connection:
        for name in ("clean_tickets", "ticket_labels", "ticket_embeddings"):
            ensure_table(connection, TABLES[name], 8 if name == "ticket_embeddings" else None)
    collected = read_origins(desk.warehouse, "ticket_collection")
    reported = {on: origin.by(origin.recipe, PRESENT) for on, origin in collected.items()}
    # A run that ended before the drift report leaves a day without an origin.
    del reported[day(3)]
    if model is not None:
        reported[day(3)] = collected[day(3)].by(recipe(desk), model)
    replace_origins(desk.warehouse, "drift_metrics", reported, reported)

    assert needed_runs(desk).days == []
    assert needed_runs(desk).sorting == needed


@pytest.mark.slow
def test_shadow_mode_and_its_end_make_the_queues_of_all_days_anew(settings, desk):
    in_shadow = Desk(settings.model_copy(update={"shadow_mode": True}))

    assert not needed_runs(desk).everything
    assert needed_runs(in_shadow).everything


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
