"""The exporter: puts together what is read of the desk and of its Dagster instance."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dagster as dg
import sqlalchemy as sql
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster_postgres import PostgresEventLogStorage
from prometheus_client.core import Metric

from ticket_assets import definitions
from ticket_assets.desk import Desk
from ticket_assets.mail.landed_days import day_fingerprints
from ticket_assets.metrics.counters import Counters
from ticket_assets.metrics.delivery import delivery_families
from ticket_assets.metrics.families import gauge
from ticket_assets.metrics.mail import MailFigures
from ticket_assets.metrics.model import (
    ModelFigures,
    account_families,
    realised_families,
    simulation_families,
)
from ticket_assets.metrics.server import ExporterError, Exposition
from ticket_assets.orchestration.instance import dagster_home, desk_instance
from ticket_assets.orchestration.observation import automation, checks, runs
from ticket_assets.orchestration.observation.accounts import (
    label_accounts,
    waiting_for_review,
)
from ticket_assets.orchestration.observation.assets import AssetFigures, encoding_families
from ticket_assets.orchestration.observation.deliveries import recorded_deliveries
from ticket_assets.orchestration.observation.machine import machine_families
from ticket_assets.orchestration.observation.simulation import simulated_targets
from ticket_assets.storage.leases import LeaseHeldError

LEASE = "exporter.lock"
SIZE_EVERY = 20
"""Refreshes from one look at the size of the log to the next: it has a file for each run."""


@contextmanager
def desk_exposition(desk: Desk) -> Iterator[Exposition]:
    """The figures of the desk, to be refreshed and served; one process at a time counts for it.

    Raises:
        ExporterError: another exporter counts for this desk.
    """
    with ExitStack() as held:
        try:
            held.enter_context(desk.leases.hold(LEASE))
        except LeaseHeldError:
            raise ExporterError(
                f"Another exporter counts for the desk in {desk.folder}. Scrape that one, or end it"
                " first."
            ) from None
        yield exposition_of(desk, held.enter_context(desk_instance(desk.folder)))


def exposition_of(desk: Desk, instance: dg.DagsterInstance) -> Exposition:
    """The figures of the desk and of this instance."""
    repository = definitions.defs.get_repository_def()
    graph = repository.asset_graph
    check_keys = sorted(graph.asset_check_keys)
    counters = Counters.read(desk.cursors)
    assets = AssetFigures(desk, graph, counters)
    mail, model = MailFigures(desk), ModelFigures(desk)
    log_size = _LogSize(instance, dagster_home(desk.folder))
    instigators = {sensor.name for sensor in repository.sensor_defs}
    instigators |= {schedule.name for schedule in repository.schedule_defs}
    written = counters.content()

    def assets_of_instance() -> Iterator[Metric]:
        assets.read(instance)
        yield from assets.ticket_families()
        yield from assets.asset_families(instance)

    def mail_of_desk() -> Iterator[Metric]:
        landed = day_fingerprints(desk.landing, desk.cursors)
        yield from mail.families(landed, assets.predicted_days())
        yield from assets.partition_families(instance, landed)

    def runs_of_instance() -> Iterator[Metric]:
        runs.count_ended_runs(instance, counters)
        yield from runs.present_run_families(instance)

    def checks_of_instance() -> Iterator[Metric]:
        checks.read_verdicts(instance, check_keys, counters)
        yield from checks.check_families(check_keys, counters)

    def model_of_desk() -> Iterator[Metric]:
        yield from model.families()
        yield from model.drift_families(assets.latest_drift_day())
        yield from realised_families(checks.realised_precision(instance))
        yield from account_families(label_accounts(instance), waiting_for_review(instance))
        yield from simulation_families(simulated_targets(instance))

    def counted() -> Iterator[Metric]:
        nonlocal written
        yield from runs.ended_run_families(counters)
        yield from automation.counted_tick_families(counters)
        yield from encoding_families(counters)
        # Before they are served: what a crash takes away from memory was then never shown.
        if counters.content() != written:
            counters.write(desk.cursors)
            written = counters.content()

    return Exposition(
        {
            "assets": assets_of_instance,
            "runs": runs_of_instance,
            "pools": lambda: runs.pool_families(instance),
            "checks": checks_of_instance,
            "daemons": lambda: automation.daemon_families(instance),
            "ticks": lambda: automation.tick_families(instance, instigators, counters),
            "code locations": lambda: automation.code_location_families(
                desk.settings.ui_url, counters
            ),
            "mail": mail_of_desk,
            "model": model_of_desk,
            "deliveries": lambda: delivery_families(recorded_deliveries(instance), desk.cursors),
            "machine": lambda: machine_families(desk.folder, dagster_home(desk.folder)),
            "event log": log_size.families,
            "counters": counted,
        },
        importlib.metadata.version("ticket-assets"),
    )


class _LogSize:
    """The size of Dagster's log, looked at now and then."""

    def __init__(self, instance: dg.DagsterInstance, home: Path) -> None:
        self._log, self._home = instance.event_log_storage, home
        self._looks = 0
        self._size = 0

    def families(self) -> Iterator[Metric]:
        if self._looks % SIZE_EVERY == 0:
            self._size = self._bytes()
        self._looks += 1
        yield gauge(
            "dagster_event_log_bytes", "Size of the log of all runs and assets.", self._size
        )
        yield gauge(
            "dagster_event_log_events",
            "Number of the latest event about runs and assets: how many were written so far.",
            self._query(sql.select(sql.func.max(SqlEventLogStorageTable.c.id))),
        )

    def _bytes(self) -> int:
        if isinstance(self._log, SqliteEventLogStorage):
            # Runs come and go while this looks.
            return sum(path.stat().st_size for path in self._home.rglob("*.db*") if path.exists())
        if isinstance(self._log, PostgresEventLogStorage):
            return self._query(sql.select(sql.func.pg_total_relation_size("event_logs")))
        return 0

    def _query(self, query: sql.Select) -> int:  # type: ignore[type-arg]
        assert isinstance(self._log, SqlEventLogStorage)  # noqa: S101  # for the type: both are
        with self._log.index_connection() as connection:
            return int(connection.execute(query).scalar() or 0)
