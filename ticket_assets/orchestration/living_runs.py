"""Finds out which runs are alive: by a lock of the run's process, or a tag that it renews.

A killed process, or a machine without power, ends no run: Dagster would hold its pool slots for
ever. Therefore each run's process locks a file. The system frees the lock however the process ends,
and a later process with the same number does not hold it. Other hosts cannot see the lock: for them
the process renews a tag of its run.

Where a launcher starts runs in pods, it knows more: a pod that waits for a node gives no sign of
life. Dagster's run monitoring asks it, and the tag is the second line.
"""

from __future__ import annotations

import fcntl
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import IO

import dagster as dg
from dagster import DagsterRunStatus
from dagster._core.events import JobFailureData, RunFailureReason
from dagster._utils import send_interrupt

from ticket_assets.orchestration.instance import desk_instance
from ticket_assets.orchestration.launcher import starts_runs_elsewhere

HOST_TAG = "tickets/host"
ALIVE_TAG = "tickets/alive_at"
STARTED_BY_TAG = "tickets/started_by"
SIGN_OF_LIFE_SECONDS = 30.0
STALE_SECONDS = 300.0
"""A run on another host is dead after so long without a sign of life. Work that holds Python's
global lock delays the signs, and clocks differ between hosts."""
SILENT_POD_SECONDS = 3600.0
"""The same for a run that a launcher has started elsewhere. Run monitoring notices a dead pod in
minutes; while Postgres is away, no living one can give a sign."""
POLL_SECONDS = 0.5
RUN_PATIENCE_SECONDS = 600.0
"""How long an erasure or a purge waits for runs that are at work."""
WAITS_FOR = "Waits for "
"""Beginning of a run's message about the other run that it waits for."""
UNFINISHED = [
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
WAITING_FOR_A_POD = {DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING}
"""Run monitoring alone ends these, after its start timeout."""
ENDED_FROM_OUTSIDE = {
    DagsterRunStatus.CANCELING,
    DagsterRunStatus.CANCELED,
    DagsterRunStatus.FAILURE,
}
_locks: dict[str, IO[bytes]] = {}
"""Locks that this process holds, by run id."""

_signs: dict[str, tuple[datetime, float]] = {}
"""The last sign of each run that starts elsewhere, and when this process saw it first, on its own
clock."""

logger = logging.getLogger(__name__)


@contextmanager
def presence(instance: dg.DagsterInstance, run_id: str) -> Iterator[dict[str, str]]:
    """Holds the run's lock in this process until the run has ended; yields tags for the run."""
    take_presence(instance, run_id)
    try:
        yield {HOST_TAG: socket.gethostname(), ALIVE_TAG: _timestamp()}
    finally:
        _lock_path(instance, run_id).unlink(missing_ok=True)
        _locks.pop(run_id).close()


def take_presence(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Holds the run's lock until this process ends; returns False when it holds it already."""
    if run_id in _locks:
        return False
    path = _lock_path(instance, run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    # The run gets its tag a moment later, or never, where this process is killed before.
    lock.write(socket.gethostname().encode())
    lock.flush()
    _locks[run_id] = lock
    threading.Thread(target=_show_signs_of_life, args=(instance, run_id), daemon=True).start()
    return True


def show_presence(instance: dg.DagsterInstance, run_id: str) -> None:
    """Takes the lock of a run that another process has created, and tags the run."""
    if take_presence(instance, run_id):
        instance.add_run_tags(run_id, {HOST_TAG: socket.gethostname(), ALIVE_TAG: _timestamp()})


def end_dead_runs(instance: dg.DagsterInstance) -> None:
    """Marks the runs whose process is gone as failed, and frees the slots of all ended runs."""
    for run, cause in dead_runs(instance):
        report_death(instance, run, cause)
    for run_id in ended_holders(instance):
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    for path in _lock_path(instance, "any").parent.glob("*.lock"):
        if path.stem not in _locks and not _is_locked(path):
            path.unlink(missing_ok=True)


def dead_runs(instance: dg.DagsterInstance) -> Iterator[tuple[dg.DagsterRun, str]]:
    """The runs that have not ended and whose process is gone, each with how that is known."""
    unfinished = instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED))
    for run_id in _signs.keys() - {record.dagster_run.run_id for record in unfinished}:
        _signs.pop(run_id, None)
    for record in unfinished:
        cause = cause_of_death(instance, record)
        # The run may have ended by itself since it was read.
        present = instance.get_run_by_id(record.dagster_run.run_id)
        if cause is not None and present is not None and present.status in UNFINISHED:
            yield present, cause


def ended_holders(instance: dg.DagsterInstance) -> list[str]:
    """The runs that have ended, or are no longer known, and hold a slot of a pool."""
    return [
        run_id
        for run_id in instance.event_log_storage.get_concurrency_run_ids()
        if (holder := instance.get_run_by_id(run_id)) is None or holder.is_finished
    ]


def report_death(instance: dg.DagsterInstance, run: dg.DagsterRun, cause: str) -> None:
    """Ends a run without a process: as canceled if somebody wanted that, else as failed, so that it
    is tried again."""
    if run.status == DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, cause)
    else:
        reason = RunFailureReason.UNEXPECTED_TERMINATION
        instance.report_run_failed(run, cause, JobFailureData(error=None, failure_reason=reason))


def living_runs(instance: dg.DagsterInstance) -> dict[str, str]:
    """Ends the dead runs; returns id and description of each run that is at work."""
    end_dead_runs(instance)
    return unfinished_runs(instance)


def unfinished_runs(instance: dg.DagsterInstance, job_name: str | None = None) -> dict[str, str]:
    """Id and description of each run that has not ended, whether it lives or not."""
    unfinished = dg.RunsFilter(statuses=UNFINISHED, job_name=job_name)
    return {
        record.dagster_run.run_id: describe(record)
        for record in instance.get_run_records(unfinished)
    }


def wait_for_runs(
    data_dir: Path,
    patience: float = RUN_PATIENCE_SECONDS,
    on_wait: Callable[[str], None] | None = None,
) -> list[str]:
    """Waits until the present runs have ended; returns the descriptions of those that have not.

    Args:
        data_dir: data folder of the desk.
        patience: seconds to wait at most.
        on_wait: called with the description of each run that it waits for, at once.
    """
    with desk_instance(data_dir) as instance:
        return wait_for_other_runs(instance, None, patience, on_wait)


def wait_for_other_runs(
    instance: dg.DagsterInstance,
    job_name: str | None,
    patience: float = RUN_PATIENCE_SECONDS,
    on_wait: Callable[[str], None] | None = None,
) -> list[str]:
    """Like `wait_for_runs`, for a run of this job: two of one job do not wait for each other."""
    deadline = monotonic() + patience
    own = set() if job_name is None else unfinished_runs(instance, job_name=job_name).keys()
    awaited = living = {
        run_id: run for run_id, run in living_runs(instance).items() if run_id not in own
    }
    for run_id, run in awaited.items():
        if on_wait:
            on_wait(run + _doubt(instance, run_id))
    while awaited.keys() & living.keys() and monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        living = living_runs(instance)
    return [living[run_id] for run_id in awaited if run_id in living]


def _doubt(instance: dg.DagsterInstance, run_id: str) -> str:
    """What makes it doubtful that a run is alive; nothing where its process is known to be."""
    record = instance.get_run_record_by_id(run_id)
    if record is None or run_id in _locks or _is_locked(_lock_path(instance, run_id)):
        return ""
    patience = _patience(instance, record.dagster_run)
    if patience is None:
        return ", which waits for a pod"
    return (
        f", whose last sign of life is of {_last_sign_of_life(record):%Y-%m-%d %H:%M} UTC: after"
        f" {patience / 60:.0f} minutes without one it counts as dead"
    )


def is_of_command(run: dg.DagsterRun) -> bool:
    """Whether the run is at work in the process of a command. One that Dagster has made again from
    such a run, with its tags, is not."""
    return STARTED_BY_TAG in run.tags and run.parent_run_id is None


def describe(record: dg.RunRecord) -> str:
    """A run in words: "run 1a2b3c4d (started 14:03 by the sensor new_mail)"."""
    tags = record.dagster_run.tags
    starters = {
        "dagster/sensor_name": "the sensor ",
        "dagster/schedule_name": "the schedule ",
        STARTED_BY_TAG: "",
    }
    starter = next((f" by {kind}{tags[tag]}" for tag, kind in starters.items() if tag in tags), "")
    moment = datetime.fromtimestamp(record.start_time or record.create_timestamp.timestamp())
    return f"run {record.dagster_run.run_id[:8]} (started {moment:%H:%M}{starter})"


def cause_of_death(instance: dg.DagsterInstance, record: dg.RunRecord) -> str | None:
    """A sentence on how a run was found dead that has not ended; None while it may live."""
    run = record.dagster_run
    patience = _patience(instance, run)
    if patience is None:
        return None
    path = _lock_path(instance, run.run_id)
    host = run.tags.get(HOST_TAG) or _host_of(path)
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
    last = _last_sign_of_life(record)
    silence = (datetime.now(UTC) - last).total_seconds()
    if silence < 0 or starts_runs_elsewhere(instance):
        silence = _watched_silence(run.run_id, last)
    if silence < patience:
        return None
    return (
        f"This run{f' on {host}' if host else ''} has shown no sign of life since"
        f" {last:%Y-%m-%d %H:%M} UTC ({noticed})."
    )


def _patience(instance: dg.DagsterInstance, run: dg.DagsterRun) -> float | None:
    """After how many seconds of silence a run is dead; None: others tell."""
    if not starts_runs_elsewhere(instance) or is_of_command(run):
        return STALE_SECONDS
    return None if run.status in WAITING_FOR_A_POD else SILENT_POD_SECONDS


def _watched_silence(run_id: str, last: datetime) -> float:
    """For how many seconds this process has seen no other sign of a run.

    The clocks of nodes differ, and one that has jumped must not end the runs of all others.
    """
    sign, since = _signs.get(run_id, (None, 0.0))
    if sign != last:
        since = monotonic()
        _signs[run_id] = (last, since)
    return monotonic() - since


def _last_sign_of_life(record: dg.RunRecord) -> datetime:
    run = record.dagster_run
    if sign := run.tags.get(ALIVE_TAG):
        alive_at = datetime.fromisoformat(sign)
        # A retry inherits the tags of the run that failed.
        if run.parent_run_id is None or alive_at >= record.create_timestamp:
            return alive_at
    return record.update_timestamp


def _show_signs_of_life(instance: dg.DagsterInstance, run_id: str) -> None:
    while True:
        time.sleep(SIGN_OF_LIFE_SECONDS)
        if run_id not in _locks:
            return
        try:
            instance.add_run_tags(run_id, {ALIVE_TAG: _timestamp()})
            is_over = was_ended_elsewhere(instance, run_id)
        except Exception:  # the next sign makes up for a lost one
            logger.warning("Run %s could not show that it is alive.", run_id, exc_info=True)
            continue
        if is_over and run_id in _locks:
            logger.warning("Run %s was ended from outside: its process ends too.", run_id)
            send_interrupt()
            return


def was_ended_elsewhere(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a run of this process, started where others cannot kill it, was canceled or failed.

    Its days may be another run's by now.
    """
    if not starts_runs_elsewhere(instance):
        return False
    run = instance.get_run_by_id(run_id)
    return run is None or run.status in ENDED_FROM_OUTSIDE


def _lock_path(instance: dg.DagsterInstance, run_id: str) -> Path:
    return Path(instance.root_directory) / "processes" / f"{run_id}.lock"


def _is_locked(path: Path) -> bool:
    with suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _host_of(path: Path) -> str | None:
    """The host whose process took the lock."""
    try:
        return path.read_text() or None
    except FileNotFoundError:
        return None


def _timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
