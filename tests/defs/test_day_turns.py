"""Of two runs for one day of a shared warehouse, the later one waits for the other to end."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterExecutionInterruptedError
from dagster._utils.interrupts import capture_interrupts

from tests.services import wait_until
from ticket_assets.orchestration import day_turns
from ticket_assets.orchestration.day_turns import TURN_TAG, wait_for_days
from ticket_assets.orchestration.living_runs import WAITS_FOR
from ticket_assets.storage.leases import FileLeases


@dg.job
def nothing() -> None:
    pass


@pytest.fixture
def leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileLeases:
    monkeypatch.setattr(day_turns, "POLL_SECONDS", 0.01)
    return FileLeases(tmp_path)


def started(instance: dg.DagsterInstance, first: str, last: str, **tags: str) -> dg.DagsterRun:
    days = {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": last,
    }
    status = dg.DagsterRunStatus.STARTED
    return instance.create_run_for_job(nothing, tags={**days, **tags}, status=status)


def told(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    return [str(event.dagster_event.message) for event in events if event.dagster_event]


@pytest.mark.parametrize("end", ["report_run_failed", "report_run_canceled"])
def test_a_run_waits_for_the_one_that_is_at_work_on_its_day(
    instance: dg.DagsterInstance, leases: FileLeases, end: str
) -> None:
    first = started(instance, "2026-11-01", "2026-11-03")
    second = started(instance, "2026-11-03", "2026-11-05")
    wait_for_days(instance, first, leases)

    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(wait_for_days, instance, second, leases)
        wait_until(lambda: bool(told(instance, second)), "it says for which run it waits")
        assert not waiting.done()
        getattr(instance, end)(first)
        waiting.result(timeout=30)

    (message,) = told(instance, second)
    assert message.startswith(f"{WAITS_FOR}run {first.run_id[:8]} ")


@pytest.mark.slow
def test_runs_for_other_days_and_for_none_do_not_wait(
    instance: dg.DagsterInstance, leases: FileLeases
) -> None:
    first = started(instance, "2026-11-01", "2026-11-03")
    second = started(instance, "2026-11-04", "2026-11-05")
    third = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED)

    for run in (first, second, third):
        wait_for_days(instance, run, leases)

    assert not told(instance, second)


def test_a_retry_has_not_the_turn_of_the_run_that_failed(
    instance: dg.DagsterInstance, leases: FileLeases
) -> None:
    """It has its tags."""
    retry = started(instance, "2026-11-01", "2026-11-01", **{TURN_TAG: "of the failed run"})
    run = started(instance, "2026-11-01", "2026-11-01")

    wait_for_days(instance, run, leases)

    assert not told(instance, run)
    assert retry.tags[TURN_TAG]


def test_a_signal_ends_the_waiting(instance: dg.DagsterInstance, leases: FileLeases) -> None:
    first = started(instance, "2026-11-01", "2026-11-01")
    second = started(instance, "2026-11-01", "2026-11-01")
    wait_for_days(instance, first, leases)

    with capture_interrupts():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(DagsterExecutionInterruptedError):
            wait_for_days(instance, second, leases)
