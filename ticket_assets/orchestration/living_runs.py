"""Which runs are alive: a lock that ends with a run's process, and a sign of life for other hosts.

A process that is killed, or a machine that loses power, ends no run: Dagster would hold its pool
slots for ever. Each run's process therefore holds a lock on a file, which the system frees with the
process however it ends, and which no later process with the same number can be mistaken for. Other
hosts cannot see that lock: for them the process renews a tag of its run.
"""

from __future__ import annotations

import fcntl
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import dagster as dg
from dagster import DagsterRunStatus
from dagster._core.events import JobFailureData, RunFailureReason

from ticket_assets.orchestration.instance import desk_instance

HOST_TAG = "tickets/host"
ALIVE_TAG = "tickets/alive_at"
STARTED_BY_TAG = "tickets/started_by"
SIGN_OF_LIFE_SECONDS = 30.0
STALE_SECONDS = 300.0
"""A run on another host is dead when it has shown no sign of life for so long. Work that keeps
Python's interpreter to itself delays the signs, and clocks differ between hosts."""
POLL_SECONDS = 0.5
UNFINISHED = [
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
_locks: dict[str, IO[bytes]] = {}
"""Locks that this process holds, by run id."""

logger = logging.getLogger(__name__)


@contextmanager
def presence(instance: dg.DagsterInstance, run_id: str) -> Iterator[dict[str, str]]:
    """Holds the run's lock in this process until the run has ended; yields tags for the run."""
    take_presence(instance, run_id)
    try:
        yield {HOST_TAG: socket.gethostname(), ALIVE_TAG: _now()}
    finally:
        _lock_path(instance, run_id).unlink(missing_ok=True)
        _locks.pop(run_id).close()


def take_presence(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Holds the run's lock until this process ends; false when it holds it already."""
    if run_id in _locks:
        return False
    path = _lock_path(instance, run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    _locks[run_id] = lock
    threading.Thread(target=_show_signs_of_life, args=(instance, run_id), daemon=True).start()
    return True


def show_presence(instance: dg.DagsterInstance, run_id: str) -> None:
    """Takes the lock of a run that somebody else has created, and tags the run."""
    if take_presence(instance, run_id):
        instance.add_run_tags(run_id, {HOST_TAG: socket.gethostname(), ALIVE_TAG: _now()})


def end_dead_runs(instance: dg.DagsterInstance) -> None:
    """Marks the runs whose process is gone as failed, and frees the slots of all ended runs."""
    for record in instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED)):
        run = record.dagster_run
        cause = _cause_of_death(instance, record)
        # It may have ended by itself since it was read.
        now = instance.get_run_by_id(run.run_id)
        if cause is None or now is None or now.status not in UNFINISHED:
            continue
        if now.status == DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, cause)
        else:
            instance.report_run_failed(
                run,
                cause,
                JobFailureData(error=None, failure_reason=RunFailureReason.UNEXPECTED_TERMINATION),
            )
    for run_id in instance.event_log_storage.get_concurrency_run_ids():
        holder = instance.get_run_by_id(run_id)
        if holder is None or holder.is_finished:
            instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    for path in _lock_path(instance, "any").parent.glob("*.lock"):
        if path.stem not in _locks and not _is_locked(path):
            path.unlink(missing_ok=True)


def living_runs(instance: dg.DagsterInstance) -> dict[str, str]:
    """Run id and description of each run that is at work, after the dead ones were ended."""
    end_dead_runs(instance)
    return {
        record.dagster_run.run_id: describe(record)
        for record in instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED))
    }


def wait_for_runs(data_dir: Path, patience: float) -> list[str]:
    """Waits until the runs that are at work now have ended; describes those that still are then.

    Args:
        data_dir: data folder of the desk.
        patience: seconds to wait at most.
    """
    until = time.monotonic() + patience
    with desk_instance(data_dir) as instance:
        waited_for = living = living_runs(instance)
        while waited_for.keys() & living.keys() and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
            living = living_runs(instance)
    return [living[run_id] for run_id in waited_for if run_id in living]


def describe(record: dg.RunRecord) -> str:
    """A run as people know it: "run 1a2b3c4d (started 14:03 by the sensor new_mail)"."""
    tags = record.dagster_run.tags
    starters = {
        "dagster/sensor_name": "the sensor ",
        "dagster/schedule_name": "the schedule ",
        STARTED_BY_TAG: "",
    }
    starter = next((f" by {kind}{tags[tag]}" for tag, kind in starters.items() if tag in tags), "")
    moment = datetime.fromtimestamp(record.start_time or record.create_timestamp.timestamp())
    return f"run {record.dagster_run.run_id[:8]} (started {moment:%H:%M}{starter})"


def _cause_of_death(instance: dg.DagsterInstance, record: dg.RunRecord) -> str | None:
    run = record.dagster_run
    host = run.tags.get(HOST_TAG)
    path = _lock_path(instance, run.run_id)
    noticed = f"noticed {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    if host == socket.gethostname() and path.exists():
        if _is_locked(path):
            return None
        return (
            f"The process of this run on {host} is gone without having ended it, as after a kill,"
            f" a crash or a restart of the machine ({noticed})."
        )
    if run.run_id in _locks:
        return None
    seen = run.tags.get(ALIVE_TAG)
    last = datetime.fromisoformat(seen) if seen else record.update_timestamp
    if last.tzinfo is None:
        last = last.replace(tzinfo=UTC)
    if (datetime.now(UTC) - last).total_seconds() < STALE_SECONDS:
        return None
    return (
        f"This run{f' on {host}' if host else ''} has shown no sign of life since"
        f" {last:%Y-%m-%d %H:%M} UTC ({noticed})."
    )


def _show_signs_of_life(instance: dg.DagsterInstance, run_id: str) -> None:
    while True:
        time.sleep(SIGN_OF_LIFE_SECONDS)
        if run_id not in _locks:
            return
        try:
            instance.add_run_tags(run_id, {ALIVE_TAG: _now()})
        except Exception:  # a sign that is lost for now is given by the next one
            logger.warning("Run %s could not show that it is alive.", run_id, exc_info=True)


def _lock_path(instance: dg.DagsterInstance, run_id: str) -> Path:
    return Path(instance.root_directory) / "processes" / f"{run_id}.lock"


def _is_locked(path: Path) -> bool:
    with suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
