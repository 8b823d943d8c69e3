"""Runs that are at work now, for what must not happen beside one."""

from __future__ import annotations

import time
from pathlib import Path

import dagster as dg

from ticket_assets.orchestration.instance import desk_instance

AT_WORK = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
POLL_SECONDS = 0.5


def wait_for_runs(data_dir: Path, patience: float) -> list[str]:
    """Waits until the runs that are at work now have ended; returns those that still are then.

    Args:
        data_dir: data folder of the desk.
        patience: seconds to wait at most.
    """
    until = time.monotonic() + patience
    with desk_instance(data_dir) as instance:
        left = _at_work(instance)
        while left and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
            left &= _at_work(instance)
    return sorted(left)


def _at_work(instance: dg.DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=AT_WORK))}
