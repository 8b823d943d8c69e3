"""Removes old runs, which Dagster keeps for ever; what its views and conditions read stays.

Deleting a run deletes the materialisations, observations and verdicts in it. Conditions, freshness
and the UI take the latest of each for the state of an asset's day, however old it is: the run that
holds it stays. Dagster removes ticks and evaluations of conditions by itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import sqlalchemy as sql
from dagster._core.instance import RUNLESS_RUN_ID
from dagster._core.scheduler.instigation import SensorInstigatorData
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.tags import ROOT_RUN_ID_TAG

from ticket_assets.errors import TicketAssetsError
from ticket_assets.orchestration.event_log import remove_shard
from ticket_assets.plural import counted

RUNS_PER_CALL = 2000
EVENTS_PER_CALL = 20_000
BATCH = 100
"""Runs whose events go in one transaction: others that write wait for less than a second."""


class PruningError(TicketAssetsError):
    """The instance keeps its events where old ones cannot be told from needed ones."""


@dataclass(frozen=True)
class PrunedRuns:
    """What was removed, or would be; as a text, a sentence about it."""

    runs: int
    kept: int
    """Runs as old that hold the latest state of something, or that others refer to."""
    waiting: int
    """Runs that the next call removes: one call removes `RUNS_PER_CALL` at most."""
    events: int
    """Removed events that belong to no run, such as reports of landed mail."""
    size: int
    """Bytes of the removed files. What a database frees it uses again, and its file stays."""

    def __str__(self) -> str:
        waiting = f"; {counted(self.waiting, 'more')} to come" if self.waiting else ""
        return (
            f"{counted(self.runs, 'old run')} with {self.size / 1e6:,.1f} MB of files and"
            f" {counted(self.events, 'event')} without a run removed{waiting};"
            f" {counted(self.kept, 'old run')} with the latest state of an asset stay"
        )


def prune_runs(
    instance: dg.DagsterInstance, before: datetime, *, dry_run: bool = False
) -> PrunedRuns:
    """Remove the runs that ended before then, with their events, logs and files, the oldest first.

    A run's record goes last, so that the next call completes an interrupted one. Runs at work and
    other calls at the same time do no harm.

    Args:
        before: runs that ended or were changed later stay.
        dry_run: only say what would be removed.

    Raises:
        PruningError: the instance's events are in no SQL database.
    """
    log = instance.event_log_storage
    if not isinstance(log, SqlEventLogStorage):
        raise PruningError(f"Old runs in {type(log).__name__} cannot be removed: SQL is needed.")
    # Files before records: a run has its record before it has a file.
    files = set(log.get_all_run_ids()) if isinstance(log, SqliteEventLogStorage) else set()
    strays = sorted(files - set(instance.get_run_ids()))
    ended = dg.RunsFilter(statuses=FINISHED_STATUSES, updated_before=before)
    oldest_first = instance.get_run_ids(ended)[::-1]
    needed = _runs_with_latest_state(log, before)
    superfluous = [run_id for run_id in [*strays, *oldest_first] if run_id not in needed]
    batch = superfluous[:RUNS_PER_CALL]
    referred = _referred(instance, batch)
    removable = [run_id for run_id in batch if run_id not in referred]
    size = sum(_size(path) for run_id in removable for path in _paths(instance, run_id))
    events = _superfluous_runless_events(log, before)
    if not dry_run:
        for start in range(0, len(removable), BATCH):
            _remove(instance, log, removable[start : start + BATCH])
        _remove_runless_events(log, events, before)
    return PrunedRuns(
        len(removable),
        len(strays) + len(oldest_first) - len(superfluous) + len(referred),
        len(superfluous) - len(batch),
        len(events),
        size,
    )


def _latest_events(before: datetime) -> sql.CompoundSelect[tuple[int]]:
    """Ids of the latest event of each kind for each partition of each asset, now and `before`, and
    of the latest event at all.

    A condition that next looks for changes compares what has come since with what was there then.
    SQLite would give the number of a latest event that is gone to the next one, which no cursor
    that has passed the number would ever see.
    """
    events = SqlEventLogStorageTable.c
    latest = sql.select(sql.func.max(events.id))
    of_assets = latest.where(events.asset_key.is_not(None)).group_by(
        events.asset_key,
        events.partition,
        events.dagster_event_type,
        events.timestamp < _naive(before),
    )
    return sql.union_all(of_assets, latest)


def _runs_with_latest_state(log: SqlEventLogStorage, before: datetime) -> set[str]:
    events, checks = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c
    latest_verdicts = sql.select(sql.func.max(checks.id)).group_by(
        checks.asset_key,
        checks.check_name,
        checks.partition,
        # A verdict stands until the next one, and not only until another is planned.
        checks.execution_status == "PLANNED",
    )
    queries = (
        sql.select(events.run_id).distinct().where(events.id.in_(_latest_events(before))),
        sql.select(checks.run_id).distinct().where(checks.id.in_(latest_verdicts)),
        sql.select(AssetKeyTable.c.last_run_id),
    )
    with log.index_connection() as connection:
        return {run_id for query in queries for (run_id,) in connection.execute(query)}


def _referred(instance: dg.DagsterInstance, run_ids: list[str]) -> set[str]:
    """Those that a sensor remembers by their key, or that a run was repeated from which stays.

    new_mail would try a day again whose failed run is gone, and the UI cannot show a repetition
    without the first run.
    """
    if not run_ids:
        return set()
    states = instance.all_instigator_state() if instance.schedule_storage else []
    cursors = [
        state.instigator_data.cursor or ""
        for state in states
        if isinstance(state.instigator_data, SensorInstigatorData)
    ]
    keys = {
        run.run_id: run.tags["dagster/run_key"]
        for run in instance.get_runs(dg.RunsFilter(run_ids=run_ids))
        if "dagster/run_key" in run.tags
    }
    remembered = {
        run_id for run_id, key in keys.items() if any(key in cursor for cursor in cursors)
    }
    repetitions = instance.get_runs(dg.RunsFilter(tags={ROOT_RUN_ID_TAG: run_ids}))
    going = set(run_ids) - remembered
    repeated = {run.tags[ROOT_RUN_ID_TAG] for run in repetitions if run.run_id not in going}
    return remembered | repeated


def _remove(instance: dg.DagsterInstance, log: SqlEventLogStorage, run_ids: list[str]) -> None:
    # Not by `delete_run`: it deletes the record first, leaves the verdicts, and writes the run's
    # file anew.
    with log.index_connection() as connection:
        connection.execute(
            AssetCheckExecutionsTable.delete().where(
                AssetCheckExecutionsTable.c.run_id.in_(run_ids)
            )
        )
        for run_id in run_ids:
            log.delete_events_for_run(connection, run_id)
    for run_id in run_ids:
        with suppress(FileNotFoundError):  # another process is removing them
            instance.compute_log_manager.delete_logs(prefix=[run_id, "compute_logs"])
        shutil.rmtree(_artefacts(instance, run_id), ignore_errors=True)
        if isinstance(log, SqliteEventLogStorage):
            remove_shard(log, run_id)
        instance.run_storage.delete_run(run_id)


def _superfluous_runless_events(log: SqlEventLogStorage, before: datetime) -> list[int]:
    events = SqlEventLogStorageTable.c
    query = (
        sql.select(events.id)
        .where(
            events.run_id == RUNLESS_RUN_ID,
            events.timestamp < _naive(before),
            events.id.not_in(_latest_events(before)),
        )
        .order_by(events.id)
        .limit(EVENTS_PER_CALL)
    )
    with log.index_connection() as connection:
        return [number for (number,) in connection.execute(query)]


def _remove_runless_events(log: SqlEventLogStorage, numbers: list[int], before: datetime) -> None:
    events = SqlEventLogStorageTable
    for start in range(0, len(numbers), BATCH):
        batch = numbers[start : start + BATCH]
        with log.index_connection() as connection:
            connection.execute(
                AssetEventTagsTable.delete().where(AssetEventTagsTable.c.event_id.in_(batch))
            )
            connection.execute(events.delete().where(events.c.id.in_(batch)))
    if numbers and isinstance(log, SqliteEventLogStorage):
        # Their second copy, which only a person reads.
        with log.run_connection(RUNLESS_RUN_ID) as connection:
            connection.execute(events.delete().where(events.c.timestamp < _naive(before)))


def _paths(instance: dg.DagsterInstance, run_id: str) -> Iterable[Path]:
    log = instance.event_log_storage
    if isinstance(log, SqliteEventLogStorage):
        yield Path(log.path_for_shard(run_id))
    yield from _artefacts(instance, run_id).rglob("*")


def _artefacts(instance: dg.DagsterInstance, run_id: str) -> Path:
    return Path(instance.storage_directory()) / run_id


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.lstat().st_size
    return 0


def _naive(moment: datetime) -> datetime:
    """As the database has it: UTC without saying so."""
    return moment.astimezone(UTC).replace(tzinfo=None)
