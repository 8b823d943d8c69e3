"""Dead runs are found by a lock on this host and by their silence on others."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from ticket_assets.orchestration.executor import PatientClaims
from ticket_assets.orchestration.living_runs import (
    ALIVE_TAG,
    HOST_TAG,
    STALE_SECONDS,
    STARTED_BY_TAG,
    describe,
    end_dead_runs,
    living_runs,
    presence,
    wait_for_runs,
)

POOL = "warehouse"
HOLD_A_RUN = """
import sys
from pathlib import Path
from ticket_assets.orchestration.instance import desk_instance
from ticket_assets.orchestration.living_runs import show_presence

with desk_instance(Path(sys.argv[1])) as instance:
    show_presence(instance, sys.argv[2])
    print("alive", flush=True)
    sys.stdin.read()
"""


@dg.job
def nothing() -> None:
    pass


@pytest.fixture
def instance(
    tmp_path: Path, new_instance: Callable[[Path], AbstractContextManager[dg.DagsterInstance]]
) -> Iterator[dg.DagsterInstance]:
    with new_instance(tmp_path) as instance:
        yield instance


def started_run(instance: dg.DagsterInstance, **tags: str) -> dg.DagsterRun:
    """A run at work that holds the slot of the pool."""
    run = instance.create_run_for_job(nothing, tags=tags)
    instance.report_dagster_event(
        dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, job_name=run.job_name), run.run_id
    )
    instance.event_log_storage.initialize_concurrency_limit_to_default(POOL)
    instance.event_log_storage.claim_concurrency_slot(POOL, run.run_id, "a_step")
    return run


def test_a_run_whose_process_was_killed_fails_with_a_sentence_and_frees_its_slot(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    run = started_run(instance)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD_A_RUN, tmp_path, run.run_id],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "alive\n"

    alive = living_runs(instance)
    waited = wait_for_runs(tmp_path, patience=0.0)
    process.kill()
    process.communicate()
    end_dead_runs(instance)

    assert alive.keys() == {run.run_id}
    assert waited == [*alive.values()]
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status == dg.DagsterRunStatus.FAILURE
    (reason,) = [
        entry.dagster_event.message
        for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
        if entry.dagster_event
    ]
    assert reason is not None
    assert " is gone without having ended it" in reason
    assert not instance.event_log_storage.get_concurrency_run_ids()
    assert not list(tmp_path.rglob("*.lock"))


@pytest.mark.parametrize(("silence", "alive"), [(STALE_SECONDS - 60, True), (STALE_SECONDS, False)])
def test_a_run_of_another_host_is_dead_when_it_has_been_silent_for_long(
    instance: dg.DagsterInstance, silence: float, alive: bool
) -> None:
    seen = datetime.now(UTC) - timedelta(seconds=silence)
    run = started_run(instance, **{HOST_TAG: "a-pod", ALIVE_TAG: seen.isoformat()})

    assert (run.run_id in living_runs(instance)) == alive
    assert bool(instance.event_log_storage.get_concurrency_run_ids()) == alive


def test_the_slot_of_a_dead_run_goes_to_the_run_that_waits_for_it(
    instance: dg.DagsterInstance,
) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=1)
    started_run(instance, **{HOST_TAG: "a-pod", ALIVE_TAG: long_ago.isoformat()})
    run = instance.create_run_for_job(nothing)

    with PatientClaims(instance, run) as claims:
        while not claims.claim(POOL, "a_step"):
            assert claims.interval_to_next_pending_claim_check() > 0


def test_a_run_says_once_for_which_run_it_waits(instance: dg.DagsterInstance) -> None:
    holder = started_run(instance, **{"dagster/sensor_name": "new_mail"})
    run = instance.create_run_for_job(nothing)

    with presence(instance, holder.run_id), PatientClaims(instance, run) as claims:
        for _ in range(3):
            assert not claims.claim(POOL, "a_step")
            claims._pending_timeouts["a_step"] = 0

    record = instance.get_run_record_by_id(holder.run_id)
    assert record is not None
    messages = [
        entry.dagster_event.message
        for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
        if entry.dagster_event
    ]
    assert messages == [f"Waits for {describe(record)}"]
    assert describe(record).endswith(" by the sensor new_mail)")
    assert describe(record).startswith(f"run {holder.run_id[:8]} (started ")


def test_a_run_of_the_command_is_described_as_such(instance: dg.DagsterInstance) -> None:
    run = started_run(instance, **{STARTED_BY_TAG: "the command"})
    record = instance.get_run_record_by_id(run.run_id)

    assert record is not None
    assert describe(record).endswith(" by the command)")
