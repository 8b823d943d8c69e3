"""Dagster's event log in SQLite, with its files held open."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import JobFailureData, RunFailureReason
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.tags import RUN_FAILURE_REASON_TAG

from ticket_assets.orchestration.event_log import OpenEventLog

JOB = dg.GraphDefinition(name="any").to_job()


@pytest.fixture
def event_log(tmp_path: Path) -> Iterator[SqliteEventLogStorage]:
    storage = OpenEventLog(str(tmp_path))
    yield storage
    storage.dispose()


def write(event_log: SqliteEventLogStorage, run_id: str) -> None:
    event_log.store_event(
        dg.EventLogEntry(
            error_info=None, level="info", user_message="Hello", run_id=run_id, timestamp=0.0
        )
    )


def test_the_event_log_holds_its_files_open_and_does_not_wait_for_the_disk(
    event_log: SqliteEventLogStorage, tmp_path: Path
):
    write(event_log, "a")

    assert (tmp_path / "a.db-wal").stat().st_size > 0
    with event_log.run_connection("a") as first:
        same = first.connection.dbapi_connection
        synchronous = first.exec_driver_sql("PRAGMA synchronous").scalar_one()
    with event_log.run_connection("a") as second:
        assert second.connection.dbapi_connection is same
    assert synchronous == 1, "NORMAL is 1, SQLite's own default FULL is 2"


def test_the_event_log_closes_the_files_of_earlier_runs_and_all_when_it_is_disposed_of(
    event_log: SqliteEventLogStorage, tmp_path: Path
):
    def held_open() -> set[str]:
        files = {link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
        return {file.name for file in files if file.parent == tmp_path}

    write(event_log, "a")
    write(event_log, "b")
    assert {name for name in held_open() if name.endswith(".db")} <= {"index.db", "b.db"}

    event_log.dispose()
    assert held_open() == set()


def test_an_event_log_that_was_wiped_is_written_again(event_log: SqliteEventLogStorage):
    write(event_log, "a")
    event_log.wipe()
    write(event_log, "a")

    assert len(event_log.get_logs_for_run("a")) == 1


@pytest.mark.slow
def test_the_event_log_of_a_desk_is_held_open_and_no_other(
    tmp_path: Path, new_instance: Callable[[Path], AbstractContextManager[dg.DagsterInstance]]
):
    with new_instance(tmp_path) as instance:
        assert isinstance(instance.event_log_storage, OpenEventLog)

    with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as other:
        assert not isinstance(other.event_log_storage, OpenEventLog)


def test_a_run_has_failed_before_its_failure_can_be_read(
    tmp_path: Path,
    new_instance: Callable[[Path], AbstractContextManager[dg.DagsterInstance]],
    monkeypatch: pytest.MonkeyPatch,
):
    """Else the daemon, when it reads the event too early, never tries the run again."""
    seen: list[tuple[str, dg.DagsterRunStatus]] = []
    store = SqliteEventLogStorage.store_event

    def watched(log: SqliteEventLogStorage, event: dg.EventLogEntry) -> None:
        store(log, event)
        if event.dagster_event and event.dagster_event.is_run_failure:
            run = instance.get_run_by_id(event.run_id)
            assert run is not None
            seen.append((run.tags[RUN_FAILURE_REASON_TAG], run.status))

    monkeypatch.setattr(SqliteEventLogStorage, "store_event", watched)
    with new_instance(tmp_path) as instance:
        run = instance.create_run_for_job(JOB, status=dg.DagsterRunStatus.STARTED)
        why = JobFailureData(error=None, failure_reason=RunFailureReason.UNEXPECTED_TERMINATION)
        instance.report_run_failed(run, "Its pod is gone.", why)

    assert seen == [("UNEXPECTED_TERMINATION", dg.DagsterRunStatus.FAILURE)]
