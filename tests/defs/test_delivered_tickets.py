"""delivered_tickets: the asset over a small desk, its checks, and when it is made once more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests.days import now, today
from tests.delivery.decided import decided_desk, ticket, ticket_id
from tests.warehouse_rows import append_rows
from ticket_assets.defs.delivered_tickets import (
    delivered_tickets,
    no_decision_waits_too_long,
    nothing_is_delivered_over_a_persons_label,
    waiting_deliveries,
)
from ticket_assets.delivery.state import change_state
from ticket_assets.desk import Desk
from ticket_assets.metrics.delivery import delivery_families
from ticket_assets.orchestration.observation.deliveries import recorded_deliveries
from ticket_assets.settings import Settings

CHECKS = [nothing_is_delivered_over_a_persons_label, no_decision_waits_too_long]


@pytest.fixture
def delivering(settings: Settings, tmp_path: Path) -> Settings:
    (tmp_path / "decisions").mkdir()
    return settings.model_copy(update={"delivery_folder": tmp_path / "decisions"})


@pytest.mark.slow
def test_the_exporter_tells_what_the_latest_run_left(delivering: Settings) -> None:
    desk = decided_desk(delivering, [ticket(1), ticket(2)])
    with dg.DagsterInstance.ephemeral() as instance:
        assert recorded_deliveries(instance) == {}
        made(desk, instance)
        change_state(desk.cursors, lambda state: replace(state, stopped_at="2026-11-20T08:00"))
        families = list(delivery_families(recorded_deliveries(instance), desk.cursors))

    told = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }
    assert told["tickets_deliveries", "folder", "delivered"] == 2
    assert told["tickets_deliveries", "folder", "waiting"] == 0
    assert told["tickets_delivery_stopped",] == 1


def made(
    desk: Desk, instance: dg.DagsterInstance | None = None
) -> tuple[dict[str, Any], dict[str, bool]]:
    """The metadata of the materialisation, and the verdicts of the checks."""
    result = dg.materialize(
        [delivered_tickets, *CHECKS],
        resources={"desk": desk},
        partition_key=today().isoformat(),
        instance=instance,
    )
    (event,) = result.asset_materializations_for_node("delivered_tickets")
    verdicts = {one.check_name: one.passed for one in result.get_asset_check_evaluations()}
    return {name: entry.value for name, entry in event.metadata.items()}, verdicts


@pytest.mark.slow
def test_without_a_receiver_nothing_is_written(settings: Settings) -> None:
    desk = decided_desk(settings, [ticket(1)])

    metadata, verdicts = made(desk)

    assert metadata["deliveries"] == {}
    assert "delivered_tickets" not in desk.warehouse.tables()
    assert all(verdicts.values())


@pytest.mark.slow
def test_a_run_delivers_and_says_what_came_of_it(delivering: Settings) -> None:
    desk = decided_desk(delivering, [ticket(1), ticket(2, decision="review")])

    metadata, verdicts = made(desk)

    assert metadata["deliveries"] == {
        "folder": {"delivered": 2, "waiting": 0, "refused": 0, "people": 0}
    }
    assert metadata["dagster/partition_row_count"] == 2
    assert all(verdicts.values())
    assert len(list(Path(str(delivering.delivery_folder)).glob("decisions-*.csv"))) == 1


@pytest.mark.slow
def test_the_checks_warn_of_what_is_over_a_label_and_of_what_waits(delivering: Settings) -> None:
    desk = decided_desk(delivering, [ticket(1), ticket(2), ticket(3)])
    made(desk)
    earlier = now() - timedelta(minutes=delivering.late_after_minutes + 1)
    append_rows(delivering, "ticket_labels", [{"ticket_id": ticket_id(1), "labelled_at": earlier}])
    with desk.warehouse.transaction() as connection:
        connection.execute(
            "update tickets.delivered_tickets set outcome = 'refused', intended_at = ?"
            " where ticket_id = ?",
            [earlier, ticket_id(2)],
        )

    _, verdicts = made(desk)

    assert verdicts == {
        "nothing_is_delivered_over_a_persons_label": False,
        "no_decision_waits_too_long": False,
    }


def looked(desk: Desk) -> dg.RunRequest | dg.SkipReason:
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance, resources={"desk": desk})
        outcome = waiting_deliveries(context)
    assert isinstance(outcome, dg.RunRequest | dg.SkipReason)
    return outcome


@pytest.mark.slow
def test_what_waits_is_told_when_it_is_time_for_it(delivering: Settings) -> None:
    desk = decided_desk(delivering, [ticket(1)])

    assert isinstance(request := looked(desk), dg.RunRequest)
    assert request.partition_key == today().isoformat()
    made(desk)
    assert looked(desk) == dg.SkipReason("Nothing waits.")


def test_while_delivery_is_stopped_nothing_is_asked_for(delivering: Settings) -> None:
    desk = decided_desk(delivering, [ticket(1)])
    now = datetime.now(UTC).isoformat()
    change_state(desk.cursors, lambda state: replace(state, stopped_at=now))

    assert looked(desk) == dg.SkipReason("Nothing waits.")


def test_days_before_today_are_asked_for_with_today(delivering: Settings) -> None:
    yesterday = now() - timedelta(days=1)
    desk = decided_desk(delivering, [ticket(1, received_at=yesterday)])
    day = yesterday.date().isoformat()
    change_state(desk.cursors, lambda state: replace(state, first_days={"folder": day}))

    assert isinstance(request := looked(desk), dg.RunRequest)
    assert request.tags["dagster/asset_partition_range_start"] == day
    assert request.tags["dagster/asset_partition_range_end"] == today().isoformat()
