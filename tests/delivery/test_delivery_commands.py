"""`tickets delivery`: what a person sees of deliveries, and the switch."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.days import days_ago, now
from tests.delivery.decided import decided_desk, outcomes, ticket
from ticket_assets.cli import app
from ticket_assets.delivery.handover import hand_over
from ticket_assets.desk import Desk
from ticket_assets.settings import Settings, load_settings


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "decisions").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TICKETS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TICKETS_DELIVERY_FOLDER", str(tmp_path / "decisions"))
    load_settings.cache_clear()
    settings = Settings(
        _env_file=None, data_dir=tmp_path / "data", delivery_folder=tmp_path / "decisions"
    )
    yield decided_desk(
        settings,
        [
            ticket(1, received_at=now() - timedelta(days=2)),
            ticket(2),
            ticket(3, decision="review", review_reason="unsure"),
        ],
    )
    load_settings.cache_clear()


def tickets(*arguments: str, status: int = 0) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == status, done.output
    return " ".join(done.output.split()) or str(done.exception)


def test_a_dry_run_says_what_would_be_told_and_tells_nothing(desk: Desk, tmp_path: Path) -> None:
    said = tickets("delivery", "status", "--dry-run")

    assert "folder: 0 delivered, 2 wait, 0 refused" in said
    assert "folder would be told of 2 tickets for the first time." in said
    assert "review (unsure)" in said
    assert list((tmp_path / "decisions").iterdir()) == []
    assert "delivered_tickets" not in desk.warehouse.tables()


@pytest.mark.slow
def test_the_past_is_told_only_when_asked_for(desk: Desk) -> None:
    hand_over(desk)
    assert sorted(outcomes(desk)) == [2, 3]
    first = days_ago(7).isoformat()

    said = tickets("delivery", "start", "--from", first)

    assert "The next run tells 1 decision: tickets run" in said
    hand_over(desk)
    assert sorted(outcomes(desk)) == [1, 2, 3]


@pytest.mark.slow
def test_the_switch_stops_all_is_told_in_the_status_and_starts_again(desk: Desk) -> None:
    tickets("delivery", "stop")
    hand_over(desk)

    assert "delivered_tickets" not in desk.warehouse.tables() or outcomes(desk) == {}
    assert "Delivery is stopped since" in tickets("status")
    assert json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)["delivery"][
        "stopped_at"
    ]
    assert "The next run tells 2 decisions" in tickets("delivery", "start")
    hand_over(desk)
    assert sorted(outcomes(desk)) == [2, 3]
    assert "stopped" not in tickets("status")


@pytest.mark.slow
def test_what_was_refused_is_told_again_on_demand(desk: Desk) -> None:
    hand_over(desk)
    with desk.warehouse.transaction() as connection:
        connection.execute(
            "update tickets.delivered_tickets set outcome = 'refused', reason = 'It answers 422.'"
        )

    said = tickets("delivery", "status")
    assert "folder: 0 delivered, 0 wait, 2 refused" in said
    assert "folder: 2 tickets: It answers 422." in said
    assert "folder: 2 tickets to be told again." in tickets("delivery", "retry")
    assert "2 wait, 0 refused" in tickets("delivery", "status")


def test_without_a_receiver_it_says_how_one_is_set(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TICKETS_DELIVERY_FOLDER")
    load_settings.cache_clear()

    assert "off: no TICKETS_DELIVERY_* is set" in tickets("delivery", "status")
    assert "No receiver is set" in tickets("delivery", "start", status=1)
    tickets("delivery", "stop")
