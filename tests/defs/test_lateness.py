"""The sensor lateness: verdicts on late mail and days left half way, each recorded once."""

from collections.abc import Callable, Iterator

import dagster as dg
import pytest

from ticket_assets.defs import lateness
from ticket_assets.desk import Desk
from ticket_assets.mail.mailboxes import mail_message
from ticket_assets.settings import Settings

Tick = Callable[..., dict[str, bool]]
PASSED = {"no_message_waits_too_long": True, "no_day_is_left_half_way": True}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def tick(settings: Settings, instance: dg.DagsterInstance) -> Tick:
    """One look after the other; the verdicts that it records."""
    cursor: str | None = None

    def look(minutes: int = 60) -> dict[str, bool]:
        nonlocal cursor
        desk = Desk(settings.model_copy(update={"late_after_minutes": minutes}))
        context = dg.build_sensor_context(instance, cursor=cursor, resources={"desk": desk})
        result = lateness.lateness(context)
        assert isinstance(result, dg.SensorResult)
        cursor = result.cursor
        for event in result.asset_events:
            instance.report_runless_asset_event(event)
        return {event.check_name: event.passed for event in result.asset_events}

    return look


def materialise(instance: dg.DagsterInstance, *assets: str, day: str = "2025-06-03") -> None:
    for asset in assets:
        instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=day))


def test_a_verdict_is_recorded_when_it_changes(
    tick: Tick, settings: Settings, instance: dg.DagsterInstance
):
    assert tick() == PASSED
    assert tick() == {}

    mail = b"Date: Tue, 03 Jun 2025 09:00:00 +0000\r\nSubject: Printer\r\n\r\nIt jams."
    Desk(settings).landing.land([mail_message(mail, "test")])
    assert tick() == {}
    assert tick(minutes=0) == {"no_message_waits_too_long": False}
    assert tick(minutes=0) == {}
    assert tick() == {"no_message_waits_too_long": True}

    key = dg.AssetCheckKey(dg.AssetKey("ticket_predictions"), "no_message_waits_too_long")
    history = instance.event_log_storage.get_asset_check_execution_history(key, limit=9)
    assert [record.status.value for record in history] == ["SUCCEEDED", "FAILED", "SUCCEEDED"]


def test_a_day_whose_assets_do_not_follow_each_other_is_left_half_way(
    tick: Tick, instance: dg.DagsterInstance
):
    chain = [*lateness.FOLLOWERS, "drift_metrics"]
    materialise(instance, *chain)
    assert tick(minutes=0) == PASSED

    materialise(instance, "raw_tickets", "clean_tickets")

    assert tick() == {}
    assert tick(minutes=0) == {"no_day_is_left_half_way": False}

    materialise(instance, *chain[2:])
    assert tick(minutes=0) == {"no_day_is_left_half_way": True}


def test_a_desk_without_champion_leaves_no_day_half_way(tick: Tick, instance: dg.DagsterInstance):
    materialise(instance, "raw_tickets", "clean_tickets", "ticket_embeddings", "ticket_collection")

    assert tick(minutes=0) == PASSED
