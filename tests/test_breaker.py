"""A label whose audits break the promise is taken off automatic; a person or another champion
puts it back, with nothing held against it."""

import json
import multiprocessing
from datetime import datetime, timedelta

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from tests.warehouse_rows import append_rows
from ticket_assets.breaker import (
    BreakerError,
    read_evidence,
    reset_label,
    suspend_labels,
)
from ticket_assets.classification.e_detector import THRESHOLD
from ticket_assets.cli import app
from ticket_assets.desk import Desk
from ticket_assets.settings import Settings, load_settings
from ticket_assets.storage.tables import SCHEMA, TABLES
from ticket_assets.storage.warehouse import ensure_table

DAY = datetime(2026, 3, 2, 9)
NOW = datetime(2026, 4, 1)


@pytest.fixture
def desk(tmp_path):
    return Desk(Settings(data_dir=tmp_path / "data"))


def answer(desk, label, outcomes, *, decision="audit", since=DAY, champion="1"):
    """A person's answers to audits of what a champion gave a label, one a minute; x where it is
    another category."""
    rows = [
        {
            "ticket_id": f"{label} {since:%m-%d} {decision} {number:03}",
            "received_at": since,
            "category": "printing" if outcome == "x" else label,
            "former_category": label,
            "former_decision": decision,
            "former_model_version": champion,
            "labelled_at": since + timedelta(minutes=number),
        }
        for number, outcome in enumerate(outcomes)
    ]
    for table in ("ticket_predictions", "ticket_labels"):
        append_rows(desk.settings, table, rows)


def look(desk, champion="1", now=NOW):
    return {one.label: one for one in suspend_labels(desk.warehouse, 0.95, champion, now)}


BROKEN = "...x.x..x..x.xx.xx"


@pytest.mark.slow
def test_a_broken_promise_suspends_the_label_and_no_other(desk):
    answer(desk, "email", BROKEN)
    answer(desk, "network", "." * 20 + "x")

    evidence = look(desk)

    assert evidence["email"].suspended_since == NOW
    assert evidence["email"].value >= THRESHOLD
    assert evidence["network"].suspended_since is None
    assert (evidence["network"].audits, evidence["network"].errors) == (21, 1)
    (row,) = desk.warehouse.rows(
        "select label, tripped_at, model_version, reset_at, reset_by from suspended_labels"
    )
    assert row == ("email", NOW, "1", None, None)


def test_the_answer_that_was_too_much_counts_though_right_ones_came_with_it(desk):
    answer(desk, "email", BROKEN)
    answer(desk, "email", "." * 200, since=DAY + timedelta(days=1))

    (email,) = look(desk).values()

    assert email.suspended_since == NOW
    assert email.audits <= len(BROKEN)


@pytest.mark.parametrize("decision", ["auto", "review", "suspended"])
def test_what_people_label_of_their_own_accord_is_no_evidence(desk, decision):
    answer(desk, "email", "x" * 50, decision=decision)

    assert look(desk) == {}


@pytest.mark.slow
def test_looking_again_changes_nothing(desk):
    answer(desk, "email", BROKEN)
    first = look(desk)

    assert look(desk, now=NOW + timedelta(days=1)) == first
    assert read_evidence(desk.warehouse, 0.95, "1") == list(first.values())


@pytest.mark.slow
def test_a_person_puts_a_label_back_and_it_starts_anew(desk):
    answer(desk, "email", BROKEN)
    look(desk)

    reset_label(desk.warehouse, "email", NOW + timedelta(hours=1))

    assert look(desk, now=NOW + timedelta(hours=2)) == {}
    answer(desk, "email", "x", since=NOW + timedelta(days=1))
    later = NOW + timedelta(days=2)
    (email,) = look(desk, now=later).values()
    assert (email.audits, email.errors, email.suspended_since) == (1, 1, None)
    answer(desk, "email", BROKEN, since=NOW + timedelta(days=3))
    assert look(desk, now=later)["email"].suspended_since == later


@pytest.mark.slow
def test_another_champion_puts_it_back(desk):
    answer(desk, "email", BROKEN)
    look(desk)

    assert look(desk, champion="2", now=NOW + timedelta(hours=1)) == {}
    assert desk.warehouse.rows("select reset_by from suspended_labels") == [("promotion",)]


def test_what_a_former_champion_decided_is_no_evidence_against_the_present_one(desk):
    answer(desk, "email", BROKEN)
    answer(desk, "email", "...x", since=DAY + timedelta(days=1), champion="2")

    (email,) = look(desk, champion="2").values()

    assert (email.audits, email.errors, email.suspended_since) == (4, 1, None)
    assert look(desk, champion="1")["email"].suspended_since == NOW


def test_what_the_present_champion_decided_counts_from_its_promotion_on(desk):
    """Also what was answered before a look had ended the suspension of the former one."""
    answer(desk, "email", BROKEN)
    look(desk)
    answer(desk, "email", "..x", since=DAY + timedelta(days=1), champion="2")

    (email,) = look(desk, champion="2").values()

    assert (email.audits, email.errors) == (3, 1)


def test_only_a_suspended_label_can_be_put_back(desk):
    with pytest.raises(BreakerError, match=r"'email' is not suspended\. No label is\."):
        reset_label(desk.warehouse, "email", NOW)
    answer(desk, "email", BROKEN)
    look(desk)

    with pytest.raises(BreakerError, match=r"'net' is not suspended\. Suspended: email\."):
        reset_label(desk.warehouse, "net", NOW)


def test_a_desk_without_tables_has_no_evidence(desk):
    assert read_evidence(desk.warehouse, 0.95, "1") == []


@pytest.mark.slow
def test_the_commands_show_a_suspended_label_and_put_it_back(desk, monkeypatch):
    def tickets(*arguments):
        load_settings.cache_clear()
        return CliRunner().invoke(app, ["breaker", *arguments])

    monkeypatch.setenv("TICKETS_DATA_DIR", str(desk.folder))
    assert "No automatic ticket yet." in tickets("show").output
    with desk.warehouse.transaction():
        pass  # rows of a warehouse without a version would be taken for those of an old release
    answer(desk, "email", BROKEN)
    look(desk)

    assert "email" in json.loads(tickets("show", "--json").output)["suspended"]
    assert "suspended since 2026-04-01 00:00" in tickets("show").output
    assert "email is automatic again" in tickets("reset", "email").output
    assert isinstance(tickets("reset", "email").exception, BreakerError)
    assert json.loads(tickets("show", "--json").output)["suspended"] == []
    load_settings.cache_clear()


def suspend_at_once(settings, champion, barrier, seen):
    warehouse = Desk(Settings(_env_file=None, **settings)).warehouse
    barrier.wait()
    seen.put(suspend_labels(warehouse, 0.95, champion, datetime.now()))


@pytest.mark.slow
def test_two_machines_that_look_at_once_suspend_a_label_once(shared_stores):
    stores = shared_stores()
    warehouse = stores.desk().warehouse
    audits = [
        {
            "ticket_id": f"{label} {number:03}",
            "received_at": DAY,
            "category": "printing" if outcome == "x" else label,
            "former_category": label,
            "former_decision": "audit",
            "former_model_version": "1" if label == "network" else "2",
            "labelled_at": DAY + timedelta(minutes=number),
        }
        for label, outcomes in (("email", BROKEN), ("network", BROKEN), ("access", "." * 20))
        for number, outcome in enumerate(outcomes)
    ]
    suspension = {"label": "network", "tripped_at": DAY, "model_version": "1"}
    with warehouse.transaction() as connection:
        for table, rows in (
            ("ticket_predictions", audits),
            ("ticket_labels", audits),
            ("suspended_labels", [suspension]),
        ):
            ensure_table(connection, TABLES[table])
            names = TABLES[table].column_names
            columns = pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})
            connection.register("filled", columns)
            connection.execute(f"insert into {SCHEMA}.{table} by name from filled")
    context = multiprocessing.get_context("spawn")
    barrier, seen = context.Barrier(2), context.Queue()

    # Another champion than the one that was suspended before.
    looks = [
        context.Process(target=suspend_at_once, args=(stores.settings, "2", barrier, seen))
        for _ in range(2)
    ]
    for look_at_once in looks:
        look_at_once.start()
    first, second = (seen.get(timeout=120) for _ in looks)
    for look_at_once in looks:
        look_at_once.join()

    assert first == second == read_evidence(warehouse, 0.95, "2")
    assert [one.label for one in first if one.suspended_since] == ["email"]
    rows = warehouse.rows(
        "select label, model_version, reset_by from suspended_labels order by label"
    )
    assert rows == [("email", "2", None), ("network", "1", "promotion")]


@pytest.mark.slow
def test_right_answers_that_come_late_do_not_undo_a_suspension(desk):
    """They stand before those that were too much."""
    answer(desk, "email", BROKEN, since=DAY + timedelta(days=1))
    (email,) = look(desk).values()

    answer(desk, "email", "." * 200)

    assert list(look(desk, now=NOW + timedelta(days=1)).values()) == [email]
