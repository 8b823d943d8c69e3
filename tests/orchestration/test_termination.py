"""A run's process that does not listen to signals ends its run all the same."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus as RunStatus
from dagster._core.execution.retries import auto_reexecution_should_retry_run
from dagster._core.storage.tags import RUN_FAILURE_REASON_TAG

DEAF_RUN = """
import signal
import sys
import time
from pathlib import Path
from ticket_assets.orchestration import termination
from ticket_assets.orchestration.instance import desk_instance

termination.PATIENCE_SECONDS = 0.2 if sys.argv[3] == "deaf" else 600
with desk_instance(Path(sys.argv[1])) as instance:
    run = instance.get_run_by_id(sys.argv[2])
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)  # as good as native code
    with termination.ending_in_time(instance, run):
        print("at work", flush=True)
        if sys.argv[3] == "deaf":
            while True:
                time.sleep(1)
        sys.stdin.readline()
    time.sleep(0.5)
    print("ended by itself", flush=True)
"""


@dg.job
def nothing() -> None:
    pass


def signalled(
    instance: dg.DagsterInstance, folder: Path, run: dg.DagsterRun, sent: signal.Signals, how: str
) -> tuple[int, str]:
    """The exit code of a run's process after the signal, and the run's status."""
    process = subprocess.Popen(
        [sys.executable, "-c", DEAF_RUN, folder, run.run_id, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    process.send_signal(sent)
    process.communicate("\n", timeout=60)
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    return process.returncode, ended.status.value


@pytest.fixture
def opened(
    new_instance: Callable[[Path], AbstractContextManager[dg.DagsterInstance]], tmp_path: Path
) -> AbstractContextManager[dg.DagsterInstance]:
    return new_instance(tmp_path)


@pytest.mark.slow
def test_a_run_in_native_code_fails_and_is_tried_again(
    opened: AbstractContextManager[dg.DagsterInstance], tmp_path: Path
) -> None:
    with opened as instance:
        run = instance.create_run_for_job(nothing, status=RunStatus.STARTED)
        instance.event_log_storage.initialize_concurrency_limit_to_default("warehouse")
        instance.event_log_storage.claim_concurrency_slot("warehouse", run.run_id, "a_step")

        ended = signalled(instance, tmp_path, run, signal.SIGTERM, "deaf")

        assert ended == (128 + signal.SIGTERM, "FAILURE")
        failed = instance.get_run_by_id(run.run_id)
        assert failed is not None
        assert failed.tags[RUN_FAILURE_REASON_TAG] == "UNEXPECTED_TERMINATION"
        assert auto_reexecution_should_retry_run(instance, failed, None)
        assert not instance.event_log_storage.get_concurrency_run_ids()


@pytest.mark.slow
def test_a_run_that_somebody_has_canceled_is_canceled(
    opened: AbstractContextManager[dg.DagsterInstance], tmp_path: Path
) -> None:
    with opened as instance:
        run = instance.create_run_for_job(nothing, status=RunStatus.STARTED)
        instance.report_run_canceling(run)

        ended = signalled(instance, tmp_path, run, signal.SIGTERM, "deaf")

        assert ended == (128 + signal.SIGTERM, "CANCELED")


@pytest.mark.slow
def test_a_run_that_ends_by_itself_in_time_is_left_alone(
    opened: AbstractContextManager[dg.DagsterInstance], tmp_path: Path
) -> None:
    with opened as instance:
        run = instance.create_run_for_job(nothing, status=RunStatus.STARTED)

        assert signalled(instance, tmp_path, run, signal.SIGTERM, "listens") == (0, "STARTED")


@pytest.mark.slow
def test_other_signals_end_nothing(
    opened: AbstractContextManager[dg.DagsterInstance], tmp_path: Path
) -> None:
    with opened as instance:
        run = instance.create_run_for_job(nothing, status=RunStatus.STARTED)

        assert signalled(instance, tmp_path, run, signal.SIGUSR1, "listens") == (0, "STARTED")


@pytest.mark.slow
@pytest.mark.parametrize("sent", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("how", ["bare", "wrapped"])
def test_a_signal_during_a_query_is_no_fault_of_the_step(
    opened: AbstractContextManager[dg.DagsterInstance], tmp_path: Path, sent: str, how: str
) -> None:
    """DuckDB makes an error of its own of the signal, and a step that fails is not tried again."""
    subprocess.run(
        [sys.executable, Path(__file__).with_name("long_query.py"), sent, how],
        env={**os.environ, "TICKETS_DATA_DIR": str(tmp_path)},
        check=False,
        timeout=60,
    )

    with opened as instance:
        (run,) = instance.get_runs()
        events = [entry.message for entry in instance.all_logs(run.run_id)]
        assert run.status is RunStatus.FAILURE
        assert any("Execution was interrupted unexpectedly" in event for event in events), events
        assert run.tags["dagster/will_retry"] == "true"
