"""Dead runs are found by a lock on this host and by their silence on others."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus as RunStatus
from dagster._core.storage.runs import SqlRunStorage
from dagster._core.storage.runs.schema import RunsTable

from ticket_assets.orchestration import living_runs as living_runs_module
from ticket_assets.orchestration.executor import PatientClaims
from ticket_assets.orchestration.instance import desk_instance
from ticket_assets.orchestration.living_runs import (
    ALIVE_TAG,
    HOST_TAG,
    SILENT_POD_SECONDS,
    STALE_SECONDS,
    STARTED_BY_TAG,
    describe,
    end_dead_runs,
    living_runs,
    presence,
    wait_for_other_runs,
    wait_for_runs,
    was_ended_elsewhere,
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
def instance_of_pods(
    tmp_path: Path, new_instance: Callable[[Path], AbstractContextManager[dg.DagsterInstance]]
) -> Iterator[dg.DagsterInstance]:
    """An instance whose runs start elsewhere."""
    with new_instance(tmp_path):
        pass
    with (tmp_path / "dagster" / "dagster.yaml").open("a") as configuration:
        configuration.write(
            "run_launcher: {module: dagster._core.test_utils, class: ExplodingRunLauncher}\n"
        )
    with desk_instance(tmp_path) as instance:
        yield instance


def set_back(instance: dg.DagsterInstance, run: dg.DagsterRun, seconds: float) -> None:
    """As if the run had been created, and last changed, so long ago."""
    past = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=seconds)
    assert isinstance(instance.run_storage, SqlRunStorage)
    with instance.run_storage.connect() as connection:
        connection.execute(
            RunsTable.update()
            .where(RunsTable.c.run_id == run.run_id)
            .values(create_timestamp=past, update_timestamp=past)
        )


def started_run(instance: dg.DagsterInstance, **tags: str) -> dg.DagsterRun:
    """A run at work that holds the slot of the pool."""
    run = instance.create_run_for_job(nothing, tags=tags)
    instance.report_dagster_event(
        dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, job_name=run.job_name), run.run_id
    )
    instance.event_log_storage.initialize_concurrency_limit_to_default(POOL)
    instance.event_log_storage.claim_concurrency_slot(POOL, run.run_id, "a_step")
    return run


@pytest.mark.slow
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
    told: list[str] = []
    waited = wait_for_runs(tmp_path, patience=0.0, on_wait=told.append)
    process.kill()
    process.communicate()
    end_dead_runs(instance)

    assert alive.keys() == {run.run_id}
    assert waited == [*alive.values()] == told
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


DAY_SECONDS = 86_400


def test_a_run_that_may_be_dead_is_waited_for_with_a_word_about_it(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    seen = datetime.now(UTC) - timedelta(seconds=STALE_SECONDS - 60)
    run = started_run(instance, **{HOST_TAG: "a-pod", ALIVE_TAG: seen.isoformat()})
    told: list[str] = []

    wait_for_runs(tmp_path, patience=0.0, on_wait=told.append)

    assert told == [
        f"{living_runs(instance)[run.run_id]}, whose last sign of life is of"
        f" {seen:%Y-%m-%d %H:%M} UTC: after 5 minutes without one it counts as dead"
    ]


@pytest.mark.slow
def test_a_sign_of_a_clock_that_was_ahead_keeps_no_dead_run_alive(
    instance: dg.DagsterInstance, later: Callable[[float], None]
) -> None:
    tags = {HOST_TAG: "a-pod", ALIVE_TAG: "2199-01-01T10:00:00+00:00"}
    run = started_run(instance, **tags)

    assert run.run_id in living_runs(instance)
    later(STALE_SECONDS)
    assert run.run_id not in living_runs(instance)


def test_two_runs_of_one_job_do_not_wait_for_each_other(instance: dg.DagsterInstance) -> None:
    run = started_run(instance)

    with presence(instance, run.run_id):
        assert wait_for_other_runs(instance, "nothing", 0.0) == []
        (waits_for,) = wait_for_other_runs(instance, "purge_mail", 0.0)

    assert waits_for.startswith(f"run {run.run_id[:8]} (started ")


@pytest.mark.parametrize("status", [RunStatus.NOT_STARTED, RunStatus.STARTING])
def test_a_run_that_waits_for_a_node_is_left_to_run_monitoring(
    instance_of_pods: dg.DagsterInstance, status: RunStatus, later: Callable[[float], None]
) -> None:
    run = instance_of_pods.create_run_for_job(nothing, status=status)
    living_runs(instance_of_pods)
    later(DAY_SECONDS)

    assert run.run_id in living_runs(instance_of_pods)


@pytest.mark.parametrize("status", [RunStatus.NOT_STARTED, RunStatus.STARTING])
def test_on_one_machine_such_a_run_is_dead(instance: dg.DagsterInstance, status: RunStatus) -> None:
    run = instance.create_run_for_job(nothing, status=status)
    set_back(instance, run, STALE_SECONDS)

    assert run.run_id not in living_runs(instance)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets so many seconds pass on this process's own clock."""
    clock = [1000.0]
    monkeypatch.setattr(living_runs_module, "monotonic", lambda: clock[0])

    def pass_by(seconds: float) -> None:
        clock[0] += seconds

    return pass_by


def test_a_pods_silence_counts_when_run_monitoring_would_have_noticed_long_ago(
    instance_of_pods: dg.DagsterInstance, later: Callable[[float], None]
) -> None:
    run = started_run(instance_of_pods, **{HOST_TAG: "a-pod", ALIVE_TAG: "2026-11-01T10:00:00Z"})

    assert run.run_id in living_runs(instance_of_pods)
    later(SILENT_POD_SECONDS - 1)
    assert run.run_id in living_runs(instance_of_pods)
    later(1)
    assert run.run_id not in living_runs(instance_of_pods)


def test_a_pod_that_gives_signs_lives_whatever_its_clock_says(
    instance_of_pods: dg.DagsterInstance, later: Callable[[float], None]
) -> None:
    run = started_run(instance_of_pods, **{HOST_TAG: "a-pod", ALIVE_TAG: "2026-11-01T10:00:00Z"})

    for minute in range(1, 4):
        assert run.run_id in living_runs(instance_of_pods)
        later(SILENT_POD_SECONDS / 2)
        sign = f"2026-11-01T10:{minute:02}:00Z"
        instance_of_pods.add_run_tags(run.run_id, {ALIVE_TAG: sign})

    assert run.run_id in living_runs(instance_of_pods)


def test_a_run_of_the_command_has_no_pod_of_its_own(
    instance_of_pods: dg.DagsterInstance, later: Callable[[float], None]
) -> None:
    signs = {HOST_TAG: "a-pod", ALIVE_TAG: "2026-11-01T10:00:00Z", STARTED_BY_TAG: "the command"}
    run = started_run(instance_of_pods, **signs)

    assert run.run_id in living_runs(instance_of_pods)
    later(STALE_SECONDS)
    assert run.run_id not in living_runs(instance_of_pods)


def test_a_run_that_the_ui_has_made_again_of_such_a_run_has_one(
    instance_of_pods: dg.DagsterInstance, later: Callable[[float], None]
) -> None:
    command = started_run(instance_of_pods, **{STARTED_BY_TAG: "the command"})
    again = instance_of_pods.create_run_for_job(
        nothing,
        tags=command.tags,
        parent_run_id=command.run_id,
        root_run_id=command.run_id,
        status=RunStatus.STARTING,
    )
    living_runs(instance_of_pods)
    later(DAY_SECONDS)

    assert living_runs(instance_of_pods).keys() == {again.run_id}


def test_a_retry_is_not_judged_by_the_signs_of_the_run_that_failed(
    instance: dg.DagsterInstance,
) -> None:
    seen = datetime.now(UTC) - timedelta(seconds=DAY_SECONDS)
    failed = started_run(instance, **{HOST_TAG: "a-pod", ALIVE_TAG: seen.isoformat()})
    retry = instance.create_run_for_job(
        nothing,
        tags=failed.tags,
        parent_run_id=failed.run_id,
        root_run_id=failed.run_id,
        status=RunStatus.STARTING,
    )

    assert living_runs(instance).keys() == {retry.run_id}


def test_a_pod_notices_that_its_run_was_ended(
    instance_of_pods: dg.DagsterInstance,
) -> None:
    """Nobody else tells it: its run was failed by a daemon that could not see it, say."""
    run = started_run(instance_of_pods)
    assert not was_ended_elsewhere(instance_of_pods, run.run_id)

    instance_of_pods.report_run_failed(run)

    assert was_ended_elsewhere(instance_of_pods, run.run_id)


@pytest.mark.slow
def test_the_slot_of_a_dead_run_goes_to_the_run_that_waits_for_it(
    instance: dg.DagsterInstance,
) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=1)
    started_run(instance, **{HOST_TAG: "a-pod", ALIVE_TAG: long_ago.isoformat()})
    run = instance.create_run_for_job(nothing)

    with PatientClaims(instance, run) as claims:
        while not claims.claim(POOL, "a_step"):
            assert claims.interval_to_next_pending_claim_check() > 0


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_run_of_the_command_is_described_as_such(instance: dg.DagsterInstance) -> None:
    run = started_run(instance, **{STARTED_BY_TAG: "the command"})
    record = instance.get_run_record_by_id(run.run_id)

    assert record is not None
    assert describe(record).endswith(" by the command)")
