"""One run at a time is at work on a day of a shared warehouse; the later one waits.

Its stores take many writers, so nothing else keeps two runs from making the same day at once. The
tables would end up right, since each day's rows name what they were made from; but a run that sees
another's rows between two of its steps fails its checks.
"""

from __future__ import annotations

import time
from datetime import date

import dagster as dg
from dagster import DagsterExecutionInterruptedError, DagsterRunStatus
from dagster._utils.interrupts import pop_captured_interrupt

from ticket_assets.defs.partitions import run_window
from ticket_assets.orchestration.living_runs import WAITS_FOR, describe, end_dead_runs
from ticket_assets.storage.leases import Leases

TURN_TAG = "tickets/turn"
"""On a run that is at work on its days; its value is the run's id, since a retry inherits tags."""
LEASE = "turns.lock"
POLL_SECONDS = 2.0


def wait_for_days(instance: dg.DagsterInstance, run: dg.DagsterRun, leases: Leases) -> None:
    """Returns when no other run is at work on a day of this one; later ones wait for this one then.

    Raises:
        DagsterExecutionInterruptedError: a signal came while it waited.
        LeaseError: the lock of the turns cannot be had.
    """
    window = run_window(run.tags)
    if window is None:
        return
    waits_for: set[str] = set()
    while not pop_captured_interrupt():
        with leases.hold(LEASE, wait=True):
            other = _at_work_on(window, instance, run)
            if other is None:
                instance.add_run_tags(run.run_id, {TURN_TAG: run.run_id})
                return
        if other.dagster_run.run_id not in waits_for:
            waits_for.add(other.dagster_run.run_id)
            instance.report_engine_event(f"{WAITS_FOR}{describe(other)}", run)
        time.sleep(POLL_SECONDS)
        end_dead_runs(instance)
    raise DagsterExecutionInterruptedError


def _at_work_on(
    window: tuple[date, date], instance: dg.DagsterInstance, run: dg.DagsterRun
) -> dg.RunRecord | None:
    """Another run than this one that is at work on a day of the window."""
    at_work = dg.RunsFilter(statuses=[DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING])
    for record in instance.get_run_records(at_work):
        other = record.dagster_run
        days = run_window(other.tags)
        if (
            other.run_id != run.run_id
            and other.tags.get(TURN_TAG) == other.run_id
            and days
            and days[0] <= window[1]
            and window[0] <= days[1]
        ):
            return record
    return None
