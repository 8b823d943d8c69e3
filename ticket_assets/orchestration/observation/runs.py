"""Runs: those that wait or work, those that have ended, and the slots of pools that they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster import DagsterRunStatus
from prometheus_client.core import Metric

from ticket_assets.defs.new_events import START
from ticket_assets.metrics.counters import Counters
from ticket_assets.metrics.families import counter, gauge, gauges, histogram

ENDED = {
    DagsterRunStatus.SUCCESS: "success",
    DagsterRunStatus.FAILURE: "failure",
    DagsterRunStatus.CANCELED: "canceled",
}
WAITING = {
    DagsterRunStatus.QUEUED: "queued",
    DagsterRunStatus.NOT_STARTED: "starting",
    DagsterRunStatus.STARTING: "starting",
    DagsterRunStatus.STARTED: "started",
    DagsterRunStatus.CANCELING: "canceling",
}
RUNS, DURATIONS, DELAYS = "runs_ended", "run_duration", "run_start_delay"
DURATION_BOUNDS = (5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200)
DELAY_BOUNDS = (1, 5, 15, 30, 60, 300, 900, 3600)
"""Seconds."""
RUNS_AT_ONCE = 500
OVERLAP = timedelta(minutes=10)


def count_ended_runs(instance: dg.DagsterInstance, counters: Counters) -> None:
    """Count the runs that have ended since the last look, at first all that there are.

    By their records: the ids of events are given again where a person has deleted the latest runs.
    """
    now = datetime.now(UTC)
    _, looked_at = counters.seen.get(RUNS, START)
    # The clock may have been put back.
    since = datetime.fromtimestamp(min(looked_at, now.timestamp()), UTC) - OVERLAP
    ended = dg.RunsFilter(statuses=list(ENDED), updated_after=since if looked_at else None)
    last: str | None = None
    while records := instance.get_run_records(ended, limit=RUNS_AT_ONCE, cursor=last):
        last = records[-1].dagster_run.run_id
        for record in records:
            # One that died may be reported as ended by several, and is in two looks.
            if counters.is_new(record.dagster_run.run_id):
                _count(record, counters)
    counters.seen[RUNS] = (0, now.timestamp())


def _count(record: dg.RunRecord, counters: Counters) -> None:
    run = record.dagster_run
    for status in ENDED.values():
        counters.add(RUNS, (run.job_name, status), float(status == ENDED[run.status]))
    if record.start_time:
        ended = record.end_time or record.update_timestamp.replace(tzinfo=UTC).timestamp()
        created = record.create_timestamp.replace(tzinfo=UTC).timestamp()
        job = (run.job_name,)
        counters.observe(DURATIONS, job, ended - record.start_time, DURATION_BOUNDS)
        counters.observe(DELAYS, job, record.start_time - created, DELAY_BOUNDS)


def ended_run_families(counters: Counters) -> Iterator[Metric]:
    """What has been counted."""
    yield counter(
        "dagster_runs_ended_total",
        "Runs that have ended, by their outcome.",
        ("job_name", "status"),
        counters.counts.get(RUNS, {}),
    )
    yield histogram(
        "dagster_run_duration_seconds",
        "From the start of a run to its end.",
        ("job_name",),
        counters.histograms.get(DURATIONS, {}),
    )
    yield histogram(
        "dagster_run_start_delay_seconds",
        "From the creation of a run to its start.",
        ("job_name",),
        counters.histograms.get(DELAYS, {}),
    )


def present_run_families(instance: dg.DagsterInstance) -> Iterator[Metric]:
    """The runs that have not ended."""
    now = datetime.now(UTC)
    records = instance.get_run_records(dg.RunsFilter(statuses=list(WAITING)))
    started = [record.start_time for record in records if record.start_time]
    states = Counter(WAITING[record.dagster_run.status] for record in records)
    yield gauges(
        "dagster_runs",
        "Runs that have not ended.",
        ("status",),
        {(state,): states[state] for state in WAITING.values()},
    )
    queued = [
        record.create_timestamp.replace(tzinfo=UTC)
        for record in records
        if record.dagster_run.status == DagsterRunStatus.QUEUED
    ]
    yield gauge(
        "dagster_oldest_queued_run_age_seconds",
        "How long the run waits that was queued first; 0 where none waits.",
        max((now - min(queued, default=now)).total_seconds(), 0.0),
    )
    yield gauge(
        "dagster_oldest_started_run_age_seconds",
        "How long the run is at work that started first; 0 where none is.",
        max(now.timestamp() - min(started, default=now.timestamp()), 0.0),
    )


def pool_families(instance: dg.DagsterInstance) -> Iterator[Metric]:
    """The pools that limit how many steps touch a store at a time."""
    log = instance.event_log_storage
    pools = [log.get_concurrency_info(pool) for pool in sorted(log.get_concurrency_keys())]
    slots = [(pool.concurrency_key, slot) for pool in pools for slot in pool.claimed_slots]
    holders = {slot.run_id for _, slot in slots}
    unfinished = {
        run.run_id
        for run in (instance.get_runs(dg.RunsFilter(run_ids=list(holders))) if holders else ())
        if not run.is_finished
    }
    held = Counter(pool for pool, _ in slots)
    by_ended = Counter(pool for pool, slot in slots if slot.run_id not in unfinished)
    names = [pool.concurrency_key for pool in pools]
    yield gauges(
        "dagster_pool_slots",
        "Steps that may hold a slot of a pool at a time.",
        ("pool",),
        {(pool.concurrency_key,): pool.slot_count for pool in pools},
    )
    yield gauges(
        "dagster_pool_slots_held",
        "Slots of a pool that are held.",
        ("pool",),
        {(name,): held[name] for name in names},
    )
    yield gauges(
        "dagster_pool_slots_held_by_ended_runs",
        "Slots that are held by a run that has ended or is gone: nobody else gets them.",
        ("pool",),
        {(name,): by_ended[name] for name in names},
    )
    yield gauges(
        "dagster_pool_slot_info",
        "Who holds a slot of a pool.",
        ("pool", "run_id", "step"),
        {(pool, slot.run_id, slot.step_key): 1 for pool, slot in slots},
    )
